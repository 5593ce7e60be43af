"""One converter's file of one model, made and judged in a process of its own: what crashes or hangs there costs one
cell.

``python -m benchmarks.zoo.row make CONVERTER MODEL OUT`` writes the file; ``python -m benchmarks.zoo.row judge MODEL
FILE`` prints one JSON object: ``Judged``. ``… side MODEL`` prints the model's own resolution.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.options import ConvertOptions
from converters.parity.stimuli import verification_stimuli
from converters.pipeline import convert
from converters.source.load import Source, load_source
from converters.tflite.inspection import inspect_model
from evit_mobile.arrays import Array
from evit_mobile.runtimes import RUNTIMES

#: A file agrees with PyTorch where no output differs by more than this part of its largest magnitude: verify's bound
#: for fp32.
BOUND = 1e-4


@dataclass(frozen=True)
class Judged:
    """A file beside PyTorch in float64, XNNPACK on and off, one thread.

    Attributes:
        error: largest difference over all inputs, relative to the output's largest magnitude.
        rounding: the same of PyTorch in float32: what the network itself makes of rounding.
    """

    error: float
    rounding: float
    partitions: int | None
    undelegated: int
    ops: int

    @property
    def agrees(self) -> bool:
        """Within ``BOUND``, or within four times the network's own rounding where that is coarser."""
        return self.error <= max(BOUND, 4 * self.rounding)


def make(converter: str, model: str, out: Path) -> None:
    """Convert by evit-mobile (``ours``) or by stock onnx2tf (``onnx2tf``); litert-torch has an environment of
    its own.
    """
    ours = converter == "ours"
    convert(model, out, ConvertOptions(rewrite=ours, check=ours))


def judge(model: str, path: Path) -> Judged:
    """Run the file and PyTorch on seeded noise and on a photograph."""
    import torch

    source = load_source(model)
    assert source.module is not None
    images = _images(source)
    with torch.no_grad():
        single = [source.module(torch.from_numpy(image)).numpy() for image in images]
        exact = source.module.double()
        double = [exact(torch.from_numpy(image).double()).numpy() for image in images]
    rounding = max(_distance(value, reference) for value, reference in zip(single, double))
    error = 0.0
    for xnnpack in (True, False):
        with RUNTIMES["litert"].open(path, xnnpack=xnnpack) as session:
            for image, reference in zip(images, double):
                value = session.run([np.ascontiguousarray(image.transpose(0, 2, 3, 1))])[0]
                error = max(error, _distance(np.asarray(value), reference))
    counted = inspect_model(path, RUNTIMES["litert"], explain=False)
    return Judged(error, rounding, counted.partitions, len(counted.undelegated), len(counted.ops))


def _images(source: Source) -> list[Array]:
    """[1, 3, H, W] float32: verify's noise and photograph."""
    assert source.resolution is not None
    stimuli = verification_stimuli(source.resolution, source.channels, source.preprocessing)
    chosen = [stimulus.image for stimulus in stimuli if stimulus.name in ("noise", "photograph")]
    return [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in chosen]


def _distance(value: Array, reference: Array) -> float:
    if value.shape != reference.shape or not np.isfinite(value).all():
        return float("inf")
    return float(np.abs(value - reference).max() / np.abs(reference).max())


def main() -> None:
    """See the module's docstring."""
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    elif sys.argv[1] == "side":
        print(load_source(sys.argv[2]).resolution)
    else:
        print(json.dumps(dataclasses.asdict(judge(sys.argv[2], Path(sys.argv[3])))))


if __name__ == "__main__":
    main()
