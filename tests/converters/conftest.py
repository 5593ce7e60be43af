"""Fixtures of the converters' tests: .tflite files with a known fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.graph import read_graph

Change = Callable[[NDArray[np.float32]], None]


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[Path, str, Change], Path]:
    """``damaged(model, name, change)``: a copy whose constant tensor with ``name`` in its name was changed in place by
    ``change``.
    """

    def damage(source: Path, name: str, change: Change) -> Path:
        graph, model = read_graph(source), unpack(source.read_bytes())
        (tensor,) = [tensor for tensor in graph.tensors if tensor.constant and name in tensor.name]
        values = tensor.values()
        assert values is not None
        changed = values.copy()
        change(changed)
        assert not np.array_equal(changed, values)
        model.buffers[model.subgraphs[0].tensors[tensor.index].buffer].data = np.frombuffer(changed.tobytes(), np.uint8)
        path = tmp_path / "damaged.tflite"
        path.write_bytes(pack(model))
        return path

    return damage


@pytest.fixture
def without_entry(tmp_path: Path) -> Callable[[Path], Path]:
    """``without_entry(model)``: a copy as another converter would have written it, without metadata."""

    def strip(source: Path) -> Path:
        model = unpack(source.read_bytes())
        model.metadata = []
        path = tmp_path / "bare.tflite"
        path.write_bytes(pack(model))
        return path

    return strip
