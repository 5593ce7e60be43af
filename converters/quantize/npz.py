"""Inputs from an .npz file, read one at a time: numpy itself would read the whole array."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from evit_mobile.errors import RequestError

#: Names of an .npz's array where it has several.
ARRAY_NAMES = ("images", "inputs", "x")


def npz_inputs(path: Path) -> Iterator[NDArray[Any]]:
    """Each [H, W, C] of the array [N, H, W, C] in an .npz, read one at a time.

    Raises:
        RequestError: no .npz, several arrays of other names, objects, or a damaged file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open(_member(path, archive)) as file:
                shape, dtype = _header(path, file)
                size = math.prod(shape[1:]) * dtype.itemsize
                for number in range(shape[0]):
                    content = file.read(size)
                    if len(content) < size:
                        raise RequestError(f"{path} is cut short: it ends within input {number} of {shape[0]}")
                    yield np.frombuffer(content, dtype).reshape(shape[1:])
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise RequestError(f"{path} is no whole .npz file: {error}", hint="made by numpy.savez?") from error


def _member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    chosen = names if len(names) == 1 else [name for name in ARRAY_NAMES if name in names][:1]
    if not chosen:
        raise RequestError(
            f"{path} holds {', '.join(names) or 'nothing'}", hint=f"expected one array, or one called {ARRAY_NAMES[0]}"
        )
    return f"{chosen[0]}.npy"


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    numpy_format: Any = np.lib.format  # its stubs have no types
    version = numpy_format.read_magic(file)
    read = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise RequestError(f"{path} holds Python objects", hint="expected one array, [N, H, W, C] of uint8 or float32")
    if len(shape) != 4:
        raise RequestError(f"{path} holds an array of shape {list(shape)}, expected [N, H, W, C]")
    if fortran:
        raise RequestError(f"{path} holds an array in Fortran order", hint="save it by numpy.ascontiguousarray")
    return shape, dtype
