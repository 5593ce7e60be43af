"""A provider of node data: Model Explorer asks evit-mobile about the .tflite that it shows.

Model Explorer imports the module of this name from each extension, and finds the class by its base.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_explorer import (
    GetConfigEditorsResult,
    NodeDataProvider,
    NodeDataProviderFilter,
    NodeDataProviderMetadata,
    NodeDataProviderResult,
)
from model_explorer.config_editor import DropDownConfigEditor, OptionItem, TextInputConfigEditor
from model_explorer.node_data_builder import GradientItem, GraphNodeData, NodeDataResult

from converters import node_data
from converters.tflite.inspection import inspect_model
from evit_mobile.errors import EvitMobileError, RequestError
from evit_mobile.runtimes import RUNTIMES, find_runtime
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph

_FILES = ("results", "against")


class EvitMobile(NodeDataProvider):  # type: ignore[misc] # its package has no types
    """Precision, reasons, partitions and multiply-accumulates of a file, and on request times and SQNR."""

    metadata = NodeDataProviderMetadata(
        id="evit_mobile",
        name="evit-mobile",
        description="Precision, reasons, partitions and MACs of each op; times and SQNR",
        filter=NodeDataProviderFilter(modelFileExts=["tflite"]),
    )

    def get_config_editors(self, provider_id: str) -> Any:
        """What the viewer asks its user before ``run``."""
        installed = [name for name, runtime in RUNTIMES.items() if runtime.version() is not None]
        runtime = DropDownConfigEditor(
            id="runtime",
            label="Runtime",
            defaultValue=installed[0],
            options=[OptionItem(value=name, label=name) for name in installed],
        )
        results = TextInputConfigEditor(id="results", label="Result file of bench --profile, for times")
        against = TextInputConfigEditor(id="against", label="The same network in float (.tflite), for SQNR")
        return GetConfigEditorsResult(configEditors=[runtime, results, against])

    def run(self, provider_id: str, model_path: str, graph_id: str, config_values: dict[str, str], graph: Any) -> Any:
        """Node data of one graph of a file, or in the result's own field why there are none."""
        try:
            part, signature = _part(Tflite.read(Path(model_path)), graph_id)
            inspection = inspect_model(part, find_runtime(config_values.get("runtime") or "litert"))
            results, against = (Path(config_values[key]) if config_values.get(key) else None for key in _FILES)
            found = node_data.of_model(part, inspection, results=results, against=against, signature=signature)
        except EvitMobileError as error:
            return NodeDataProviderResult(error=str(error))
        return NodeDataProviderResult(result=[_as_node_data(data, part.graph) for data in found])


def _part(model: Tflite, wanted: str) -> tuple[Tflite, str | None]:
    """The file as the signature of a graph has it, and that signature."""
    for signature in model.alternatives or (None,):
        part = model.at(signature)
        if node_data.graph_id(part) == wanted:
            return part, signature
    raise RequestError(f"{model.name} has no graph {wanted!r} that a signature names")


def _as_node_data(data: node_data.NodeData, graph: Graph) -> Any:
    document = data.to_json(graph)
    return GraphNodeData(
        name=document["name"],
        results={key: NodeDataResult(**result) for key, result in document["results"].items()},
        gradient=[GradientItem(**stop) for stop in document.get("gradient", [])],
    )
