"""Networks that onnx2tf's own rewrites spoil are converted without them. Oracle: PyTorch, by the bound of verify."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.pipeline import convert_in_memory
from converters.source.load import module_source
from converters.tflite.partitions import read_partitioning
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Resolution
from tests.kits.graphs import noise, relative_error, seeded


class Net(nn.Module):
    """A strided convolution, whose map has C = H = W = 16, and ``function`` of it."""

    def __init__(self, function: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.function = function
        self.stem = nn.Conv2d(3, 16, 3, 4, 1)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(self.stem(image))


def _by_rows(x: Tensor) -> Tensor:
    return sum((row * (place + 1) for place, row in enumerate(x.unbind(2))), torch.zeros(()))


def _outer(x: Tensor) -> Tensor:
    return x.mean(3).unsqueeze(-1) * x.mean(2).unsqueeze(-2)


def _twice(x: Tensor) -> tuple[Tensor, ...]:
    return x, x * 0.5


@pytest.mark.parametrize("function", [_by_rows, _outer, _twice, lambda x: F.glu(x, 3)])
def test_right_and_in_one_partition(function: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    module = seeded(Net(function))
    conversion = convert_in_memory(module_source(module, Resolution(64, 64)))
    assert not any("left out" in warning for warning in conversion.report.warnings)
    image = noise((1, 3, 64, 64))
    expected = module.double()(torch.from_numpy(image).double())
    with RUNTIMES["litert"].open(conversion.save(tmp_path / "model.tflite")) as session:
        values = session.run([np.moveaxis(image, 1, -1).copy()])
        parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
        kinds = Counter(op.name for op in session.ops())
    assert (parts.count, parts.undelegated) == (1, ()), kinds
    for value, reference in zip(values, [expected] if isinstance(expected, Tensor) else expected, strict=True):
        moved = np.moveaxis(value, -1, 1) if value.ndim == 4 else value
        assert relative_error(reference.numpy(), moved) <= 1e-4


def test_round_may_give_an_output() -> None:
    """onnx2tf's search for spelled-out quantisation ends with an error there."""
    convert_in_memory(module_source(seeded(Net(torch.round)), Resolution(64, 64)))
