"""Large constants of low rank are stored as two factors, in the delegate. Oracle: PyTorch in float64; relative error
within 1e-5, ten times float32's own here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.lowering.low_rank import factor_constants
from converters.lowering.lower import Lowering
from converters.tflite.editor import FlatbufferEditor
from converters.tflite.partitions import read_partitioning
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.flatbuffer import unpack
from tests.kits.graphs import export, noise, relative_error, rewrite, seeded

SIDE, CHANNELS = 64, 80


class Positions(nn.Module):
    """An embedding of positions, learned at one size, and of each place's window, as Hiera has them."""

    def __init__(self, learned: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 1)
        self.positions = nn.Parameter(torch.randn(1, CHANNELS, learned, learned))
        self.window = nn.Parameter(torch.randn(1, CHANNELS, 8, 8))

    def forward(self, image: Tensor) -> Tensor:
        whole = F.interpolate(self.positions, (SIDE, SIDE), mode="bicubic")
        whole = whole + self.window.tile(1, 1, SIDE // 8, SIDE // 8)
        return (self.stem(image).permute(0, 2, 3, 1) + whole.permute(0, 2, 3, 1)).relu()


class Attention(nn.Module):
    """Two heads of one window of 16x16, whose scores have a bias by how far apart two places are, as Swin's."""

    def __init__(self, relative: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 48, 1)
        places = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None, :] + 15
        self.index = (apart[0] * 31 + apart[1]) if relative else torch.arange(256 * 256).reshape(256, 256)
        self.table = nn.Parameter(torch.randn(int(self.index.max()) + 1, 2))

    def forward(self, image: Tensor) -> Tensor:
        queries, keys, values = self.stem(image).reshape(1, 3, 2, 8, 256).transpose(-1, -2).unbind(1)
        scores = queries @ keys.transpose(-1, -2) + self.table[self.index].permute(2, 0, 1)
        return scores.softmax(-1) @ values


def _checked(module: nn.Module, shape: tuple[int, ...], path: Path) -> list[str]:
    """The ops of the file at ``path``, which computes what ``module`` does, in one partition."""
    module, image = seeded(module), noise(shape)
    with Lowering() as lowering:
        path.write_bytes(lowering.lower(rewrite(export(module, shape))[0], factored=True))
    with torch.no_grad():
        expected = module.double()(torch.from_numpy(image).double()).numpy()
    for xnnpack in (True, False):
        with RUNTIMES["litert"].open(path, xnnpack=xnnpack) as session:
            (value,) = session.run([np.ascontiguousarray(image.transpose(0, 2, 3, 1))])
            names = [op.name for op in session.ops()]
            parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
        assert relative_error(expected, value if value.shape == expected.shape else value.transpose(0, 3, 1, 2)) <= 1e-5
        assert not xnnpack or (parts.count, parts.undelegated) == (1, ())
    return names


@pytest.mark.parametrize(("learned", "products"), [(7, 1), (SIDE, 0)])
def test_factors(learned: int, products: int, tmp_path: Path) -> None:
    path = tmp_path / "positions.tflite"
    names = _checked(Positions(learned), (1, 3, SIDE, SIDE), path)
    assert names.count("FULLY_CONNECTED") == products
    whole = 4 * SIDE * SIDE * CHANNELS
    assert path.stat().st_size < whole / 4 if products else path.stat().st_size > whole


@pytest.mark.parametrize("relative", [True, False])
def test_biases_by_relative_position(relative: bool, tmp_path: Path) -> None:
    """The same in which each pair of places has a bias of its own has no factors."""
    path = tmp_path / "attention.tflite"
    names = _checked(Attention(relative), (1, 3, 16, 16), path)
    assert names.count("FULLY_CONNECTED") == int(relative)
    whole = 4 * 2 * 256 * 256
    assert path.stat().st_size < whole / 3 if relative else path.stat().st_size > whole


def test_tables_stay_where_they_are_little_of_the_file(tmp_path: Path) -> None:
    with Lowering() as lowering:
        content = lowering.lower(rewrite(export(seeded(Attention(relative=True)), (1, 3, 16, 16)))[0])
    for other_values, products in ((0, 1), (2_500_000, 0)):
        editor = FlatbufferEditor(unpack(content))
        editor.add_constant(0, np.zeros(other_values, np.float32), "FLOAT32", None, b"_other")
        factor_constants(editor)
        assert [editor.kind(op) for op in editor.subgraph.operators].count("FULLY_CONNECTED") == products
