"""Where the instructions of an inference go: a model cut at the places where one tensor alone crosses, each beginning
counted.

A layer's instructions are those of the model up to its end less those of the model up to its start. In a network of
residual blocks one tensor alone crosses between blocks, so layers are blocks. What XNNPACK would have fused across a
cut shifts by as much from one layer to its neighbour; the sum over all layers is the whole model's count.
"""

from __future__ import annotations

import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from android_bench.emulator.qemu import Qemu
from evit_mobile.processes import temporary_folder
from evit_mobile.tflite.flatbuffer import pack, read_bytes, unpack


@dataclass(frozen=True)
class Layer:
    """Ops ``first`` to ``last`` of a model, the path that their tensors share, and their instructions per inference."""

    name: str
    first: int
    last: int
    instructions: int


@dataclass(frozen=True)
class Cut:
    """A place after op ``last`` where only ``tensor`` is alive."""

    last: int
    tensor: int


def beginning(content: bytes, cut: Cut) -> bytes:
    """The model up to ``cut``, as a .tflite whose one output is the tensor that crosses."""
    model = unpack(content)
    graph = model.subgraphs[0]
    graph.operators = graph.operators[: cut.last + 1]
    graph.outputs = [cut.tensor]
    model.signatureDefs = None  # it names the old output
    return pack(model, len(content))


def profile(qemu: Qemu, path: Path) -> list[Layer]:
    """The layers of the model at ``path``, in order; each beginning is one process, as many at once as the host has
    cores.

    Raises:
        RequestError: the file is not a complete .tflite.
        DeviceError: a run did not end as it should.
    """
    content = read_bytes(path)
    model = unpack(content, str(path))
    cuts = find_cuts(model)

    def count(cut: Cut) -> int:
        with temporary_folder() as folder:
            shortened = folder / path.name
            shortened.write_bytes(beginning(content, cut))
            return qemu.count(shortened, 1)[-1]  # counts repeat: a second one would say nothing more

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        try:
            counts = list(pool.map(count, cuts))
        except BaseException:
            with qemu.stopped():
                pool.shutdown(cancel_futures=True)
            raise
    layers, start, before = [], 0, 0
    for cut, counted in zip(cuts, counts):
        layers.append(Layer(_name(model, start, cut.last), start, cut.last, counted - before))
        start, before = cut.last + 1, counted
    return layers


def find_cuts(model: Any) -> list[Cut]:
    """All places in an unpacked .tflite where a single tensor crosses, in order; the last is the model's end if it has
    one output.
    """
    graph = model.subgraphs[0]
    last_use = dict.fromkeys(map(int, graph.outputs), len(graph.operators))
    for index, op in reversed(list(enumerate(graph.operators))):
        for tensor in op.inputs:
            last_use.setdefault(int(tensor), index)
    alive = set(map(int, graph.inputs))
    cuts = []
    for index, op in enumerate(graph.operators):
        alive = {tensor for tensor in (*alive, *map(int, op.outputs)) if last_use.get(tensor, -1) > index}
        if len(alive) == 1 and not _is_pad(model, op):
            cuts.append(Cut(index, next(iter(alive))))
    return cuts


def _is_pad(model: Any, op: Any) -> bool:
    """XNNPACK lets the convolution behind a PAD do its work: cut off, it would cost what it does not cost in the
    model.
    """
    from ai_edge_litert import schema_py_generated as schema

    code = model.operatorCodes[op.opcodeIndex]
    return bool(max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.PAD)


def _name(model: Any, first: int, last: int) -> str:
    """The path that the tensors made by these ops share, without the last where there are others: it is named for its
    reader.
    """
    graph = model.subgraphs[0]
    names = [graph.tensors[op.outputs[0]].name.decode(errors="replace") for op in graph.operators[first : last + 1]]
    return _shared_path(names[:-1] or names)


def _shared_path(names: Sequence[str]) -> str:
    """``a/b`` of ``a/b/c`` and ``a/b/d``; the first name where nothing is shared."""
    parts = [name.strip("/").split("/") for name in names]
    shared = []
    for column in zip(*parts):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return posixpath.join(*shared) if shared else names[0]
