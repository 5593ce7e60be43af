"""What is known of each op, in the form of node data for Model Explorer, Google's viewer of .tflite files.

Its adapter for .tflite gives an op the op's index as its id, and the graph the name of its subgraph. A file of node
data has one value for a node, so each quantity is a file of its own, with an entry for each graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.parity.op_sqnr import op_sqnr_db
from converters.tflite.inspection import Inspection, OpSummary
from evit_mobile.errors import RequestError
from evit_mobile.results.files import load
from evit_mobile.results.record import Point, ResultSet
from evit_mobile.tflite.delegate_ops import is_believable, match
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph

#: Model Explorer's name for a subgraph that has none.
_NAMELESS = "main"
#: Of words, the most frequent first; the last one stands for all others. People with any colour vision tell them apart.
_COLOURS = ("#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#e69f00", "#0072b2", "#bbbbbb")
#: Of what is outside the delegate, and of the highest number, or where low ones are bad of the lowest.
_STRIKING = "#d55e00"
_PLAIN = "#ffffff"


@dataclass(frozen=True)
class NodeData:
    """One quantity: a word or a number for each op that has one, by op index. ``low_is_bad`` turns the colours of
    numbers round.
    """

    name: str
    values: Mapping[int, str | float]
    low_is_bad: bool = False

    @property
    def file_name(self) -> str:
        return f"{self.name.split(',')[0].replace(' ', '-')}.json"

    def to_json(self, graph: Graph) -> dict[str, Any]:
        """Its entry for ``graph``, which it is of."""
        keys = node_keys(graph)
        words = Counter(value for value in self.values.values() if isinstance(value, str))
        colours = _colours(words)
        results = {
            keys[index]: {"value": value, **({"bgColor": colours[value]} if isinstance(value, str) else {})}
            for index, value in self.values.items()
        }
        document: dict[str, Any] = {"name": self.name, "results": results}
        if not words:
            ends = (_STRIKING, _PLAIN) if self.low_is_bad else (_PLAIN, _STRIKING)
            document["gradient"] = [{"stop": stop, "bgColor": colour} for stop, colour in enumerate(ends)]
        return document


def node_keys(graph: Graph) -> list[str]:
    """What names each op to Model Explorer: its id, unless a tensor is called like that, which would come first; then
    its first output.
    """
    outputs = {graph.tensors[index].name for op in graph.ops for index in op.outputs}
    return [
        graph.tensors[op.outputs[0]].name if str(op.index) in outputs and op.outputs else str(op.index)
        for op in graph.ops
    ]


def graph_id(model: Tflite) -> str:
    """Model Explorer's name for the primary subgraph."""
    name = model.tree.subgraphs[0].name
    return name.decode() if name else _NAMELESS


def of_model(
    model: Tflite,
    inspection: Inspection,
    *,
    results: Path | None = None,
    against: Path | None = None,
    signature: str | None = None,
) -> list[NodeData]:
    """All that is known of the ops of ``model``.

    Args:
        model: the file, as ``signature`` has it.
        inspection: of ``model``.
        results: a result file that has a profile of it, for times.
        against: the same network in float, for SQNR.
        signature: which resolution ``model`` is, where its file has several.

    Raises:
        RequestError: the result file or the float file cannot be read, or does not fit.
    """
    found = of_inspection(inspection)
    if results is not None:
        found.append(of_times(model, load(results), str(results)))
    if against is not None:
        reference = Tflite.read(against)
        reference = reference.at(signature if reference.alternatives else None)
        values = op_sqnr_db(model, reference)
        found.append(NodeData(f"SQNR, dB, against {against.name}", values, low_is_bad=True))
    return found


def of_inspection(inspection: Inspection) -> list[NodeData]:
    """Precision, the quantisation plan's reasons, partitions and multiply-accumulates, as far as they are known."""
    ops = inspection.ops
    outside = {op.index: op.reason for op in inspection.undelegated}
    found = [
        NodeData("precision", {op.index: op.precision for op in ops}),
        NodeData("reason of the precision", {op.index: op.reason for op in ops if op.reason}),
        NodeData("MACs", {op.index: op.macs for op in ops if op.macs}),
    ]
    if inspection.partitions is not None:
        found.append(NodeData(f"partition, {inspection.runtime}", {op.index: _place(op, outside) for op in ops}))
    return [data for data in found if data.values]


def of_times(model: Tflite, results: ResultSet, name: str) -> NodeData:
    """The time of each op in microseconds, measured under a profiler or estimated.

    What the delegate adds, and what the runtime does between partitions, is no op's.

    Args:
        model: the file that ``results`` has a profile of.
        name: of the result file, for errors.

    Raises:
        RequestError: it has none, or another network's.
    """
    points = [point for point in results.points if point.model_sha256 == model.sha256]
    profiled = next((point for point in points if point.profile or point.op_estimates), None)
    if profiled is None:
        raise RequestError(f"{name} has no time of the ops of {model.name}", hint="measure it with: bench --profile")
    entries = _entries(profiled)
    matched = _with_copies(match([op for op, _ in entries], model.graph), entries, model.graph)
    if not is_believable(matched):
        raise RequestError(f"the ops of {model.name} are not those that {name} has times of")
    times: dict[int, float] = {}
    for (_, time_us), index in zip(entries, matched, strict=True):
        if index is not None:
            times[index] = times.get(index, 0.0) + time_us
    kind = "time under the profiler" if profiled.profile else "estimated time"
    threads = profiled.settings.threads
    return NodeData(f"{kind}, µs, {results.device.name}, {threads} thread{'' if threads == 1 else 's'}", times)


def _place(op: OpSummary, outside: Mapping[int, str]) -> str:
    if op.partition is not None:
        return f"partition {op.partition}"
    return f"undelegated: {outside[op.index]}" if op.index in outside else "idle"


def _entries(point: Point) -> list[tuple[str, float]]:
    """The name and the time of each op; those that the runtime ran between partitions only where it was a single
    one.
    """
    if point.profile:
        return [(op.op, op.mean_us) for op in point.profile]
    return [(op.op, op.estimated_us) for op in point.op_estimates if op.delegated]


def _with_copies(matched: Sequence[int | None], entries: Sequence[tuple[str, float]], graph: Graph) -> list[int | None]:
    """``matched`` where a concatenation has all its copies: the delegate makes one of each input."""
    found: list[int | None] = []
    for (name, _), index in zip(entries, matched, strict=True):
        last = found[-1] if found else None
        is_further = last is not None and graph.ops[last].type == "CONCATENATION" and name.startswith("Copy")
        found.append(last if index is None and is_further else index)
    return found


def _colours(words: Counter[str]) -> dict[str, str]:
    common = [word for word, _ in words.most_common() if not word.startswith("undelegated")]
    colours = {word: _COLOURS[min(place, len(_COLOURS) - 1)] for place, word in enumerate(common)}
    return {word: colours.get(word, _STRIKING) for word in words}
