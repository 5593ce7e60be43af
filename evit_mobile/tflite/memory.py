"""How much memory a .tflite asks for by what it declares, and how much it may.

A runtime allocates by the declared shapes before it computes its own, and XNNPACK fills what it allocates with zeros:
two kilobytes that declare a map of seven gigabytes keep it busy for 20 seconds.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from evit_mobile.errors import RequestError
from evit_mobile.tflite.flatbuffer import read_bytes, unpack
from evit_mobile.tflite.structure import bytes_of, values_of

#: What a file's maps may take together at one time, bytes: seven times what the largest network does that was measured
#: here, softmax attention in 13 heads of 2304 tokens.
MAX_BYTES = 2**32
_POINTER_BYTES = 8
#: A runtime may take so many times what a file declares and holds: it packs weights, and TFLite's own kernels unroll
#: the windows of a convolution.
_RUNTIME = 4


def allowance_of(path: Path) -> int:
    """What a process may take, bytes, to load and run the sound .tflite at ``path``; it is not read again until it
    changes. Shapes that the ops compute may be larger than those declared: up to ``MAX_BYTES`` beyond them.

    Raises:
        RequestError: the file cannot be read, is not a .tflite, or is truncated or damaged.
    """
    try:
        state = path.stat()
    except OSError:
        read_bytes(path)  # says why
        raise
    return _allowance(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _allowance(path: Path, inode: int, size: int, changed_ns: int) -> int:
    model = unpack(read_bytes(path), str(path))
    maps = sum(sum(_sizes(model, graph)) + _addresses(graph) for graph in model.subgraphs)
    return MAX_BYTES + _RUNTIME * (maps + size)


def check_memory(model: Any, name: str) -> None:
    """Refuse an object tree (``ModelT``) of sound structure that asks for more than a file may, called ``name``.

    Raises:
        RequestError: it does.
    """
    needed = needed_bytes(model)
    if needed > MAX_BYTES:
        raise RequestError(
            f"{name} declares maps that take {needed / 1e9:.3g} GB at one time, the limit is {MAX_BYTES / 1e9:.3g} GB"
        )


def needed_bytes(model: Any) -> int:
    """What the maps of all graphs of an object tree (``ModelT``) take, each graph's at the op where that is most, with
    the addresses that XNNPACK writes down for convolutions and pools, one for each place of the output and of the
    window. Constants are left out: the file itself holds them.
    """
    return sum(_most_alive(model, graph) + _addresses(graph) for graph in model.subgraphs)


def _most_alive(model: Any, graph: Any) -> int:
    sizes = _sizes(model, graph)
    ops = [(_indices(op.inputs), _indices(op.outputs)) for op in graph.operators or []]
    last = {index: number for number, (inputs, outputs) in enumerate(ops) for index in (*outputs, *inputs)}
    last.update(dict.fromkeys(_indices(graph.outputs), len(ops)))
    written = {index for _, outputs in ops for index in outputs}
    alive = sum(sizes[index] for index in last if index not in written)
    most = alive
    for number, (inputs, outputs) in enumerate(ops):
        alive += sum(sizes[index] for index in set(outputs))
        most = max(most, alive)
        alive -= sum(sizes[index] for index in {*inputs, *outputs} if last[index] == number)
    return most


def _sizes(model: Any, graph: Any) -> list[int]:
    """Bytes of each tensor that is computed at run time; 0 for constants, which may lie behind the tables."""
    held = {
        index
        for index, buffer in enumerate(model.buffers or [])
        if index and (len(values_of(buffer.data)) or buffer.offset > 1)
    }
    return [0 if tensor.buffer in held else bytes_of(tensor) for tensor in graph.tensors or []]


def _addresses(graph: Any) -> int:
    """Bytes of the addresses that XNNPACK writes down: those of all pools, whose windows are numbers that the file
    names, and of the largest convolution, whose windows hold weights.
    """
    pools = convolution = 0
    for op in graph.operators or []:
        window = _window(graph, op)
        outputs = _indices(op.outputs)
        if window is not None and outputs:
            count = math.prod([*window, *map(int, values_of(graph.tensors[outputs[0]].shape)[1:3])])
            pooled = "filterHeight" in vars(op.builtinOptions)
            pools, convolution = (pools + count, convolution) if pooled else (pools, max(convolution, count))
    return (pools + convolution) * _POINTER_BYTES


def _window(graph: Any, op: Any) -> tuple[int, int] | None:
    """Height and width of what a convolution or a pool reads for one place of its output; None for other ops."""
    options = {} if op.builtinOptions is None else vars(op.builtinOptions)
    if "filterHeight" in options:
        return options["filterHeight"], options["filterWidth"]
    inputs = _indices(op.inputs)
    if "strideH" not in options or len(inputs) < 2:
        return None
    weights = [int(side) for side in values_of(graph.tensors[inputs[1]].shape)]
    return (weights[1], weights[2]) if len(weights) == 4 and math.prod(weights[1:3]) > 1 else None


def _indices(values: Any) -> list[int]:
    return [int(index) for index in values_of(values) if index >= 0]
