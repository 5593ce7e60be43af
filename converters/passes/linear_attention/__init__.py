"""ReLU linear attention in whatever form an exporter wrote it becomes one canonical form that a delegate takes whole.

Given: q, k, v [B, h, d, N] by reshape and gather, split or slices; KᵀV and q·KV in either order; a denominator with ε;
a projection. Result: the form of ``forms`` that suits the target, in its place, with the weights of the convolutions
around it put in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.linear_attention.forms import Form, Operands, build
from converters.passes.linear_attention.half import fit_half
from converters.passes.linear_attention.match import Attention, match
from converters.passes.linear_attention.products import Factor, NoMatch
from converters.passes.tools.channels import CannotSelect, ChannelSelector
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of, sole_consumer
from converters.passes.tools.linear import Linear
from converters.passes.tools.trace import layout_step
from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError
from evit_mobile.specs import Core, Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: What ``--attention-form`` takes.
ATTENTION_FORMS = ("auto", *(form.value for form in Form))

#: From here on the passes that ``gram-matmul`` adds over k cost less than the transpose that it saves (x86-64, LiteRT
#: 2.1.2, 2.3.0). On Arm they never do.
_MATMUL_TOKENS = 512


@dataclass(frozen=True)
class _Place:
    """Where the attention's result is read: ``value`` [1, h·dᵥ, H, W] whose channels are (head · dᵥ + p) in
    ``channels``' order.
    """

    value: ir.Value
    channels: Array
    projection: ir.Node | None


@dataclass(frozen=True)
class _Layers:
    """The projections around an attention that could become part of it: k's before its ReLU, v's, and the output's."""

    key: Linear | None
    value: Linear | None
    projection: Linear | None


class LinearAttention(NodePass):
    """Finds each linear attention and puts ``form`` (``auto``: the best for target and shape) in its place."""

    name = "linear-attention"
    reason = "gathers, pads and 5-D slices leave the delegate, and every transpose of the tokens is a copy"
    op_types = frozenset({"Div", "Mul"})

    def __init__(self, form: str = "auto") -> None:
        if form not in ATTENTION_FORMS:
            raise RequestError(f"no attention form is called {form!r}", hint=f"known: {', '.join(ATTENTION_FORMS)}")
        self._form = None if form == "auto" else Form(form)

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        try:
            attention = match(node)
            place = _find_place(attention)
        except NoMatch as miss:
            if not miss.close:
                return None
            raise Refused(str(miss)) from miss
        layers = _Layers(_key_projection(attention), _linear(attention.v), _projection(place))
        form = self._choose(attention, layers, target)
        folded = place.projection if form.folds_projection else None
        if folded is None and not np.array_equal(place.channels, np.arange(len(place.channels))):
            raise Refused("its heads are reordered before no projection that could take it up")
        result = place.value if folded is None else folded.outputs[0]

        def rewrite(emit: Emitter) -> None:
            operands = _operands(emit, attention, layers, form)
            half = target.precision is Precision.FP16
            replace_value(result, build(form, fit_half(operands, target.token_ratio) if half else operands))

        return rewrite

    def _choose(self, attention: Attention, layers: _Layers, target: Target) -> Form:
        """The form that was asked for, or the nearest that this attention allows."""
        if self._form is None and target.precision is Precision.INT8:
            # The projections stay convolutions, which int8 makes cheap; its transposes are the cheapest.
            return Form.CHANNEL_MAJOR
        form = self._form or _best(attention.tokens, layers, target.core)
        if form is Form.GRAM_MATMUL and layers.key is None:
            form = Form.GRAM
        if form.folds_value and layers.value is None:
            form = Form.FOLD_OUTPUT
        if form.folds_projection and layers.projection is None:
            form = Form.TOKEN_MAJOR
        if form.folds_projection and target.precision is Precision.FP16:
            # The others divide q before the product: q/ε overflows where q is not zero and Σk is.
            form = Form.CHANNEL_MAJOR
        return form


def _best(tokens: int, layers: _Layers, core: Core) -> Form:
    """What benchmarks/results/attention_forms.md and attention_forms_arm64.md show to be fastest."""
    if layers.value is not None and tokens > layers.value.weight.shape[1]:
        if core is not Core.X86_64:
            return Form.GRAM_BLOCKS
        return Form.GRAM if tokens < _MATMUL_TOKENS else Form.GRAM_MATMUL
    # Folding costs h·dₖ·dᵥ·O once, and saves N·h·dₖ·dᵥ.
    few = layers.projection is None or tokens <= layers.projection.weight.shape[0]
    return Form.CHANNEL_MAJOR if few else Form.FOLD_OUTPUT


