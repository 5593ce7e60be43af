"""ReLU and ReLU6 on their own in int8: ranges do what they do, since the ops would leave the delegate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.accuracy.outputs import answers, sqnr_db
from converters.options import ConvertOptions
from converters.parity.stimuli import verification_stimuli
from converters.pipeline import convert
from converters.tflite.inspection import inspect_model
from evit_mobile.runtimes.litert import LITERT
from evit_mobile.specs import Precision, Preprocessing, Resolution

SIDE = Resolution(32, 48)


class Shared(nn.Module):
    """Both clamps of a map that is read for its negative values too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.after = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(3))

    def forward(self, image: Tensor) -> Tensor:
        features = 10 * self.stem(image)
        functions = nn.functional.relu, nn.functional.relu6, nn.functional.hardswish
        after = [layer(function(features)) for layer, function in zip(self.after, functions)]
        return (after[0] + after[1] + after[2]).mean((2, 3))


class Joined(nn.Module):
    """The clamps' results share their range with one that goes beyond it: they stay in float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(24, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = 10 * self.stem(image)
        clamped = [nn.functional.relu(features), nn.functional.relu6(features), nn.functional.hardswish(features)]
        after: Tensor = self.after(torch.cat(clamped, 1))
        return after.mean((2, 3))


class Pooled(nn.Module):
    """A ReLU behind a pooling, with no other reader before it: the convolution's range does its work."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.after = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        after: Tensor = self.after(nn.functional.relu(nn.functional.max_pool2d(self.stem(image), 2)))
        return after.mean((2, 3))


@pytest.mark.parametrize(("network", "requantised", "left"), [(Shared, 2, 0), (Pooled, 0, 0), (Joined, 0, 2)])
def test_ranges_clamp(network: type[nn.Module], requantised: int, left: int, tmp_path: Path) -> None:
    """Oracle: the float model. Two layers at 8 bits keep some 35 dB; clamps that did nothing left 15."""
    images = [stimulus.image for stimulus in verification_stimuli(SIDE, 3, Preprocessing())]
    np.savez(tmp_path / "data.npz", np.concatenate(images))
    exact, int8 = tmp_path / "exact.tflite", tmp_path / "int8.tflite"
    convert(f"{__name__}:{network.__name__}", exact, ConvertOptions(SIDE))
    options = ConvertOptions(SIDE, precision=Precision.INT8, calibration=str(tmp_path / "data.npz"))
    convert(f"{__name__}:{network.__name__}", int8, options)
    before, after = (inspect_model(path, LITERT, explain=False) for path in (exact, int8))
    assert any(name.startswith("RELU") for name in before.op_counts)
    assert [op.precision for op in after.ops if op.type.startswith("RELU")] == ["float32"] * left
    assert (after.partitions, len(after.undelegated)) == (1, 0)
    clamps = [
        op for op in after.ops if op.type == "QUANTIZE" and (op.reason or "").startswith("the range of its result")
    ]
    assert len(clamps) == requantised
    assert sqnr_db([answers(exact, images)], [answers(int8, images)]) > 25
