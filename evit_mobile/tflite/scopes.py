"""Which block of the network each op of a .tflite belongs to: PyTorch's module paths, which the exporters keep in the
tensors' names (``/model/backbone/stages.0/stages.0.1/expand/conv/Conv_output``).

A block is the path up to its first numbered module (``backbone.stages.0.1``), or where none is numbered up to the first
module that not all ops share (``head``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evit_mobile.tflite.graph import Graph, Op

_NUMBERED = re.compile(r"(^|\.)\d+$")
#: The end of a name that a tensor has from the op that reads it.
_OF_READER = re.compile(r"_input_nhwc\w*$")

Path = tuple[str, ...]


def blocks_of(graph: Graph) -> dict[int, str]:
    """Block by op index; empty where the names hold no module paths or all ops share one.

    Example:
        >>> from evit_mobile.tflite.graph import Graph
        >>> blocks_of(Graph([], [], (), (), 1))
        {}
    """
    paths: dict[int, Path] = {}
    producers: dict[int, Op] = {}
    for op in graph.ops:
        made = [producers[tensor].index for tensor in op.inputs if tensor in producers]
        weights = [tensor for tensor in op.inputs if _is_constant(tensor, graph, producers)]
        own = (_path(graph.tensors[tensor].name) for tensor in (*op.outputs[:1], *weights))
        # Without a path of its own, an op belongs to what it finishes: an activation to its convolution, an addition to
        # the branch that ends in it.
        paths[op.index] = next(filter(None, own), paths[max(made)] if made else ())
        producers.update(dict.fromkeys(op.outputs, op))
    known = [path for path in paths.values() if path]
    shared = _shared(known)
    blocks = {index: _block(path, shared) for index, path in paths.items() if path}
    return blocks if len(set(blocks.values())) > 1 else {}


def _is_constant(tensor: int, graph: Graph, producers: dict[int, Op]) -> bool:
    """Whether the file holds the tensor, or unpacks it from what it holds."""
    return graph.tensors[tensor].constant or (tensor in producers and not producers[tensor].depends_on_input)


def _path(name: str) -> Path:
    """The modules that a tensor's name goes through; none where it is named for its reader or has no path."""
    own = name.split("_of_/")[0]
    if "/" not in own.strip("/") or _OF_READER.search(own):
        return ()
    return tuple(own.strip("/").split("/")[:-1])


def _shared(paths: Sequence[Path]) -> int:
    """How many leading modules all paths share."""
    columns = list(zip(*paths))
    return next((depth for depth, column in enumerate(columns) if len(set(column)) > 1), len(columns))


def _block(path: Path, shared: int) -> str:
    first = next((depth for depth, module in enumerate(path) if _NUMBERED.search(module)), None)
    if first is None:
        return ".".join(path[shared : shared + 1]) or path[-1]
    last = first
    while last + 1 < len(path) and path[last + 1].startswith(f"{path[last]}."):
        last += 1
    # A container stands before its numbered modules, whose names begin with its own.
    outer = [module for module in path[shared:first] if not path[first].startswith(f"{module}.")]
    return ".".join([*outer, path[last]])
