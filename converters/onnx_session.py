"""ONNX Runtime on the CPU, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx

#: A network as a function from inputs by name to outputs by name.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]
#: ONNX Runtime logs nothing below this level, which is the highest: what is wrong comes as an exception.
_FATAL = 4


def open_session(model: onnx.ModelProto) -> Run:
    """``model`` loaded by ONNX Runtime.

    Raises:
        Exception: ONNX Runtime refuses it, by exceptions without a common class. A user's file may crash it, and is
            opened by ``converters.onnx_reader`` in another process.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    # Without it, 8-bit sums of products saturate in 16 bits on processors that have AVX2 and no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(outputs, session.run(outputs, dict(inputs))))

    return run


def as_array(model: onnx.ModelProto) -> Array:
    """The bytes of a graph, as processes exchange them."""
    return np.frombuffer(model.SerializeToString(), np.uint8)


def from_array(content: Array) -> onnx.ModelProto:
    """The graph of these bytes."""
    import onnx

    return onnx.load_model_from_string(content.tobytes())
