"""A box of a map that is written over becomes slices and a concatenation, whichever exporter wrote it down. Oracle:
PyTorch; elements are only moved, so results are equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.source.torch_export import Exportable, Exporter, export_module
from tests.kits.graphs import noise, ops, rewrite, run_onnx

EXPORTERS = [Exporter.TORCHSCRIPT, Exporter.DYNAMO]


class Written(nn.Module):
    """A copy of the input, changed in place by ``write``."""

    def __init__(self, write: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        y = 2 * x
        self.write(y)
        return y + 1


def add_in_the_corner(y: Tensor) -> None:
    y[:, :, 1:, 1:] += y[:, :, :1, :1]


def add_everywhere(y: Tensor) -> None:
    """As the relative positions of MViTv2, where there is no class token."""
    y[:, :, 0:, 0:] += y.mean((2, 3), keepdim=True)


def fill_a_channel(y: Tensor) -> None:
    y[:, 1] = 0.5


def move_channels(y: Tensor) -> None:
    y[:, :2] = y[:, 1:] * 3


def write_one_number(y: Tensor) -> None:
    y[:, 0, 1, -2] = 7


def write_inside(y: Tensor) -> None:
    y[:, 1:2, 1:-1, 2:4] = y[:, :1, 1:-1, :2]


class Placed(nn.Module):
    """The input on a larger map that is ``fill`` elsewhere."""

    def __init__(self, fill: float) -> None:
        super().__init__()
        self.fill = fill

    def forward(self, x: Tensor) -> Tensor:
        y = torch.full((1, 3, 9, 9), self.fill)
        y[:, :, 2:-1, 1:7] = x
        return y


def _exported(
    module: nn.Module, shape: tuple[int, ...], exporter: Exporter
) -> tuple[Counter[str], int, Tensor, Tensor]:
    """Ops after the passes, how often the pass fired, and what the graph and PyTorch give."""
    stock = export_module(Exportable(module.eval(), {"x": shape}, ("y",), "written"), exporter).model
    assert {"ScatterND", "ScatterElements"} & ops(stock).keys() or exporter is Exporter.DYNAMO
    rewritten, reports = rewrite(stock)
    x = torch.from_numpy(noise(shape))
    actual = torch.from_numpy(run_onnx(rewritten, x.numpy()))
    return ops(rewritten), reports["static-scatter"].fired, actual, module(x)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("shape", [(1, 3, 6, 8), (1, 3, 5, 5)])
@pytest.mark.parametrize(
    "write", [add_in_the_corner, add_everywhere, fill_a_channel, move_channels, write_one_number, write_inside]
)
def test_written_over(write: Callable[[Tensor], None], shape: tuple[int, ...], exporter: Exporter) -> None:
    after, fired, actual, expected = _exported(Written(write), shape, exporter)
    assert not {"ScatterND", "ScatterElements"} & after.keys()
    assert fired or write is add_everywhere  # which the newer exporter sees through
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("fill", [0.0, -1.5])
def test_written_onto_one_number_is_padding(fill: float, exporter: Exporter) -> None:
    after, fired, actual, expected = _exported(Placed(fill), (1, 3, 6, 6), exporter)
    assert fired and after["Pad"] and not {"Concat", "ScatterND"} & after.keys()
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_large_maps_keep_no_indices() -> None:
    """784 x 784 relative positions of two heads: 1.2 million places of four coordinates."""
    after, fired, actual, expected = _exported(Written(add_everywhere), (1, 2, 784, 784), Exporter.TORCHSCRIPT)
    assert fired and not {"ScatterND", "Expand"} & after.keys()
    torch.testing.assert_close(actual, expected)


def every_second(y: Tensor) -> None:
    y[..., ::2] = y[..., 1::2]


def exchanged(y: Tensor) -> None:
    y[:, [2, 0]] = y[:, [0, 2]]


@pytest.mark.parametrize("write", [every_second, exchanged])
def test_other_places_stay(write: Callable[[Tensor], None]) -> None:
    stock = export_module(Exportable(Written(write).eval(), {"x": (1, 3, 6, 8)}, ("y",), "written"), EXPORTERS[0]).model
    rewritten, reports = rewrite(stock)
    report = reports["static-scatter"]
    assert report.fired == 0 and "no box" in report.declined[0].reason and ops(rewritten)["ScatterND"] == 1
    x = noise((1, 3, 6, 8))
    np.testing.assert_array_equal(run_onnx(rewritten, x), Written(write)(torch.from_numpy(x)).numpy())
