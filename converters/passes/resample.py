"""Resizing that TFLite has no op for, or that leaves the delegate.

Given: Resize or Upsample of a float map of static shape: nearest, cubic, antialiased, by a scale that is not the ratio
of the sizes, along any axes. TFLite's RESIZE_BILINEAR knows the ratio of the sizes alone; its RESIZE_NEAREST_NEIGHBOR
is not delegated and rounds in its own way.
Result: a matrix for each axis that changes, whose columns are what the op makes of unit vectors in ONNX Runtime;
nearest enlargement by a whole number repeats places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.axes import repeated, through_matrix
from converters.passes.tools.evaluate import opset_of, plane_through
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The largest matrix that is stored for an axis: 1024 places from 1024.
_MOST_ELEMENTS = 2**20
#: Attributes that say something of all axes together.
_OF_THE_WHOLE = frozenset({"axes", "scales", "keep_aspect_ratio_policy"})
#: Which coordinates TFLite's bilinear op has; of 1 place pytorch_half_pixel means another.
_BILINEAR = frozenset({"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"})


class Resample(NodePass):
    """Rewrites Resize and Upsample, but for bilinear ones that TFLite computes."""

    name = "resample"
    reason = "TFLite resizes bilinearly by the ratio of the sizes, and no other way in the delegate"
    op_types = frozenset({"Resize", "Upsample"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        source, before, after = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if source is None or source.dtype != ir.DataType.FLOAT:
            return None
        if before is None or after is None or 0 in before:
            raise Refused("its shape is not static")
        scales = _scales(node, before, after)
        if scales is None:
            raise Refused("its scales are computed")
        axes = [axis for axis in range(len(before)) if scales[axis] != 1 or before[axis] != after[axis]]
        if _is_bilinear(node, before, after, scales, axes):
            return None
        if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
            raise Refused("it crops")
        if any(before[axis] * after[axis] > _MOST_ELEMENTS for axis in axes):
            raise Refused("its matrix would be too large")

        def rewrite(emit: Emitter) -> None:
            value = source
            for axis in axes:
                matrix = _matrix(node, before[axis], after[axis], scales[axis])
                times = after[axis] // before[axis]
                if np.array_equal(matrix, np.repeat(np.eye(before[axis]), times, axis=0)):
                    value = repeated(emit, value, axis, times)
                else:
                    value = through_matrix(emit, value, axis, matrix)
            replace_value(node.outputs[0], value)

        return rewrite


def _scales(node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> list[float] | None:
    """The scale of each axis; None where it is not known."""
    axes = list(node.attributes.get_ints("axes", range(len(before))))
    attribute = node.attributes.get("scales")
    if attribute is not None:
        factors: list[float] | None = list(attribute.as_floats())
    else:
        place = 2 if len(node.inputs) > 2 else 1
        operand = constant_of(node.inputs[place]) if len(node.inputs) > place else None
        if operand is not None and operand.size:
            factors = [float(factor) for factor in operand]
        elif len(node.inputs) > 3 and (sizes := constant_of(node.inputs[3])) is not None:
            policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
            if policy == "stretch":
                factors = [after[axis] / before[axis] for axis in axes]
            else:  # one scale for all axes
                asked = [float(size) / before[axis] for size, axis in zip(sizes, axes)]
                factors = [(min if policy == "not_larger" else max)(asked)] * len(axes)
        else:
            factors = None
    if factors is None or len(factors) != len(axes):
        return None
    by_axis = dict(zip([axis % len(before) for axis in axes], factors))
    return [by_axis.get(axis, 1.0) for axis in range(len(before))]


def _is_bilinear(
    node: ir.Node, before: tuple[int, ...], after: tuple[int, ...], scales: list[float], axes: list[int]
) -> bool:
    """Whether TFLite's RESIZE_BILINEAR computes just this."""
    attributes = node.attributes
    old = node.op_type == "Upsample" or len(node.inputs) == 2
    mode = attributes.get_string("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    plain = attributes.get_string("mode", "nearest") == "linear" and not attributes.get_int("antialias", 0)
    if not plain or mode not in _BILINEAR or len(before) != 4 or not set(axes) <= {2, 3}:
        return False
    if mode == "pytorch_half_pixel" and 1 in after[2:]:
        return False
    # 1e-6: a float32 scale of the ratio of two sizes.
    return mode == "align_corners" or all(abs(scales[a] * before[a] - after[a]) <= 1e-6 * after[a] for a in (2, 3))


def _matrix(node: ir.Node, before: int, after: int, scale: float) -> Array:
    """[after, before]: what the op makes of each unit vector, by ONNX Runtime."""
    import onnx
    import onnx_ir as ir

    version = opset_of(node)
    proto = ir.to_proto(node)
    attributes = [item for item in proto.attribute if item.name not in _OF_THE_WHOLE]
    whole = scale * before == after or abs(scale * before - after) < 1e-6 * after
    scales = onnx.numpy_helper.from_array(np.array([1, 1, scale, 1], np.float32), "scales")
    inputs, constants = ["x", "scales"], [scales]
    if node.op_type == "Resize" and version > 10:
        inputs = ["x", "", "", "sizes"] if whole else ["x", "", "scales"]
        sizes = onnx.numpy_helper.from_array(np.array([1, 1, after, before], np.int64), "sizes")
        constants = [sizes] if whole else constants
    single = onnx.helper.make_node(proto.op_type, inputs, ["y"])
    single.attribute.extend(attributes)
    if node.attributes.get("scales") is not None:
        del single.input[1:]
        single.attribute.append(onnx.helper.make_attribute("scales", [1.0, 1.0, scale, 1.0]))
        constants = []
    result = plane_through(single, version, np.eye(before), constants)
    if len(result) != after:
        raise Refused("ONNX Runtime gives it another size")
    return result
