"""A quantised ONNX file in the QDQ form, taken apart: the float network, and the 8 bits that each of its values has.

Such a file is a float network with a QuantizeLinear and a DequantizeLinear behind every value that is to be rounded,
as ONNX Runtime's quantiser and exports of networks that were trained with quantisation have it. Weights are integers
behind a DequantizeLinear, or floats behind both. Rounding to a range that begins at 0 is a ReLU too, and quantisers
leave out the one that stood there: it is put back, since what recognises an attention or a clamp looks for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.quantize.ranges import Parameters
from evit_mobile.arrays import Array, Float32Array
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    import onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
#: ONNX's own domain.
_DOMAINS = ("", "ai.onnx")
#: Ops on integers: of files that are quantised in the other form.
_INTEGER_OPS = ("QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QGemm", "QAttention")
#: Ops whose result has no negative number, and those that make none of what has none.
_POSITIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Sqrt"})
_KEEPING = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Concat", "Pad", "MaxPool",
     "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Resize", "Identity", "Add", "MatMul"}
)  # fmt: skip
#: Ops that give values of their first operand: what rounds that has rounded them.
_MOVING = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Identity"})
#: Passes that would leave out a value which such files round.
LEFT_OUT = frozenset({"pooled-projection"})
_HINT = "quantise it with static 8-bit scales in the QDQ form: onnxruntime's quant_format=QuantFormat.QDQ"


@dataclass(frozen=True)
class QuantisedGraph:
    """A network without its roundings, and the scale and zero point of each value that is rounded, by its name."""

    model: onnx.ModelProto
    encodings: dict[str, Parameters]


def take_apart(model: onnx.ModelProto, name: str) -> QuantisedGraph | None:
    """The float network in a QDQ graph, which messages call ``name``.

    None where ``model`` rounds no activation, or computes on integers, as the other form does.

    Raises:
        RequestError: it rounds to other than 8 bits, or with more than one scale for an activation.
    """
    nodes = model.graph.node
    if not any(map(_is_rounding, nodes)) or any(node.op_type.startswith(_INTEGER_OPS) for node in nodes):
        return None
    taken = _Parts(model, name).taken_apart()
    return taken if taken.encodings else None


def _is_rounding(node: onnx.NodeProto) -> bool:
    return node.op_type in (_QUANTIZE, _DEQUANTIZE) and node.domain in _DOMAINS


class _Parts:
    """One graph on its way to float; to be used once."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        import onnx

        self._name = name
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                self._tensors[node.output[0]] = node.attribute[0].t
        self._quantised: dict[str, onnx.NodeProto] = {}
        self._folded: dict[str, Float32Array] = {}
        self._same: dict[str, str] = {}
        #: Values that have no negative number, and that are the results of ReLUs that are put back.
        self._positive: set[str] = set()
        self._clamped: dict[str, str] = {}
        self._inputs = {value.name for value in graph.input}
        self._reads = Counter(name for node in graph.node for name in node.input)
        self._reads.update(output.name for output in graph.output)
        self.encodings: dict[str, Parameters] = {}

    def taken_apart(self) -> QuantisedGraph:
        """The graph without the nodes that round, and what they say."""
        import onnx

        graph = self._model.graph
        kept = []
        for node in graph.node:
            if not self._takes(node):
                kept.append(node)
            elif node.output[0] in self._clamped:
                names = [self._clamped[node.output[0]]], [node.output[0]]
                kept.append(onnx.helper.make_node("Relu", *names, name=f"{node.output[0]}/Relu"))
        outputs = {output.name for output in graph.output}
        for node in kept:
            for place, operand in enumerate(node.input):
                if operand in self._quantised:
                    raise RequestError(f"{self._name}: {_label(node)} computes on integers", hint=_HINT)
                node.input[place] = self._same.get(operand, operand)
        for output in outputs & self._quantised.keys():
            raise RequestError(f"{self._name}: its output {output} is quantised", hint=_HINT)
        for output, source in self._same.items():
            if output in outputs:
                kept.append(onnx.helper.make_node("Identity", [source], [output], name=f"{output}_rounded"))
        for node in kept:
            if node.op_type in _MOVING and (parameters := self.encodings.get(node.input[0])) is not None:
                self.encodings |= {name: parameters for name in node.output if name not in self.encodings}
        del graph.node[:], graph.value_info[:]
        graph.node.extend(kept)
        read = {operand for node in kept for operand in node.input}
        constants = [tensor for tensor in graph.initializer if tensor.name in read | outputs]
        constants += [onnx.numpy_helper.from_array(array, key) for key, array in self._folded.items()]
        del graph.initializer[:]
        graph.initializer.extend(constants)
        return QuantisedGraph(self._model, self.encodings)

    def _takes(self, node: onnx.NodeProto) -> bool:
        """Whether ``node`` rounds; what it says is then noted."""
        if not _is_rounding(node):
            if node.op_type in _POSITIVE or node.op_type in _KEEPING and all(map(self._is_positive, node.input)):
                self._positive.update(node.output)
            return False
        node.input[0] = self._same.get(node.input[0], node.input[0])
        if node.op_type == _QUANTIZE:
            self._quantised[node.output[0]] = node
        else:
            self._dequantise(node)
        return True

    def _dequantise(self, node: onnx.NodeProto) -> None:
        source, result = node.input[0], node.output[0]
        if source in self._tensors:
            self._folded[result] = self._real(node, self._array(source))
            return
        first = self._quantised.get(source)
        if first is None:
            raise RequestError(f"{self._name}: its input {source} is quantised", hint=_HINT)
        if not self._agree(first, node):
            raise RequestError(f"{self._name}: {_label(node)} has another scale than what it reads", hint=_HINT)
        value = first.input[0]
        if value in self._tensors or value in self._folded:
            constant = self._folded[value] if value in self._folded else self._array(value)
            self._folded[result] = self._real(node, self._rounded(first, constant))
            return
        parameters = self._activation(node)
        if parameters.low == 0:
            if value not in self._positive | self._inputs:
                self._clamped[result] = value
                self._positive.add(result)
                # What nothing else reads is rounded, and clamped, before the ReLU as well.
                names = [result, value] if self._reads[value] == 1 else [result]
                self.encodings |= dict.fromkeys(names, parameters)
                return
            self._positive.add(value)
        if self.encodings.setdefault(value, parameters) != parameters:
            raise RequestError(f"{self._name}: {value} is rounded to two different scales", hint=_HINT)
        self.encodings[result] = parameters
        self._same[result] = value

    def _is_positive(self, name: str) -> bool:
        """Whether a value is known to have no negative number; axes, shapes and the like are as good."""
        name = self._same.get(name, name)
        if name in self._folded or name in self._tensors:
            constant = self._folded[name] if name in self._folded else self._array(name)
            return constant.dtype.kind != "f" or bool((constant >= 0).all())
        return not name or name in self._positive

    def _agree(self, first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
        scale, other_scale = (self._array(node.input[1]) for node in (first, second))
        zero, other_zero = (self._zero_point(node) for node in (first, second))
        return (
            np.array_equal(scale, other_scale) and np.array_equal(zero, other_zero) and zero.dtype == other_zero.dtype
        )

    def _activation(self, node: onnx.NodeProto) -> Parameters:
        """Scale and int8 zero point of the value that ``node`` gives back."""
        scale, zero = self._array(node.input[1]), self._zero_point(node)
        if scale.size != 1:
            raise RequestError(f"{self._name}: {_label(node)} has {scale.size} scales for an activation", hint=_HINT)
        if zero.dtype not in (np.int8, np.uint8):
            raise RequestError(f"{self._name}: {_label(node)} rounds to {zero.dtype}", hint=_HINT)
        if not 0 < scale.reshape(()) < np.inf:
            raise RequestError(f"{self._name}: {_label(node)} has the scale {scale.reshape(()):g}", hint=_HINT)
        offset = 128 if zero.dtype == np.uint8 else 0
        return Parameters(float(scale.reshape(())), int(zero.reshape(())) - offset)

    def _real(self, node: onnx.NodeProto, integers: Array) -> Float32Array:
        """What the integers of a constant stand for, as ONNX Runtime computes it."""
        scale, zero = (
            self._along(node, array, integers) for array in (self._array(node.input[1]), self._zero_point(node))
        )
        return np.asarray((integers.astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)

    def _rounded(self, node: onnx.NodeProto, values: Array) -> Array:
        scale, zero = (
            self._along(node, array, values) for array in (self._array(node.input[1]), self._zero_point(node))
        )
        kind = self._zero_point(node).dtype
        limits = np.iinfo(kind)
        integers = np.round(values / scale) + zero.astype(np.float32)
        return np.clip(integers, limits.min, limits.max).astype(kind)

    def _along(self, node: onnx.NodeProto, parameter: Array, values: Array) -> Array:
        """``parameter`` as an array that goes with ``values``: one number, or one for each place of an axis."""
        attributes = {item.name: item.i for item in node.attribute}
        if parameter.size == 1:
            return parameter.reshape(())
        if attributes.get("block_size") or parameter.ndim != 1:
            raise RequestError(f"{self._name}: {_label(node)} has a scale a block", hint=_HINT)
        shape = [1] * values.ndim
        shape[attributes.get("axis", 1)] = -1
        return parameter.reshape(shape)

    def _zero_point(self, node: onnx.NodeProto) -> Array:
        """Of the type to which ``node`` rounds; uint8 and 0 where it says none, as ONNX has it."""
        if len(node.input) > 2 and node.input[2]:
            return self._array(node.input[2])
        source = self._array(node.input[0]) if node.input[0] in self._tensors else np.zeros(1, np.uint8)
        return np.zeros(1, source.dtype if node.op_type == _DEQUANTIZE else np.uint8)

    def _array(self, name: str) -> Array:
        import onnx

        if name not in self._tensors:
            raise RequestError(f"{self._name}: its scales are computed", hint=_HINT)
        return onnx.numpy_helper.to_array(self._tensors[name])


def _label(node: onnx.NodeProto) -> str:
    return f"{node.name or node.output[0]} ({node.op_type})"
