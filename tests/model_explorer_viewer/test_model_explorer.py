"""Model Explorer, the published package in an environment of its own, opens our files and reads our node data: each
value is that of the node that it stands at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import evit_mobile as em
from evit_mobile.cli.main import cli
from tests.conftest import ROOT
from tests.kits import small_network
from tests.kits.environments import ToolEnvironment

ASK = Path(__file__).with_name("ask.py")
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def ask(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """``ask(file, *node_data)`` is what Model Explorer makes of them; see ``ask.py``."""
    lock = ASK.with_name("model-explorer.txt")
    package = "ai-edge-model-explorer"
    environment = ToolEnvironment("model-explorer", package, "0.1.34", "model_explorer", lock_file=lock)
    environment.have()
    (packages,) = environment.path.glob("lib/python*/site-packages")

    def asked(file: Path, *node_data: Path) -> dict[str, Any]:
        out = tmp_path_factory.mktemp("model-explorer") / "answer.json"
        command = [sys.executable, str(ASK), *map(str, (packages, out, file, *node_data))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        answer: dict[str, Any] = json.loads(out.read_text())
        return answer

    return asked


def _written(file: Path, folder: Path, *options: str) -> dict[str, Path]:
    """Files of node data by quantity."""
    done = CliRunner().invoke(cli, ["inspect", str(file), "--model-explorer", str(folder), *options, "--json"])
    assert done.exit_code == 0, done.output
    return {Path(path).stem: Path(path) for path in json.loads(done.stdout)["node_data"]}


def _is_of_the_ops(nodes: list[dict[str, Any]], inspection: em.Inspection, values: dict[str, Any]) -> None:
    """Each op is a node of its own number, type and result, and each value is at an op."""
    by_id = {node["id"]: node for node in nodes}
    for op in inspection.ops:
        node = by_id[str(op.index)]
        assert node["label"] == op.type.lower()
        names = [
            item["value"] for end in node["outputsMetadata"] for item in end["attrs"] if item["key"] == "tensor_name"
        ]
        assert op.name in names
    assert values.keys() <= {str(op.index) for op in inspection.ops}


def test_every_op_has_its_values(ask: Ask, small_tflite: Path, tmp_path: Path) -> None:
    paths = _written(small_tflite, tmp_path / "nodes")
    answer = ask(small_tflite, *paths.values())
    inspection = em.inspect(small_tflite)
    ((name, nodes),) = answer["graphs"].items()
    read = dict(zip(paths, answer["read"], strict=True))
    assert read.keys() == {"precision", "MACs", "partition"}
    for data in read.values():
        _is_of_the_ops(nodes, inspection, data[name]["results"])
    for quantity, expected in {
        "precision": {str(op.index): op.precision for op in inspection.ops},
        "partition": {str(op.index): f"partition {op.partition}" for op in inspection.ops},
        "MACs": {str(op.index): op.macs for op in inspection.ops if op.macs},
    }.items():
        results = read[quantity][name]["results"]
        assert {key: result["value"] for key, result in results.items()} == expected


def test_the_extension_gives_the_same(ask: Ask, small_tflite: Path, tmp_path: Path) -> None:
    paths = _written(small_tflite, tmp_path / "nodes")
    answer = ask(small_tflite, *paths.values())
    ((name, given),) = answer["extension"].items()
    assert given["error"] == ""
    expected = {data[name]["name"]: data[name]["results"] for data in answer["read"]}
    assert {data["name"]: _plain(data["results"]) for data in given["result"]} == expected
    assert answer["stranger"]["result"] is None and "no graph 'stranger'" in answer["stranger"]["error"]
    assert [editor["id"] for editor in answer["asked"]["configEditors"]] == ["runtime", "results", "against"]


def _plain(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {key: {name: item for name, item in result.items() if item is not None} for key, result in results.items()}


def test_each_resolution_is_a_graph(ask: Ask, tmp_path: Path) -> None:
    file = em.convert(small_network.make(), resolution=[64, 32]).save(tmp_path / "model.tflite")
    paths = _written(file, tmp_path / "nodes")
    answer = ask(file, *paths.values())
    assert answer["graphs"].keys() == {"r64", "r32"} == answer["read"][0].keys()
    for signature in answer["graphs"]:
        inspection = em.inspect(file, signature=signature)
        for data in answer["read"]:
            _is_of_the_ops(answer["graphs"][signature], inspection, data[signature]["results"])
        assert answer["extension"][signature]["error"] == ""
        macs = dict(zip(paths, answer["read"], strict=True))["MACs"][signature]["results"]
        assert sum(result["value"] for result in macs.values()) == inspection.macs
