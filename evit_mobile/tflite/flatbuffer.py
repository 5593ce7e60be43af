"""The flatbuffer of a .tflite: bytes to an object tree, and an object tree to bytes.

Old runtimes do not verify what they load: tflite-runtime 2.14.0 reads past the end of a truncated file, which ends in a
segmentation fault or, worse, in weights taken from whatever lies there. Every file is therefore unpacked here before a
runtime sees it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from evit_mobile.errors import RequestError
from evit_mobile.tflite.structure import check_structure

IDENTIFIER = b"TFL3"
#: What the generated schema code raises on offsets that lead nowhere.
_DAMAGE = (struct.error, ValueError, TypeError, IndexError, OverflowError, MemoryError, RecursionError)


def unpack(content: bytes, name: str = "this file") -> Any:
    """The object tree (``ModelT`` of TFLite's schema) of a .tflite.

    Args:
        content: the whole file.
        name: what an error calls it.

    Raises:
        RequestError: the bytes are not a .tflite, or are truncated or damaged, or its parts do not fit together.
    """
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != IDENTIFIER:
        hint = "its bytes 4 to 8 should read TFL3" if content else "it is empty"
        raise RequestError(f"{name} is not a .tflite file", hint=hint)
    try:
        # Unpacking follows every offset; the generated code checks the bounds of each read, and numpy those of each
        # buffer.
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    except _DAMAGE as error:
        raise RequestError(f"{name} is damaged or truncated", hint="convert or copy it again") from error
    check_structure(model, name, len(content))
    return model


def pack(model: Any, size_hint: int = 0) -> bytes:
    """The bytes of an object tree (``ModelT``): the inverse of ``unpack``.

    Args:
        model: the object tree.
        size_hint: expected size in bytes; it saves growing the buffer.
    """
    builder = _aligned_builder(size_hint)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def read_bytes(path: Path) -> bytes:
    """The content of the file at ``path``, unchecked.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error


def read_whole(path: Path) -> bytes:
    """The content of a .tflite, after checking that every table and buffer lies inside the file.

    Raises:
        RequestError: the file cannot be read, is not a .tflite, or is truncated or damaged.
    """
    content = read_bytes(path)
    unpack(content, str(path))
    return content


def _aligned_builder(size: int) -> Any:
    """A flatbuffer builder that aligns byte vectors to 16.

    The schema asks for that (``force_align: 16`` on buffers, so that kernels may load vectors from a mapped file), but
    the generated Python code ignores it. Equal names are stored once: subgraphs of one network have most in common.
    """
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self._names: dict[bytes | str, Any] = {}

        def CreateString(self, s: bytes | str, encoding: str = "utf-8", errors: str = "strict") -> Any:
            if s not in self._names:
                self._names[s] = super().CreateString(s, encoding, errors)
            return self._names[s]

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
            return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)

    return AlignedBuilder(size + 65536)
