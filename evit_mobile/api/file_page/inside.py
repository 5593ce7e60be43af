"""What is in a file: cost by block, the delegate's partitions, precisions, and every op."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from converters.tflite.inspection import Inspection, OpSummary
from evit_mobile.results.breakdown import ELSEWHERE
from evit_mobile.results.costs import BlockCost, BlockTimes
from evit_mobile.results.draw.chart import Cell
from evit_mobile.results.draw.cost_chart import cost_chart
from evit_mobile.results.page.file_section import Part
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.scopes import blocks_of

#: Ops that the page lists; ``inspect --ops`` lists all.
MOST_OPS = 2000


def cost_part(name: str, file: Tflite, inspection: Inspection, times: Sequence[BlockTimes]) -> Part:
    """Multiply-accumulates, bytes and, where a result has them, times of each block of the network; ``name`` is the
    file's.
    """
    title = "Where the cost is"
    costs = _block_costs(file, inspection)
    if not costs:
        return Part(title, "The names of the file's tensors tell no blocks of a network; by type of op, see below.")
    if any(ELSEWHERE in entry.times_us for entry in times):
        costs.append(BlockCost(ELSEWHERE, 0, 0, 0, 0, 0, {}))
    return Part(title, charts=[cost_chart(name, costs, times)])


def _block_costs(file: Tflite, inspection: Inspection) -> list[BlockCost]:
    """In the order in which they first run; an op without a block is in that of the one before."""
    blocks = blocks_of(file.graph)
    groups: dict[str, list[OpSummary]] = {}
    block = next((blocks[op.index] for op in inspection.ops if op.index in blocks), None)
    for op in inspection.ops:
        block = blocks.get(op.index, block)
        if block is not None:
            groups.setdefault(block, []).append(op)
    outside = {op.index for op in inspection.undelegated}
    return [
        BlockCost(
            name,
            len(ops),
            sum(op.index in outside for op in ops),
            sum(op.macs for op in ops),
            sum(op.weight_bytes for op in ops),
            sum(op.activation_bytes for op in ops),
            dict(Counter(op.precision for op in ops).most_common()),
        )
        for name, ops in groups.items()
    ]


def delegate_part(inspection: Inspection) -> Part:
    """Each partition, and why ops are outside of any."""
    groups: dict[int, list[OpSummary]] = {}
    for op in inspection.ops:
        if op.partition is not None:
            groups.setdefault(op.partition, []).append(op)
    reasons = Counter((op.type, op.reason) for op in inspection.undelegated)
    cells: list[tuple[Cell, ...]] = [
        (f"partition {number}", len(ops), _span(ops), sum(op.macs for op in ops) / 1e6, "")
        for number, ops in sorted(groups.items())
    ]
    for (kind, reason), count in reasons.most_common():
        ops = [inspection.ops[op.index] for op in inspection.undelegated if (op.type, op.reason) == (kind, reason)]
        cells.append((f"outside: {kind}", count, _span(ops), sum(op.macs for op in ops) / 1e6, reason))
    if inspection.idle:
        idle = [inspection.ops[index] for index in inspection.idle]
        cells.append(("idle", len(idle), _span(idle), 0.0, "no output needs them at run time"))
    has_reasons = any(row[-1] for row in cells)
    header = ("who runs it", "ops", "first and last op", "M MACs", "why")
    return Part(
        "Delegate",
        f"XNNPACK in {inspection.runtime} ({inspection.runtime_version}). Ops outside a partition are run by TFLite's "
        "own kernels.",
        header=header if has_reasons else header[:-1],
        cells=cells if has_reasons else [row[:-1] for row in cells],
    )


def _span(ops: Sequence[OpSummary]) -> str:
    """``12 to 40``: from the first of the ops to the last, by index."""
    indices = [op.index for op in ops]
    return f"{min(indices)} to {max(indices)}" if len(ops) > 1 else str(indices[0])


def precision_part(inspection: Inspection) -> Part:
    """Which ops compute in what, with the plan's reasons."""
    groups = Counter((op.precision, op.type, op.reason) for op in inspection.ops)
    has_reasons = any(reason for _, _, reason in groups)
    header = ("precision", "op", "ops", *(["why"] if has_reasons else []))
    cells: list[list[Cell]] = [
        [precision, kind, count, *([reason or ""] if has_reasons else [])]
        for (precision, kind, reason), count in sorted(groups.items(), key=lambda item: (item[0][0], -item[1]))
    ]
    totals = Counter(op.precision for op in inspection.ops)
    about = ", ".join(f"{count} ops in {precision or 'no type'}" for precision, count in totals.most_common())
    return Part("Precisions", f"{about}.", header=header, cells=cells, is_folded=not has_reasons)


def ops_part(inspection: Inspection) -> Part:
    """The types of op, the most frequent first."""
    outside = Counter(op.type for op in inspection.undelegated)
    cells: list[tuple[Cell, ...]] = []
    for kind, count in inspection.op_counts.items():
        ops = [op for op in inspection.ops if op.type == kind]
        sizes = (sum(op.weight_bytes for op in ops), sum(op.activation_bytes for op in ops))
        cells.append(
            (kind, count, outside[kind], sum(op.macs for op in ops) / 1e6, *(size / 1e3 for size in sizes)),
        )
    needs = inspection.minimum_runtime or "of unknown version"
    return Part(
        "Ops by type",
        f"By the versions of its ops, the file needs TFLite {needs} or newer.",
        header=("op", "ops", "outside", "M MACs", "weights, kB", "values, kB"),
        cells=cells,
    )


def every_op_part(inspection: Inspection) -> Part:
    """Every op with its shapes, folded."""
    outside = {op.index for op in inspection.undelegated}
    cells = [
        (
            str(op.index),
            op.type,
            op.name,
            f"{_shapes(op.input_shapes)} → {_shapes(op.output_shapes)}",
            op.precision,
            op.macs / 1e6,
            (op.weight_bytes + op.activation_bytes) / 1e3,
            f"partition {op.partition}" if op.partition is not None else "outside" if op.index in outside else "idle",
        )
        for op in inspection.ops[:MOST_OPS]
    ]
    left = len(inspection.ops) - len(cells)
    return Part(
        "Every op",
        f"The first {MOST_OPS} of {len(inspection.ops)}; inspect --ops lists all." if left else "",
        header=("index", "op", "output", "shapes", "precision", "M MACs", "kB", "who runs it"),
        cells=cells,
        is_folded=True,
    )


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
