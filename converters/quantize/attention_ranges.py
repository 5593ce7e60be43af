"""What each linear attention divides by, on the verification inputs: whether half precision could hold it.

φ(k) is summed over all tokens, so Σφ(k) grows with the resolution and float16 ends at 65,504; the denominator φ(q) ·
Σφ(k) + ε of a silent query is ε alone, and what is below 2⁻¹⁴ becomes zero where subnormal numbers are flushed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.float16 import LARGEST, SMALLEST
from converters.passes.linear_attention.forms import DENOMINATOR, KEY_SUM, ROLE

if TYPE_CHECKING:
    import onnx

    from converters.source.load import Source


@dataclass(frozen=True)
class AttentionRange:
    """One attention block over several inputs.

    Attributes:
        block: where it stands in the graph.
        largest_key_sum: max Σφ(k) over heads, channels and inputs.
        smallest_denominator, largest_denominator: of what is divided by, ε included, over heads, tokens and inputs.
        fp16: ``fits``, or what would happen: ``overflows``, ``underflows``.
        input: the verification input on which the worst of the three was found.
    """

    block: str
    largest_key_sum: float
    smallest_denominator: float
    largest_denominator: float
    fp16: str
    input: str


def attention_ranges(graph: onnx.ModelProto, source: Source) -> list[AttentionRange]:
    """Run the rewritten ``graph`` of ``source`` on each stimulus in ONNX Runtime; one entry a block, in order of
    execution.
    """
    import onnx

    from converters.parity.reference import open_onnx_inputs
    from converters.parity.stimuli import graph_stimuli

    marked = {node.output[0]: role for node in graph.graph.node for role in [_role(node)] if role is not None}
    if not marked:
        return []
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    outputs = {output.name for output in graph.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in marked if name not in outputs)
    run = open_onnx_inputs(probe, source)
    extremes: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for stimulus in graph_stimuli(source, graph):
        values = run(stimulus.inputs)
        for name, (block, role) in marked.items():
            entries = extremes.setdefault(block, {KEY_SUM: [], DENOMINATOR: []})[role]
            entries += [(float(values[name].min()), stimulus.name), (float(values[name].max()), stimulus.name)]
    return [_range(block, entries[KEY_SUM], entries[DENOMINATOR]) for block, entries in extremes.items()]


def warnings(ranges: list[AttentionRange]) -> list[str]:
    """One line for all blocks that would overflow in fp16, one for all that would underflow."""
    warnings = []
    for fate, figure in (("overflows", "largest_key_sum"), ("underflows", "smallest_denominator")):
        blocks = [block for block in ranges if block.fp16 == fate]
        if blocks:
            worst = max(
                blocks,
                key=lambda block: block.largest_denominator if fate == "overflows" else -block.smallest_denominator,
            )
            figures = f"{figure.replace('_', ' ')} {getattr(worst, figure):.3g} at {worst.block} on input {worst.input}"
            warnings.append(f"in fp16 the attention {fate} in {len(blocks)} of {len(ranges)} blocks: {figures}")
    return warnings


def _role(node: onnx.NodeProto) -> tuple[str, str] | None:
    """(block, role) of what a form of the rewrite marked."""
    for entry in node.metadata_props:
        if entry.key == ROLE:
            block, _, role = entry.value.rpartition(" ")
            return block, role
    return None


def _range(block: str, sums: list[tuple[float, str]], denominators: list[tuple[float, str]]) -> AttentionRange:
    largest_sum, smallest, largest = max(sums), min(denominators), max(denominators)
    fate, worst = "fits", largest
    if smallest[0] < SMALLEST:
        fate, worst = "underflows", smallest
    if not max(largest_sum[0], largest[0]) <= LARGEST:
        fate, worst = "overflows", max(largest_sum, largest)
    return AttentionRange(block, largest_sum[0], smallest[0], largest[0], fate, worst[1])
