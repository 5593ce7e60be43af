"""Reading a .tflite without a runtime: whether it is one and is whole.

Old runtimes do not verify what they load: tflite-runtime 2.14.0 reads past the end of a file that was cut short, which ends in a
segmentation fault or, worse, in weights taken from whatever lies there. So the file is checked here first.
"""

from __future__ import annotations

import struct
from pathlib import Path

from evit_mobile.errors import RequestError


def read_model(model: Path) -> bytes:
    """The content of a .tflite, once every table and buffer in it was found to lie inside the file.

    Raises:
        RequestError: the file cannot be read, is no .tflite, or was cut short or damaged.
    """
    try:
        content = model.read_bytes()
    except OSError as error:
        raise RequestError(f"{model} cannot be read: {error.strerror}") from error
    check_whole(content, str(model))
    return content


def check_whole(content: bytes, name: str) -> None:
    """Raise RequestError, calling the bytes ``name``, unless they are a whole .tflite."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise RequestError(f"{name} is no .tflite", hint="its bytes 4 to 8 should read TFL3" if content else "it is empty")
    try:
        # Unpacking follows every offset; the generated code checks the bounds of each read, and numpy those of each buffer.
        schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    except (struct.error, ValueError, TypeError, IndexError, OverflowError, MemoryError, RecursionError) as error:
        raise RequestError(f"{name} is damaged or cut short", hint="convert or copy it again") from error
