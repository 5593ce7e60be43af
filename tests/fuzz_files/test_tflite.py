""".tflite files, some fields along the schema or some words changed: read and run, or refused in one line."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import strategies as st

from converters.tflite.inspection import inspect_model
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.flatbuffer import pack
from tests.fuzz_files.harness import fuzz, refused_or_read
from tests.kits.files import small_network

#: What fields are set to: ends of ranges, small numbers, shapes, and what is no number.
INTEGERS = st.sampled_from([-(2**31), -129, -2, -1, 0, 1, 2, 3, 4, 7, 8, 63, 255, 1000, 2**15, 2**31 - 1])
VALUES = st.one_of(
    INTEGERS,
    st.lists(INTEGERS, max_size=6),
    st.none(),
    st.binary(max_size=8),
    st.floats(width=32),
    st.lists(st.floats(width=32), max_size=4),
)


def _objects(model: Any) -> Iterator[Any]:
    """Every table of the tree."""
    yield model
    for value in vars(model).values():
        for item in value if isinstance(value, list) else [value]:
            if type(item).__module__ == schema.__name__:
                yield from _objects(item)


@pytest.fixture(scope="module")
def network() -> Any:
    return small_network()


def test_the_network_itself_is_sound(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "sound.tflite"
    path.write_bytes(pack(network))
    assert [op.type for op in inspect_model(path, explain=False).ops] == [
        "CONV_2D", "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "ADD", "SOFTMAX",
    ]  # fmt: skip


@st.composite
def _changed_fields(draw: st.DrawFn, network: Any) -> bytes:
    """One to three fields of any tables hold anything; nothing where the schema's own writer does not take a value."""
    model = copy.deepcopy(network)
    for _ in range(draw(st.integers(1, 3))):
        tables = list(_objects(model))
        table = tables[draw(st.integers(0, len(tables) - 1))]
        field = draw(st.sampled_from(sorted(vars(table))))
        setattr(table, field, draw(VALUES))
    try:
        return pack(model)
    except Exception:
        return b""


@st.composite
def _changed_words(draw: st.DrawFn, content: bytes) -> bytes:
    """One to four words, offsets among them, are anything."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(8, len(content) - 4)) // 4 * 4
        struct.pack_into("<I", changed, place, draw(st.integers(0, 2**32 - 1)))
    return bytes(changed)


def test_changed_files(network: Any, tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        path = tmp_path / f"{hashlib.sha256(content).hexdigest()[:12]}.tflite"
        path.write_bytes(content)
        _read(path)
        path.unlink()  # what stays in the folder is a find

    fuzz(st.one_of(_changed_fields(network), _changed_words(pack(network))), read, 300)


def _read(path: Path) -> None:
    """What ``inspect`` and ``run`` do; a runtime may refuse to run what it has loaded."""
    with refused_or_read():
        inspect_model(path, explain=False)
        with RUNTIMES["litert"].open(path) as session, contextlib.suppress(RuntimeError, ValueError):
            if sum(int(np.prod(info.shape)) for info in session.inputs) < 10**7:
                session.run([np.zeros(info.shape, info.dtype) for info in session.inputs])
