"""Constant folding and clean-up by onnx-ir's and onnxscript's own rules: what every later pass may take for granted.

Given: a graph as exporters write it, its shapes partly unknown, with Constant, Identity, Dropout, Cast, Shape and
Reshape chains, a BatchNormalization behind a convolution, a Pad before one, a hard-swish spelled out in four nodes.
Result: static shapes wherever they can be known, constants as initializers, equal nodes once, BatchNormalization and
Pad folded into their convolutions, ``HardSwish`` and ``HardSigmoid`` as one node each (x · relu6(x + 3) / 6 and relu6(x
+ 3) / 6).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.passes.base import PassResult
from converters.passes.tools.evaluate import constant_through
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnxscript.rewriter import RewriteRule, RewriteRuleSet


#: Rounds after which a graph that still changes is left as it is. What exporters write settles in two or three, but
#: where each block computes its sizes from those of the block before, as in Swin, each takes one.
_ROUNDS = 100
#: Tensors that are computed from constants are stored up to this many elements: shapes, pads and bounds, not
#: activations.
_STORED_ELEMENTS = 1024
#: What would make the file larger by more elements is computed at run time.
_LIMIT = 2**18
#: The same of repeated constants, because TILE leaves the delegate, and of indices, each of which names one number of
#: an activation that is written: static-scatter removes them.
_HIGHEST_LIMIT = 2**24
#: Computed from constants, and kept all the same: a quantised weight is smaller.
_QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})


class FoldConstants:
    """Shape inference, constant folding and the library's peephole rules, until nothing changes."""

    name = "fold-constants"
    reason = "shapes and constants must be known before anything can be recognised by its algebra"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        import onnx_ir.passes.common as common
        from onnxscript import optimizer

        result = PassResult()
        common.InlinePass()(model)
        rules = _rules()
        for _ in range(_ROUNDS):
            _forget_open_shapes(model)
            common.ShapeInferencePass()(model)
            _name_sizes(model)
            resized = _resize_constants(model)
            folded = optimizer.fold_constants(model, should_fold=_should_fold, output_size_limit=_HIGHEST_LIMIT)
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
            common.IdentityEliminationPass()(model)
            common.CommonSubexpressionEliminationPass()(model)
            applied = rules.apply_to_model(model)
            common.RemoveUnusedNodesPass()(model)
            standardised = _standardise_weights(model)
            computed = folded.modified or standardised or resized
            result.fired += applied + int(computed)
            if not applied and not computed:
                break
        common.RemoveUnusedOpsetsPass()(model)
        return result


def _forget_open_shapes(model: ir.Model) -> None:
    """Drop shapes that an exporter left open: inference keeps them, though they can be known by now. A constant has
    its own.
    """
    import onnx_ir as ir

    for constant in model.graph.initializers.values():
        if constant.const_value is not None and shape_of(constant) is None:
            constant.shape = ir.Shape(constant.const_value.numpy().shape)
    for node in model.graph:
        for value in node.outputs:
            if shape_of(value) is None and not value.is_graph_output():
                value.shape = None


def _name_sizes(model: ir.Model) -> None:
    """Write out each size that a Reshape copies from its input by a 0: the library joins it with a Reshape before it,
    and then reads the 0 as a size of that one's input.
    """
    for node in model.graph:
        sizes = constant_of(node.inputs[1]) if node.op_type == "Reshape" and node.domain == "" else None
        shape = shape_of(node.outputs[0])
        if sizes is not None and shape is not None and 0 in sizes and 0 not in shape:
            node.replace_input_with(1, Emitter(model.graph, node, where(node)).ints("named_sizes", shape))


def _should_fold(node: ir.Node) -> bool | None:
    """The library keeps every ConstantOfShape, even the two numbers of a pad, and what is computed from a constant of
    more than 8192 numbers, such as a mask or a weight in another shape; None leaves the choice to it.
    """
    if node.op_type == "ConstantOfShape":
        shape = shape_of(node.outputs[0])
        return shape is not None and math.prod(shape) <= _STORED_ELEMENTS
    if node.op_type == "Resize":
        return False  # see _resize_constants
    if node.op_type in _QUANTISED or not node.inputs:
        return None
    if _growth(node) > _LIMIT and node.op_type != "Tile" and not _are_indices(node.outputs[0]):
        return False
    return all(value is None or constant_of(value) is not None for value in node.inputs) or None


