"""Reading and rewriting an ``onnx_ir`` graph: what every pass needs and the library leaves to its callers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir


def shape_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape of ``value``, or None where a dimension or the rank is unknown."""
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape if isinstance(dim, int))
    return dims if len(dims) == len(value.shape) else None


def constant_of(value: ir.Value | None) -> Array | None:
    """The array that ``value`` always holds, or None where it is computed from the graph's inputs."""
    from onnxscript.rewriter._ir_utils import get_numpy_value

    array: Array | None = get_numpy_value(value)
    return array


def scalar_of(value: ir.Value | None) -> float | None:
    """The number that ``value`` always holds in its single element, or None."""
    array = constant_of(value)
    return None if array is None or array.size != 1 else float(array.reshape(())[()])


def axes_of(node: ir.Node, rank: int) -> tuple[int, ...] | None:
    """The reduced axes of a Reduce* node as non-negative numbers, from the attribute or the second input; None if
    computed.
    """
    attribute = node.attributes.get("axes")
    if attribute is not None:
        axes = list(attribute.as_ints())
    elif len(node.inputs) > 1 and node.inputs[1] is not None:
        array = constant_of(node.inputs[1])
        if array is None:
            return None
        axes = [int(axis) for axis in array.reshape(-1)]
    else:
        axes = list(range(rank))
    return tuple(sorted(axis % rank for axis in axes))


def where(node: ir.Node) -> str:
    """What reports call this place: the node's name, which holds the module's path, or its first output."""
    return node.name or (node.outputs[0].name or node.op_type)


def is_padded(node: ir.Node) -> bool:
    """Whether a convolution or pool pads its input."""
    pads = node.attributes.get("pads")
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    return (pads is not None and any(pads.as_ints())) or automatic not in ("NOTSET", "VALID")


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The only node that reads ``value``; None where there is another, none, or the graph gives it out."""
    consumers = set(value.consumers())
    return consumers.pop() if len(consumers) == 1 and not value.is_graph_output() else None


def inverted(value: ir.Value) -> ir.Value | None:
    """x where ``value`` is 1 / x, x of the same shape; None where it is no reciprocal."""
    node = value.producer()
    if node is None or node.domain != "":
        return None
    if node.op_type == "Reciprocal":
        return node.inputs[0]
    if node.op_type == "Div" and scalar_of(node.inputs[0]) == 1.0 and shape_of(node.inputs[1]) == shape_of(value):
        return node.inputs[1]
    return None


class Emitter:
    """Adds nodes and constants to a graph, each node right before ``anchor``, names under ``prefix``."""

    def __init__(self, graph: ir.Graph, anchor: ir.Node, prefix: str) -> None:
        self._graph = graph
        self._anchor = anchor
        self.prefix = prefix
        self._uses: Counter[str] = Counter()

    @property
    def opset(self) -> int:
        """The graph's version of ONNX's own operators; the newest where it says none."""
        return self._graph.opset_imports.get("", 99)

    def before(self, anchor: ir.Node, prefix: str) -> Emitter:
        """One that adds to the same graph before another node."""
        return Emitter(self._graph, anchor, prefix)

    def constant(self, name: str, array: Array) -> ir.Value:
        """An initializer of the array's own type."""
        import onnx_ir as ir

        full_name = self._fresh(name)
        tensor = ir.tensor(np.require(array, requirements="C"), name=full_name)
        value = ir.Value(
            name=full_name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._graph.register_initializer(value)
        return value

    def ints(self, name: str, numbers: Sequence[int]) -> ir.Value:
        """An int64 vector, as shapes and axes are given."""
        return self.constant(name, np.asarray(numbers, np.int64))

    def op(
        self, op_type: str, name: str, inputs: Sequence[ir.Value | None], shape: Sequence[int], **attributes: Any
    ) -> ir.Value:
        """One float32 node with one output of ``shape``."""
        import onnx_ir as ir

        full_name = self._fresh(name)
        node = ir.node(op_type, inputs, attributes=attributes, name=full_name)
        output = node.outputs[0]
        output.name = f"{full_name}_output"
        output.shape = ir.Shape(shape)
        output.dtype = ir.DataType.FLOAT
        self._graph.insert_before(self._anchor, node)
        return output

    def reshape(self, name: str, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """``value`` in another shape, or itself where it has that shape."""
        if shape_of(value) == tuple(shape):
            return value
        return self.op("Reshape", name, [value, self.ints(f"{name}_shape", shape)], shape)

    def transpose(self, name: str, value: ir.Value, permutation: Sequence[int]) -> ir.Value:
        """``value`` with its axes in another order; its shape must be static."""
        shape = shape_of(value)
        assert shape is not None
        return self.op("Transpose", name, [value], [shape[axis] for axis in permutation], perm=list(permutation))

    def slice(self, name: str, value: ir.Value, axis: int, start: int, end: int) -> ir.Value:
        """The places ``start`` up to before ``end`` along ``axis``, none of them negative; the value's shape must be
        static.
        """
        shape = shape_of(value)
        assert shape is not None
        bounds = [self.ints("starts", [start]), self.ints("ends", [end]), self.ints("axes", [axis])]
        kept = [end - start if place == axis else size for place, size in enumerate(shape)]
        return self.op("Slice", name, [value, *bounds], kept)

    def pad(self, name: str, value: ir.Value, pads: Sequence[int], fill: float = 0.0) -> ir.Value:
        """``value`` with ``fill`` around it: as many before each axis, then as many behind each; the value's shape must
        be static.
        """
        shape = shape_of(value)
        assert shape is not None
        rank = len(shape)
        padded = [size + pads[axis] + pads[rank + axis] for axis, size in enumerate(shape)]
        if self.opset < 11:
            return self.op("Pad", name, [value], padded, mode="constant", pads=list(pads), value=fill)
        operands = [value, self.ints(f"{name}_pads", pads)]
        if fill:
            operands.append(self.constant(f"{name}_fill", np.array(fill, np.float32)))
        return self.op("Pad", name, operands, padded, mode="constant")

    def reduce(self, op_type: str, name: str, value: ir.Value, *axes: int) -> ir.Value:
        """A Reduce* over axes that are kept with size 1; they stand as the graph's opset wants them."""
        shape = shape_of(value)
        assert shape is not None
        kept = [1 if place in axes else size for place, size in enumerate(shape)]
        as_input_since = 13 if op_type == "ReduceSum" else 18
        if self._graph.opset_imports.get("", as_input_since) >= as_input_since:
            return self.op(op_type, name, [value, self.ints(f"{name}_axes", axes)], kept, keepdims=1)
        return self.op(op_type, name, [value], kept, axes=list(axes), keepdims=1)

    def _fresh(self, name: str) -> str:
        """``prefix/name``, numbered from the second time on."""
        self._uses[name] += 1
        return f"{self.prefix}/{name}" + (f"_{self._uses[name]}" if self._uses[name] > 1 else "")


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let everything that read ``old`` read ``new``; a graph output keeps its name."""
    if old.is_graph_output():
        name, old.name = old.name, f"{old.name}_replaced"
        new.name = name
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def tidy(model: ir.Model) -> None:
    """Drop what nothing reads and infer the shapes anew."""
    import onnx_ir.passes.common as common

    common.RemoveUnusedNodesPass()(model)
    common.ShapeInferencePass()(model)
