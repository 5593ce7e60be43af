"""Places of an axis by a table, in ops that XNNPACK takes. Oracle: PyTorch in float64; relative error within 1e-5, ten
times float32's own here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.lowering.lower import Lowering
from converters.tflite.partitions import read_partitioning
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.file import Tflite
from tests.kits.graphs import export, noise, relative_error, rewrite, seeded

SIZE = (6, 10)
ORDER = torch.from_numpy(np.random.default_rng(0).permutation(36))
LEAVING = {"GATHER", "REVERSE_V2", "MIRROR_PAD", "TILE", "PADV2"}


class Places(nn.Module):
    """Each way to take places by a table; 8 channels of 6x10."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.many = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 36, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(image)
        maps = (
            F.pixel_shuffle(x, 2),
            F.pixel_unshuffle(x, 2),
            x.unflatten(1, (4, 2)).transpose(1, 2).flatten(1, 2),
            x[:, :, [5, 3, 1, 0, 0]],
            x[:, :, :, list(range(10))],
            self.many(image)[:, ORDER],
            x.flatten(2)[:, :, ORDER],
            x.flip(3),
            x.flip(2, 3),
            F.pad(x, (1, 2, 3, 0), mode="reflect"),
            F.pad(x, (1, 2, 3, 0), mode="replicate"),
            F.pad(x, (1, 2, 3, 0), value=1.5),
            F.pad(x, (-1, 2, 3, -2)),
            F.pad(x, (-1, -2, 3, -2), value=0.5),
            x.repeat(1, 2, 1, 3),
            F.unfold(x, 3, padding=1),
            F.max_pool1d(x.flatten(2), 3, 2, 1),
            x.reshape(1, 2, 4, 3, 2, 10)[:, :, 1:3, :, 1:].flatten(1, 3),  # of six axes
        )
        return tuple(value * 2 for value in maps)


class Computed(nn.Module):
    """A place that the input decides."""

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, x.mean((0, 2)).argmax().reshape(1))


def _lowered(module: nn.Module, shape: tuple[int, ...], outputs: int, rewrites: bool) -> bytes:
    rewritten, _ = rewrite(export(module, shape, outputs=outputs))
    with Lowering(rewrites=rewrites) as lowering:
        return lowering.lower(rewritten)


def _kinds(content: bytes) -> Counter[str]:
    return Counter(op.type for op in Tflite(content, "lowered").graph.ops)


def _slice_ranks(content: bytes) -> list[int]:
    """Of what each SLICE reads; its own kernel takes five axes."""
    graph = Tflite(content, "lowered").graph
    return [len(graph.tensors[op.inputs[0]].shape) for op in graph.ops if op.type == "SLICE"]


@pytest.mark.parametrize("rewrites", [True, False])
def test_delegated(rewrites: bool, tmp_path: Path) -> None:
    module = seeded(Places())
    image = noise((1, 3, *SIZE))
    with torch.no_grad():
        expected = [value.numpy() for value in module.double()(torch.from_numpy(image).double())]
    content = _lowered(module.float(), (1, 3, *SIZE), len(expected), rewrites)
    assert not LEAVING & set(_kinds(content)) and max(_slice_ranks(content)) <= 5
    path = tmp_path / "places.tflite"
    path.write_bytes(content)
    with RUNTIMES["litert"].open(path) as session:
        values = dict(zip(session.output_names(), session.run([np.ascontiguousarray(image.transpose(0, 2, 3, 1))])))
        parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
    assert (parts.count, parts.undelegated) == (1, ())
    for number, value in enumerate(expected):
        actual = values[f"y{number}"]
        if actual.shape != value.shape:
            actual = actual.transpose(0, 3, 1, 2)
        assert relative_error(value, actual) <= 1e-5, number


def test_a_computed_place_stays() -> None:
    assert _kinds(_lowered(Computed(), (1, 5, 6), 1, True))["GATHER"] == 1
