"""What is in a .tflite: ops with their costs, delegate partitions as one runtime makes them, and which ops were not
delegated, and why.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.tflite.partitions import Partitioning, read_partitioning
from converters.tflite.reasons import Experimenter
from evit_mobile.results.content import Content
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.tflite.costs import activation_bytes, macs_of, weight_bytes
from evit_mobile.tflite.description import ModelDescription
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph, Op, Tensor


@dataclass(frozen=True)
class TensorSummary:
    """An input or output by its signature name. ``scale`` and ``zero_point`` are empty where it is not quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


@dataclass(frozen=True)
class OpSummary:
    """One op of the file. ``name`` is its first output's; shapes are of run-time operands, constants left out.

    ``partition`` is None for an op that no partition runs: ``undelegated`` ops are run by TFLite's own kernels, others
    by nothing; and for all where the runtime does not list its ops. ``precision`` is the type of its run-time operands,
    with that of its weights where they differ; ``reason`` is the quantisation plan's, None where the file has none.
    """

    index: int
    type: str
    version: int
    name: str
    input_shapes: list[tuple[int, ...]]
    output_shapes: list[tuple[int, ...]]
    macs: int
    weight_bytes: int
    activation_bytes: int
    partition: int | None
    precision: str
    reason: str | None


@dataclass(frozen=True)
class UndelegatedOp:
    """An op that TFLite's own kernels run, and why as far as the runtime could be asked."""

    index: int
    type: str
    name: str
    reason: str


@dataclass(frozen=True)
class Inspection:
    """A file under one runtime. Sizes in bytes; ``macs`` are multiply-accumulates of one run.

    A runtime that does not list its ops leaves ``partitions`` None, ``undelegated`` and ``idle`` empty.
    ``fully_accelerated`` is whether no op is undelegated; None where such a runtime does not say that either.
    """

    file: str
    size_bytes: int
    runtime: str
    runtime_version: str | None
    minimum_runtime: str | None
    description: ModelDescription | None
    signatures: list[str]
    inputs: list[TensorSummary]
    outputs: list[TensorSummary]
    op_counts: dict[str, int]
    op_total: int
    macs: int
    parameter_bytes: int
    subgraphs: int
    partitions: int | None
    fully_accelerated: bool | None
    undelegated: list[UndelegatedOp]
    idle: list[int]
    ops: list[OpSummary]

    @property
    def content(self) -> Content:
        """What a result file records of it."""
        return Content(
            precision=self.description.precision if self.description else None,
            ops=self.op_total,
            partitions=self.partitions,
            undelegated_ops=self.undelegated_count,
        )

    @property
    def undelegated_count(self) -> int | None:
        """How many ops are undelegated; None where the runtime does not say."""
        if self.partitions is None:
            return 0 if self.fully_accelerated else None
        return len(self.undelegated)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        description = self.description.model_dump(mode="json") if self.description else None
        plain = dataclasses.replace(self, description=None)
        counts = {"undelegated_count": self.undelegated_count}
        return {**dataclasses.asdict(plain), **counts, "description": description}


def inspect_model(model: Tflite | Path, runtime: Runtime | None = None, *, explain: bool = True) -> Inspection:
    """What is in a .tflite, and how a runtime divides it.

    Args:
        model: the .tflite, or its path.
        runtime: which runtime to ask; None takes LiteRT.
        explain: find out why ops were not delegated, by loading models of them alone: some milliseconds a kind of op in
            process, some hundred where the runtime has a process of its own. False leaves the reasons empty.

    Raises:
        RequestError: the file is absent, no .tflite, damaged, or has what the runtime does not know.
        MachineError: the runtime is not installed, or crashed.
    """
    from evit_mobile.tflite.versions import minimum_runtime_version

    file = model if isinstance(model, Tflite) else Tflite.read(model)
    runtime = runtime or RUNTIMES["litert"]
    graph, description = file.graph, file.description
    with file.on_disk() as path, runtime.open(path) as session:
        parts = None
        if runtime.lists_ops:
            parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
        accelerated = session.fully_accelerated if parts is None else not parts.undelegated
    undelegated = parts.undelegated if parts else ()
    experimenter = Experimenter(file, runtime) if explain and undelegated else None
    reasons = _reasons(description, len(graph.ops))
    summaries = [_summary(op, graph, parts, reason) for op, reason in zip(graph.ops, reasons)]
    names = file.signature_names
    return Inspection(
        file=file.name,
        size_bytes=len(file.content),
        runtime=runtime.name,
        runtime_version=runtime.version(),
        minimum_runtime=minimum_runtime_version(file.tree),
        description=description,
        signatures=file.signatures,
        inputs=[_tensor(graph.tensors[index], names) for index in graph.inputs],
        outputs=[_tensor(graph.tensors[index], names) for index in graph.outputs],
        op_counts=dict(Counter(op.type for op in graph.ops).most_common()),
        op_total=len(graph.ops),
        macs=sum(summary.macs for summary in summaries),
        parameter_bytes=_parameter_bytes(graph),
        subgraphs=graph.subgraphs,
        partitions=parts.count if parts else None,
        fully_accelerated=accelerated,
        undelegated=[
            UndelegatedOp(op.index, op.type, _name(op, graph), experimenter.reason(op) if experimenter else "")
            for op in (graph.ops[index] for index in undelegated)
        ],
        idle=list(parts.idle) if parts else [],
        ops=summaries,
    )


def _summary(op: Op, graph: Graph, parts: Partitioning | None, reason: str | None) -> OpSummary:
    return OpSummary(
        index=op.index,
        type=op.type,
        version=op.version,
        name=_name(op, graph),
        input_shapes=[graph.tensors[index].shape for index in op.inputs if not graph.tensors[index].constant],
        output_shapes=[graph.tensors[index].shape for index in op.outputs],
        macs=macs_of(op, graph),
        weight_bytes=weight_bytes(op, graph),
        activation_bytes=activation_bytes(op, graph),
        partition=parts.partition_of.get(op.index) if parts else None,
        precision=_precision(op, graph),
        reason=reason,
    )


def _reasons(description: ModelDescription | None, ops: int) -> list[str | None]:
    """The quantisation plan's reason for each op."""
    quantisation = description.quantisation if description else None
    if quantisation is None or len(quantisation.op_reasons) != ops:
        return [None] * ops
    return [quantisation.reasons[number] for number in quantisation.op_reasons]


def _precision(op: Op, graph: Graph) -> str:
    """``int8``, ``float32``, ``float32, int8 weights``; of a conversion what it makes."""
    computed = [graph.tensors[index].dtype for index in op.outputs]
    weights = [
        tensor.dtype for index in op.inputs[1:2] if (tensor := graph.tensors[index]).constant and tensor.dtype == "int8"
    ]
    kind = computed[0] if computed else ""
    return f"{kind}, int8 weights" if weights and kind == "float32" else kind


def _name(op: Op, graph: Graph) -> str:
    return graph.tensors[op.outputs[0]].name if op.outputs else ""


def _tensor(tensor: Tensor, names: dict[int, str]) -> TensorSummary:
    return TensorSummary(
        names.get(tensor.index, tensor.name), tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point
    )


def _parameter_bytes(graph: Graph) -> int:
    """Constants that ops read, each counted once."""
    used = {index for op in graph.ops for index in op.inputs}
    return sum(tensor.size_bytes for tensor in graph.tensors if tensor.constant and tensor.index in used)
