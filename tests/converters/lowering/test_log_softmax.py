"""The logarithm of a softmax. Oracle: PyTorch in double precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.lowering.lower import Lowering
from evit_mobile.arrays import Array
from evit_mobile.runtimes import RUNTIMES
from tests.kits.graphs import export, noise, relative_error, rewrite


class _LogSoftmax(nn.Module):
    """Over axis ``dim``; ``shared`` gives the softmax out as well."""

    def __init__(self, dim: int, shared: bool = False) -> None:
        super().__init__()
        self.dim, self.shared = dim, shared

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if not self.shared:
            return x.log_softmax(self.dim)
        probabilities = x.softmax(self.dim)
        return probabilities.log(), probabilities


def _run(module: nn.Module, x: Array, path: Path) -> tuple[list[str], Array]:
    """The ops of the file at ``path``, and its first output."""
    with Lowering() as lowering:
        path.write_bytes(lowering.lower(rewrite(export(module, x.shape))[0]))
    layout = (0, 2, 3, 1) if x.ndim == 4 else range(x.ndim)
    with RUNTIMES["litert"].open(path) as session:
        values = session.run([np.ascontiguousarray(x.transpose(layout))])
        return [op.name for op in session.ops() if op.name != "TfLiteXNNPackDelegate"], values[0]


# The classes of a picture, of each place of a map, and of each token; places and tokens as many as classes.
@pytest.mark.parametrize(("shape", "dim"), [((1, 7), -1), ((1, 5, 4, 6), 1), ((1, 5, 5, 5), 1), ((1, 6, 6), -1)])
def test_small_probabilities_keep_their_logarithm(shape: tuple[int, ...], dim: int, tmp_path: Path) -> None:
    """Scores that differ by hundreds: e^-300 is no float32. Single precision's rounding, some times over."""
    module, x = _LogSoftmax(dim), 300 * noise(shape)
    names, value = _run(module, x, tmp_path / "model.tflite")
    expected = module(torch.from_numpy(x).double()).numpy()
    found = value.transpose(0, 3, 1, 2) if len(shape) == 4 else value
    assert "LOG_SOFTMAX" in names and not {"SOFTMAX", "LOG"} & set(names)
    assert expected.min() < -200 and relative_error(expected, found) <= 1e-6


def test_a_softmax_that_is_read_elsewhere_stays(tmp_path: Path) -> None:
    names, _ = _run(_LogSoftmax(-1, shared=True), noise((1, 7)), tmp_path / "model.tflite")
    assert {"SOFTMAX", "LOG"} <= set(names)
