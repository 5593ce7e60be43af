"""Frames on the pipes between our process and a worker: a JSON header, then the bytes of the arrays that it announces.

A frame is a 4-byte little-endian length, that many bytes of JSON ``{"body": …, "arrays": [{"dtype": "<f4", "shape": [1,
8]}, …]}``, and each array's elements in C order. Both sides use this file, and the worker's Python may be as old as
3.11 with numpy 1: standard library and numpy alone. Nothing is pickled, so a frame can carry values and no code.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO, Sequence

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")


def write(stream: BinaryIO, body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Write one frame and flush it.

    Raises:
        TypeError: an array has no fixed element size (strings).
        BrokenPipeError: nobody reads any more.
    """
    whole = [np.ascontiguousarray(array) for array in arrays]
    for array in whole:
        if array.dtype.hasobject:
            raise TypeError(f"arrays of {array.dtype} cannot be sent: only numbers and booleans can")
    described = [{"dtype": array.dtype.str, "shape": list(original.shape)} for array, original in zip(whole, arrays)]
    header = json.dumps({"body": body, "arrays": described}).encode()
    stream.write(_LENGTH.pack(len(header)) + header)
    for array in whole:
        stream.write(array.tobytes())
    stream.flush()


def read(stream: BinaryIO) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read one frame: its body and its arrays.

    Raises:
        EOFError: the stream ended before the frame did.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    header = json.loads(_exactly(stream, length))
    arrays = []
    for described in header["arrays"]:
        dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
        content = _exactly(stream, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays.append(np.frombuffer(content, dtype).reshape(shape))
    return header["body"], arrays


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    """``size`` bytes in a buffer that arrays may write to."""
    content = bytearray(stream.read(size))
    if len(content) != size:
        raise EOFError(f"the stream ended {size - len(content)} bytes early")
    return content