def _growth(node: ir.Node) -> int:
    """Elements that a constant of the node's output has beyond the constants that nothing else reads, which go."""
    shape = shape_of(node.outputs[0])
    replaced = [constant_of(value) for value in node.inputs if value is not None and len(value.uses()) == 1]
    return math.prod(shape or (0,)) - sum(array.size for array in replaced if array is not None)


def _are_indices(value: ir.Value) -> bool:
    """Whether all that reads ``value``, through whatever moves it, is a scatter that takes it as places."""
    uses = list(value.uses())
    return bool(uses) and all(
        (node.op_type in ("ScatterND", "ScatterElements") and position == 1)
        or (node.op_type in ("Concat", "Expand", "Unsqueeze", "Reshape", "Add") and _are_indices(node.outputs[0]))
        for node, position in uses
    )


def _resize_constants(model: ir.Model) -> bool:
    """Compute each Resize of a constant, such as an embedding of positions at another size, by ONNX Runtime. The
    library's evaluator computes one number at a time in Python, which takes minutes.
    """
    changed = False
    for node in [node for node in model.graph if node.op_type == "Resize" and node.domain == ""]:
        values = constant_through(node)
        if values is not None:
            replace_value(node.outputs[0], Emitter(model.graph, node, where(node)).constant("resized", values))
            changed = True
    return changed


def _standardise_weights(model: ir.Model) -> bool:
    """Compute each BatchNormalization of a constant by the constant's own statistics: a convolution's weights that are
    standardised at each call, as NFNet's and BiT's. The library folds no node of several outputs.
    """
    nodes = [node for node in model.graph if node.op_type == "BatchNormalization" and node.domain == ""]
    changed = False
    for node in nodes:
        operands = [constant_of(value) for value in node.inputs[:3]]
        if not node.attributes.get_int("training_mode", 0) or any(array is None for array in operands):
            continue
        weights, scale, shift = (np.asarray(array, np.float64) for array in operands)
        axes = (0, *range(2, weights.ndim))
        mean, variance = weights.mean(axes, keepdims=True), weights.var(axes, keepdims=True)
        channels = [1, -1, *[1] * (weights.ndim - 2)]
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        values = (weights - mean) / np.sqrt(variance + epsilon) * scale.reshape(channels) + shift.reshape(channels)
        constant = Emitter(model.graph, node, where(node)).constant("standardised", values.astype(np.float32))
        replace_value(node.outputs[0], constant)
        changed = True
    return changed


def _neutral_rules() -> list[RewriteRule]:
    """x + 0, x - 0, x · 1 and x / 1 for exactly these numbers: the library's own rules take 1e-8 for 0 and 1.00001 for
    1.
    """
    from onnxscript.rewriter import RewriteRule
    from onnxscript.rewriter.pattern import Constant

    zero, one = Constant(0.0, rel_tol=0.0, abs_tol=0.0), Constant(1.0, rel_tol=0.0, abs_tol=0.0)
    return [
        *RewriteRule(lambda op, x: x + zero, _identity).commute(),
        *RewriteRule(lambda op, x: x * one, _identity).commute(),
        RewriteRule(lambda op, x: x - zero, _identity),
        RewriteRule(lambda op, x: x / one, _identity),
    ]


def _identity(op: Any, x: ir.Value, **_: Any) -> Any:
    return op.Identity(x)


def _rules() -> RewriteRuleSet:
    from onnxscript.rewriter import RewriteRuleSet
    from onnxscript.rewriter.rules import common as rules

    return RewriteRuleSet(
        [
            *rules.fuse_hardswish_rules().rules,
            rules.fuse_batchnorm_into_conv_rule,
            rules.fuse_pad_into_conv_rule,
            rules.reshape_reshape_rule,
            rules.transpose_transpose_rule,
            rules.no_op_transpose_rule,
            rules.no_op_cast_rule,
            rules.no_op_expand_rule,
            rules.cast_cast_rule,
            *_neutral_rules(),
            rules.dropout_inference_rule,
            rules.dropout_zero_rule,
            rules.successive_relu_rule,
            rules.unsqueeze_unsqueeze_rule,
        ]
    )
