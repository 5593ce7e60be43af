"""Raw pixels in: an input of uint8, 0 to 255, for a model that takes them as floats.

A DEQUANTIZE of scale 1 stands in front. XNNPACK delegates it, where it leaves a QUANTIZE from uint8 to int8 to TFLite's
own kernel.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from converters.quantize.plan import OpPlan
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.specs import Precision

REASON = "pixels of 0 to 255 come in"
#: The version of DEQUANTIZE that takes uint8.
_VERSION = 1


def with_byte_input(tree: Any, plan: list[OpPlan]) -> list[OpPlan]:
    """Give ``tree`` (``ModelT``, edited), which takes one float32 image of pixels, an input of uint8.

    Args:
        tree: the model.
        plan: a choice for each of its ops; empty where nothing was quantised.

    Returns:
        The plan with the new op, which is the first; empty where it was.
    """
    editor = FlatbufferEditor(tree)
    (image,) = (int(index) for index in editor.subgraph.inputs)
    tensors = editor.subgraph.tensors
    bytes_in = copy.deepcopy(tensors[image])
    bytes_in.type, bytes_in.buffer = editor.tensor_type("UINT8"), 0
    bytes_in.quantization = editor.quantisation(np.array([1], np.float32), [0])
    tensors[image].name += b"_as_float"
    taken = editor.add_tensor(bytes_in)
    editor.subgraph.operators.insert(0, editor.operator("DEQUANTIZE", [taken], image, _VERSION))
    editor.subgraph.inputs = np.array([taken], np.int32)
    for signature in tree.signatureDefs or []:
        for entry in signature.inputs:
            if entry.tensorIndex == image:
                entry.tensorIndex = taken
    if not plan:
        return plan
    moved = [dataclasses.replace(item, op=item.op + 1) for item in plan]
    return [OpPlan(0, "DEQUANTIZE", tensors[image].name.decode(), Precision.FP32, REASON), *moved]
