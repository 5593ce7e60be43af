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

from converters.lowering.lower import Lowering
from converters.tflite.partitions import read_partitioning
from evit_mobile.runtimes import RUNTIMES
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


@pytest.mark.parametrize(("learned", "products"), [(7, 1), (SIDE, 0)])
def test_factors(learned: int, products: int, tmp_path: Path) -> None:
    module, shape = seeded(Positions(learned)), (1, 3, SIDE, SIDE)
    with Lowering() as lowering:
        content = lowering.lower(rewrite(export(module, shape))[0], factored=True)
    path, image = tmp_path / "positions.tflite", noise(shape)
    path.write_bytes(content)
    whole = 4 * SIDE * SIDE * CHANNELS
    assert len(content) < whole / 4 if products else len(content) > whole
    with torch.no_grad():
        expected = module.double()(torch.from_numpy(image).double()).numpy()
    for xnnpack in (True, False):
        with RUNTIMES["litert"].open(path, xnnpack=xnnpack) as session:
            (value,) = session.run([np.ascontiguousarray(image.transpose(0, 2, 3, 1))])
            names = [op.name for op in session.ops()]
            parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
        assert relative_error(expected, value) <= 1e-5
        assert names.count("FULLY_CONNECTED") == products
        assert not xnnpack or (parts.count, parts.undelegated) == (1, ())
