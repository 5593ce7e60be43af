"""Runs with Model Explorer's packages: what it makes of a .tflite, of node data, and of our extension.

``ask.py PACKAGES OUT.json FILE.tflite [NODE_DATA.json…]``: PACKAGES is where Model Explorer is installed, beside the
packages of the Python that runs this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

packages, out, model, *node_data = sys.argv[1:]
sys.path.append(packages)

from dacite import Config, from_dict  # noqa: E402
from model_explorer.extension_manager import ExtensionManager  # noqa: E402
from model_explorer.node_data_builder import GraphNodeData, ModelNodeData  # noqa: E402

manager = ExtensionManager(["evit_mobile.model_explorer"])
manager.load_extensions()


def graphs() -> dict[str, list[dict[str, Any]]]:
    """The nodes of each graph of the file, by its own adapter for .tflite."""
    command = {"extensionId": "builtin_tflite_flatbuffer", "cmdId": "convert", "modelPath": model, "settings": {}}
    (collection,) = manager.run_cmd(command)["graphCollections"]
    return {graph["id"]: graph["nodes"] for graph in collection["graphs"]}


def read(path: str) -> str:
    """A file of node data, through the package's own classes; a field that they do not have is an error."""
    document = json.loads(Path(path).read_text())
    loose = Config(check_types=False, strict=True)  # a value may be a word, which the type of numbers does not say
    data = {name: from_dict(GraphNodeData, graph, loose) for name, graph in document.items()}
    return ModelNodeData(data).to_json_string()


def ask(graph: str, **values: str) -> dict[str, Any]:
    """What our extension answers."""
    command = {"extensionId": "evit_mobile", "cmdId": "run", "modelPath": model, "graphId": graph}
    answer: dict[str, Any] = manager.run_cmd({**command, "configValues": values})
    return answer


found = graphs()
answer = {
    "graphs": found,
    "read": [json.loads(read(path)) for path in node_data],
    "extension": {name: ask(name) for name in found},
    "asked": manager.run_cmd({"extensionId": "evit_mobile", "cmdId": "get_config_editors"}),
    "stranger": ask("stranger"),
}
Path(out).write_text(json.dumps(answer))