def _operands(emit: Emitter, attention: Attention, layers: _Layers, form: Form) -> Operands:
    """What ``form`` is built from, made as far as the form needs it."""
    selector = ChannelSelector(emit)
    factors = {"q": attention.q, "k": attention.k, "v": attention.v}
    if form.folds_value:
        del factors["v"]
    if form is Form.GRAM_MATMUL:
        del factors["k"]
    try:
        values = {name: _activated(emit, selector, name, factor) for name, factor in factors.items()}
    except CannotSelect as error:
        raise Refused(str(error)) from error
    return Operands(
        emit=emit,
        q=values["q"],
        k=values.get("k"),
        v=values.get("v"),
        key=layers.key,
        value=layers.value,
        projection=layers.projection,
        heads=attention.heads,
        key_width=attention.q.channels.shape[1],
        value_width=attention.v.channels.shape[1],
        epsilon=attention.epsilon,
        epsilon_is_floor=attention.epsilon_is_floor,
        gain=attention.gain,
    )


def _activated(emit: Emitter, selector: ChannelSelector, name: str, factor: Factor) -> ir.Value:
    chosen = selector.select(factor.root, factor.channels.reshape(-1))
    shape = shape_of(chosen)
    assert shape is not None
    return emit.op("Relu", f"{name}_relu", [chosen], shape) if factor.relu else chosen


def _linear(factor: Factor) -> Linear | None:
    """The rows of a plain 1x1 convolution that give ``factor``, where it is one's output without an activation."""
    node = factor.root.producer()
    if factor.relu or node is None:
        return None
    return _rows(node, factor.channels.reshape(-1))


def _key_projection(found: Attention) -> Linear | None:
    """The projection before k's ReLU, where it reads what v's projection reads."""
    k, v = found.k.root.producer(), found.v.root.producer()
    if k is None or v is None or k.inputs[0] is not v.inputs[0]:
        return None
    return _rows(k, found.k.channels.reshape(-1))


def _rows(node: ir.Node, rows: Array) -> Linear | None:
    if node.op_type != "Conv" or not _is_pointwise(node):
        return None
    source, weight = node.inputs[0], constant_of(node.inputs[1])
    bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if source is None or weight is None:
        return None
    picked = np.zeros(len(rows), np.float32) if bias is None else bias[rows]
    return Linear(source, weight[rows, :, 0, 0], picked)


def _is_pointwise(node: ir.Node) -> bool:
    """1x1, one group, stride 1, no padding, constant weights of static shape."""
    weight = shape_of(node.inputs[1])
    strides, pads = node.attributes.get("strides"), node.attributes.get("pads")
    return (
        weight is not None
        and weight[2:] == (1, 1)
        and node.attributes.get_int("group", 1) == 1
        and (strides is None or set(strides.as_ints()) == {1})
        and (pads is None or set(pads.as_ints()) == {0})
        and node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    )


def _find_place(found: Attention) -> _Place:
    """Follow the division's result through layout to a [1, C, H, W] tensor.

    Raises:
        NoMatch: it does not become an image again, so there is nothing to write the result to.
    """
    value, positions = found.output, found.positions
    root = shape_of(found.q.root)
    assert root is not None
    while True:
        if positions.shape[2:] == root[2:] and positions.shape[0] == 1:
            channels = positions[0, :, 0, 0] // found.tokens
            expected = channels[:, None] * found.tokens + np.arange(found.tokens)
            if np.array_equal(positions.reshape(len(channels), -1), expected):
                consumer = sole_consumer(value)
                projects = consumer is not None and consumer.op_type == "Conv" and consumer.inputs[0] is value
                return _Place(value, channels, consumer if projects else None)
        step = sole_consumer(value)
        moved = layout_step(step, positions, step.outputs[0]) if step is not None and step.inputs[0] is value else None
        if step is None or moved is None or moved.size != positions.size:
            raise NoMatch("its result does not become a [1, C, H, W] image again")
        value, positions = step.outputs[0], moved


def _projection(place: _Place) -> Linear | None:
    """The convolution that reads the result, its input channels put in the order of heads."""
    if place.projection is None:
        return None
    order = np.argsort(place.channels)
    linear = _rows(place.projection, np.arange(_outputs(place.projection)))
    return None if linear is None else Linear(linear.source, linear.weight[:, order], linear.bias)


def _outputs(node: ir.Node) -> int:
    weight = shape_of(node.inputs[1])
    return 0 if weight is None else weight[0]
