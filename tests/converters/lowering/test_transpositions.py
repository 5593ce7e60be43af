"""Transpositions of a model that was lowered op by op. Oracle: PyTorch in float64; relative error within 1e-5, ten
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

from converters.lowering import lower
from converters.lowering.lower import Lowering
from converters.lowering.transpositions import put_off_transpositions
from converters.tflite.editor import FlatbufferEditor
from converters.tflite.partitions import read_partitioning
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack, unpack
from tests.kits.graphs import export, noise, relative_error, rewrite, seeded

SIDE = 16


class Branches(nn.Module):
    """Each kind of op that works on axes in any order, between convolutions; C = H = W."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.prelu = nn.Conv2d(3, SIDE, 1), nn.PReLU(SIDE)
        self.register_buffer("scale", torch.linspace(1, 2, SIDE).reshape(1, SIDE, 1, 1))
        self.head = nn.ModuleList(nn.Conv2d(channels, 4, 1) for channels in (SIDE, 6, SIDE, 2 * SIDE, SIDE, SIDE))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(image)
        maps = (
            torch.tanh(x) * self.scale,
            x[:, 2:8] * 2,
            F.pad(x, (1, 0, 2, 3)).abs(),
            torch.cat([x.exp(), x[:, :, :].neg()], 1),
            x * x.mean((2, 3), keepdim=True),
            self.prelu(x - x.amax(1, keepdim=True)),
        )
        return tuple(head(value) for head, value in zip(self.head, maps))


class Needed(nn.Module):
    """A transposition that nothing undoes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.stem(image).flatten(2) + 1


def _kinds(content: bytes) -> Counter[str]:
    return Counter(op.type for op in Tflite(content, "lowered").graph.ops)


def _put_off(content: bytes) -> bytes:
    editor = FlatbufferEditor(unpack(content))
    put_off_transpositions(editor)
    return pack(editor.model)


def _lowered(module: nn.Module, outputs: int) -> bytes:
    rewritten, _ = rewrite(export(module, (1, 3, SIDE, SIDE), outputs=outputs))
    with Lowering(rewrites=False) as lowering:
        return lowering.lower(rewritten)


def test_ops_follow_the_order_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = seeded(Branches())
    with monkeypatch.context() as patch:
        patch.setattr(lower, "put_off_transpositions", lambda editor: None)
        before = _lowered(module, 6)
    assert _kinds(before)["TRANSPOSE"] >= 10
    after = _put_off(before)
    assert _kinds(after)["TRANSPOSE"] == 6  # one at each output, which is NCHW here
    path = tmp_path / "after.tflite"
    path.write_bytes(after)
    image = noise((1, 3, SIDE, SIDE))
    expected = module.double()(torch.from_numpy(image).double())
    for xnnpack in (True, False):
        with RUNTIMES["litert"].open(path, xnnpack=xnnpack) as session:
            values = dict(zip(session.output_names(), session.run([np.moveaxis(image, 1, -1).copy()])))
            parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
        assert not xnnpack or (parts.count, parts.undelegated) == (1, ())
        for number, reference in enumerate(expected):
            assert relative_error(reference.numpy(), values[f"y{number}"]) <= 1e-5, number


def test_what_is_needed_stays() -> None:
    content = _lowered(seeded(Needed()), 1)
    assert _kinds(content)["TRANSPOSE"] == 1
    assert _kinds(_put_off(content)) == _kinds(content)
