"""Operators that ONNX defines by others, in those others, where the lowering has no form of the whole.

Given: Attention, RMSNormalization, RotaryEmbedding or CenterCropPad of newer opsets.
Result: the body that ONNX's own schema gives for each, for its inputs and attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

#: The lowering writes a custom op for these.
_EXPANDED = frozenset({"Attention", "CenterCropPad", "RMSNormalization", "RotaryEmbedding"})


def expand_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with these operators written out; itself where it has none."""
    if not any(node.op_type in _EXPANDED and node.domain == "" for node in model.graph.node):
        return model
    import onnx.inliner

    model = _with_types(model)
    chosen = [("", name) for name in sorted(_EXPANDED)]
    expanded = onnx.inliner.inline_selected_functions(model, chosen, inline_schema_functions=True)
    del expanded.graph.value_info[:]  # shapes that were inferred without the bodies' constants
    return expanded


def _with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the types of all its values and constants: a body may depend on them."""
    import onnx.shape_inference

    typed = onnx.shape_inference.infer_shapes(model)
    known = {value.name for value in [*typed.graph.value_info, *typed.graph.input, *typed.graph.output]}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            typed.graph.value_info.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return typed
