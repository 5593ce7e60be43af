"""Outputs that are one value, or an input, stay outputs of their own while passes run.

Given: outputs a and b that are both x, by Identity, or one that is a graph input. Removing Identity or merging equal
nodes would leave x with one of the names and drop the other.
Result: each of them is made by a node that no pass knows; afterwards these are Identity.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

_DOMAIN = "evit_mobile.pins"


def pin_outputs(model: ir.Model) -> list[ir.Node]:
    """Put a pin before each output that shares its value with another or with an input; the pins, for ``unpin``."""
    import onnx_ir as ir

    graph = model.graph
    roots = [_root(output) for output in graph.outputs]
    uses = Counter(map(id, roots))
    pins: list[ir.Node] = []
    for place, (output, root) in enumerate(zip(list(graph.outputs), roots)):
        if uses[id(root)] == 1 and not root.is_graph_input():
            continue
        name = output.name
        output.name = f"{name}_shared"
        pin = ir.Node(_DOMAIN, "Output", [root], attributes=[ir.AttrInt64("place", place)], name=f"{name}_pin")
        pin.outputs[0].name, pin.outputs[0].shape, pin.outputs[0].type = name, output.shape, output.type
        graph.append(pin)
        graph.outputs[place] = pin.outputs[0]
        pins.append(pin)
    if pins:
        model.opset_imports[_DOMAIN] = 1
    return pins


def _root(value: ir.Value) -> ir.Value:
    """What ``value`` is a copy of, through Identity."""
    while (node := value.producer()) is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
    return value


def unpin(model: ir.Model, pins: list[ir.Node]) -> None:
    """Turn pins into Identity."""
    for pin in pins:
        pin.domain, pin.op_type = "", "Identity"
        pin.attributes.clear()
    model.opset_imports.pop(_DOMAIN, None)
