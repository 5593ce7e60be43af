"""What one op computes, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import constant_of
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def opset_of(node: ir.Node) -> int:
    """The version of ONNX's own operators that ``node`` is of."""
    import onnx_ir as ir

    return node.graph.opset_imports[""] if isinstance(node.graph, ir.Graph) else 18


def plane_through(
    single: onnx.NodeProto, opset: int, plane: Array, constants: Sequence[onnx.TensorProto] = ()
) -> Array:
    """What ``single``, whose input is ``x`` and whose output is ``y``, makes of a map [1, 1, H, W].

    Args:
        single: the node; its other inputs are ``constants``.
        opset: its version.
        plane: [H, W].
        constants: initializers.

    Returns:
        The result's plane [H', W'].
    """
    import onnx

    kind = onnx.TensorProto.FLOAT
    x = onnx.helper.make_tensor_value_info("x", kind, [1, 1, *plane.shape])
    y = onnx.helper.make_tensor_value_info("y", kind, None)
    graph = onnx.helper.make_graph([single], "single", [x], [y], list(constants))
    result: Array = _run(graph, opset, {"x": plane.astype(np.float32)[None, None]})[0, 0]
    return result


def constant_through(node: ir.Node) -> Array | None:
    """What ``node``, of one output, makes of constants; None where it reads anything else."""
    import onnx
    import onnx_ir as ir

    constants = {value.name or "": constant_of(value) for value in node.inputs if value is not None}
    if not constants or any(array is None for array in constants.values()):
        return None
    output = onnx.helper.make_empty_tensor_value_info(node.outputs[0].name or "")
    weights = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    return _run(onnx.helper.make_graph([ir.to_proto(node)], "single", [], [output], weights), opset_of(node), {})


def _run(graph: onnx.GraphProto, opset: int, inputs: Mapping[str, Array]) -> Array:
    import onnx

    from converters.onnx_session import open_session

    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    result: Array
    (result,) = open_session(model)(inputs).values()
    return result
