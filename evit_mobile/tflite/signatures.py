"""Several models in one .tflite: a subgraph and a signature for each, and their constants stored once.

Runtimes load all subgraphs and run the one that a signature names; without a signature, the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from evit_mobile.errors import RequestError


def signature_of(resolution: object) -> str:
    """The signature of a resolution: ``r224``, ``r512x1024``."""
    return f"r{resolution}"


def put_first(model: Any, signature: str) -> None:
    """Move a signature and its subgraph to the front of an object tree (``ModelT``); the order of the others stays.

    Raises:
        RequestError: there is no such signature.
    """
    entries = model.signatureDefs or []
    chosen = next((entry for entry in entries if entry.signatureKey == signature.encode()), None)
    if chosen is None:
        raise RequestError(f"the file names the signature {signature} and does not have it", hint="convert it again")
    first = chosen.subgraphIndex
    order = [first, *(index for index in range(len(model.subgraphs)) if index != first)]
    model.subgraphs = [model.subgraphs[index] for index in order]
    for entry in entries:
        entry.subgraphIndex = order.index(entry.subgraphIndex)
    model.signatureDefs = [chosen, *(entry for entry in entries if entry is not chosen)]


def refill(model: Any, name: str, data: bytes) -> None:
    """Give the metadata entry of an object tree (``ModelT``) other content; nothing where it has no such entry."""
    for entry in model.metadata or []:
        if entry.name == name.encode():
            model.buffers[entry.buffer].data = np.frombuffer(data, np.uint8)


def joined(models: Mapping[str, Any]) -> Any:
    """One object tree (``ModelT``) of several of one subgraph each, which are edited; by the signatures that they get.

    Operator codes and constants that are equal are stored once. Metadata is that of the first.
    """
    trees = list(models.values())
    whole, rest = trees[0], trees[1:]
    codes = {_kind(code): index for index, code in enumerate(whole.operatorCodes)}
    buffers = {content_of(buffer): index for index, buffer in reversed(list(enumerate(whole.buffers)))}
    for tree in rest:
        graph = tree.subgraphs[0]
        for operator in graph.operators:
            code = tree.operatorCodes[operator.opcodeIndex]
            operator.opcodeIndex = codes.setdefault(_kind(code), len(whole.operatorCodes))
            if operator.opcodeIndex == len(whole.operatorCodes):
                whole.operatorCodes.append(code)
        for tensor in graph.tensors:
            buffer = tree.buffers[tensor.buffer]
            tensor.buffer = buffers.setdefault(content_of(buffer), len(whole.buffers)) if content_of(buffer) else 0
            if tensor.buffer == len(whole.buffers):
                whole.buffers.append(buffer)
        whole.subgraphs.append(graph)
        whole.signatureDefs.append(tree.signatureDefs[0])
    for index, signature in enumerate(models):
        whole.signatureDefs[index].signatureKey = signature.encode()
        whole.signatureDefs[index].subgraphIndex = index
        whole.subgraphs[index].name = signature.encode()
    return whole


def _kind(code: Any) -> tuple[int, int, bytes | None]:
    return max(code.builtinCode, code.deprecatedBuiltinCode), code.version, code.customCode


def content_of(buffer: Any) -> bytes:
    """What tells buffers with values apart; nothing of one without."""
    return b"" if buffer.data is None or not len(buffer.data) else hashlib.sha256(bytes(buffer.data)).digest()
