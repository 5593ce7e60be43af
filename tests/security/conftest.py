"""Files that a stranger could send: a sound small model, changed in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evit_mobile.tflite.description import OWN_ENTRY
from evit_mobile.tflite.flatbuffer import pack, unpack


@pytest.fixture
def described(small_tflite: Path, tmp_path: Path) -> Callable[..., Path]:
    """``described(model="x:y")`` is the small model with that field of its own entry changed."""

    def write(**changes: Any) -> Path:
        model = unpack(small_tflite.read_bytes())
        (entry,) = [entry for entry in model.metadata if entry.name == OWN_ENTRY.encode()]
        document = {**json.loads(bytes(model.buffers[entry.buffer].data)), **changes}
        content = json.dumps(document).encode("utf-8", "surrogatepass")
        model.buffers[entry.buffer].data = np.frombuffer(content, np.uint8)
        path = tmp_path / "stranger.tflite"
        path.write_bytes(pack(model))
        return path

    return write
