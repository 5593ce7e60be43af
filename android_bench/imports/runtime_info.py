"""What ``benchmark_model --export_model_runtime_info`` writes: the model's graph as the runtime divided it."""

from __future__ import annotations

from typing import Any

from android_bench.imports.base import Form, Found, stem_of
from evit_mobile.results.content import Content


def _parsed(content: bytes) -> Any:
    """The message; None if ``content`` is not one."""
    from ai_edge_litert import model_runtime_info_pb2
    from google.protobuf.message import DecodeError

    try:
        message = model_runtime_info_pb2.ModelRuntimeDetails.FromString(content)
    except DecodeError:
        return None
    return message if any(graph.nodes for graph in message.subgraphs) else None


def _read(content: bytes) -> Found:
    message = _parsed(content)
    # The first subgraph is the model's own; others are bodies of its control flow, or a delegate's view of its part.
    nodes = message.subgraphs[0].nodes
    kinds = [node.WhichOneof("node_info") for node in nodes]
    delegates = kinds.count("delegate_node_details")
    return Found(
        content=Content(
            ops=len(kinds) - delegates,
            partitions=delegates,
            undelegated_ops=len(kinds) - delegates - kinds.count("delegated_to_node_id"),
        ),
        model=stem_of(message.model_name),
    )


FORM = Form("benchmark_model's runtime info", "benchmark_model", lambda content: _parsed(content) is not None, _read)
