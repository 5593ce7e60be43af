"""Frames: what is written is what is read, and a stream that ends early says so."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from evit_mobile.runtimes import wire

DTYPES = arrays.boolean_dtypes() | arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes()


@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0)))
def test_round_trip(array: NDArray[np.generic]) -> None:
    stream = io.BytesIO()
    wire.write(stream, {"call": "run"}, [array, array.T])
    stream.seek(0)
    body, (same, turned) = wire.read(stream)
    assert body == {"call": "run"}
    assert (same.dtype, same.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(same, array)
    np.testing.assert_array_equal(turned, array.T)
    assert stream.read() == b""


@pytest.mark.parametrize("missing", [1, 5, 20])
def test_a_cut_stream_is_an_end_of_file(missing: int) -> None:
    stream = io.BytesIO()
    wire.write(stream, {}, [np.zeros(4, np.float32)])
    with pytest.raises(EOFError):
        wire.read(io.BytesIO(stream.getvalue()[:-missing]))


def test_an_empty_stream_is_an_end_of_file() -> None:
    with pytest.raises(EOFError):
        wire.read(io.BytesIO())


def test_objects_are_refused_before_anything_is_written() -> None:
    stream = io.BytesIO()
    with pytest.raises(TypeError, match="numbers"):
        wire.write(stream, {}, [np.array(["text"], object)])
    assert stream.getvalue() == b""
