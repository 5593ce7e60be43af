"""What node data hold: times of a profile at the ops that took them, SQNR as another interpreter computes it, keys that
name one node.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import interpreter
from click.testing import CliRunner

from converters.node_data import NodeData, node_keys, of_times
from converters.parity.op_sqnr import op_sqnr_db
from converters.parity.stimuli import bundled_photograph
from evit_mobile.cli.main import cli
from evit_mobile.errors import RequestError
from evit_mobile.results.record import OpTime, ResultSet
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph, Op, Tensor
from evit_mobile.vision.images import load_image
from tests.conftest import SMALL_MODEL
from tests.kits.results import device, results
from tests.kits.results import place as place_of
from tests.kits.results import point as point_of

SMALL = Resolution(96, 96)
#: XNNPACK's words for ops that it may run.
WORDS = {"CONV_2D": "Convolution (NHWC, F32) IGEMM", "DEPTHWISE_CONV_2D": "Convolution (NHWC, F32) DWConv"}


@pytest.fixture(scope="module")
def dynamic_tflite(converted: Callable[..., Path]) -> Path:
    return converted(SMALL_MODEL, resolution=SMALL, precision=Precision.DYNAMIC)


def _profiled(model: Tflite, profile: list[OpTime]) -> ResultSet:
    point = point_of(place_of("m", 9), 5.0).evolve(model_sha256=model.sha256, profile=tuple(profile), place=None)
    return results([point], device("adb"), None, "tokens").evolve(suite=None)


def _concatenating() -> Graph:
    """A convolution, then a concatenation of three."""
    tensors = [Tensor(index, name, (1, 4, 4, 2), "float32") for index, name in enumerate(["x", "1", "joined"])]
    ops = [
        Op(0, "CONV_2D", 1, (0,), (1,), {}, True),
        Op(1, "CONCATENATION", 1, (1, 1, 1), (2,), {}, True),
    ]
    return Graph(tensors, ops, (0,), (2,), 1)


def _time(op: str, mean_us: float) -> OpTime:
    return OpTime(op=op, name=f"{op}:0", partition=0, mean_us=mean_us, calls=1)


def test_a_time_is_of_the_op_that_took_it(small_tflite: Path) -> None:
    """Each convolution has a time of its own, and between them is what the delegate adds."""
    model = Tflite.read(small_tflite)
    convolutions = [op for op in model.graph.ops if op.type in WORDS]
    profile = [_time(WORDS[op.type], 10.0 + op.index) for op in convolutions]
    profile.insert(3, _time("Softmax (NC, F32)", 7.0))
    data = of_times(model, _profiled(model, profile), "results.json")
    assert data.values == {op.index: 10.0 + op.index for op in convolutions}
    assert data.name == "time under the profiler, µs, adb, 1 thread"
    assert data.file_name == "time-under-the-profiler.json"


def test_a_concatenation_takes_all_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _concatenating()
    model = Tflite(b"whatever")
    monkeypatch.setitem(model.__dict__, "graph", graph)
    copies = [_time("Copy (NC, X32)", 1.5)] * 3
    data = of_times(model, _profiled(model, [_time(WORDS["CONV_2D"], 4.0), *copies]), "results.json")
    assert data.values == {0: 4.0, 1: 4.5}


def test_times_of_another_file(small_tflite: Path) -> None:
    model = Tflite.read(small_tflite)
    strangers = [_time("Softmax (NC, F32)", 1.0)] * 20
    with pytest.raises(RequestError, match="are not those that results.json has times of"):
        of_times(model, _profiled(model, strangers), "results.json")
    with pytest.raises(RequestError, match="has no time of the ops of") as caught:
        of_times(model, _profiled(model, []), "results.json")
    assert caught.value.hint is not None and "--profile" in caught.value.hint


def test_a_tensor_called_like_an_op_does_not_take_its_value() -> None:
    """The viewer looks for a tensor of that name first. Op 1 would be taken for op 0, whose result is called 1."""
    assert node_keys(_concatenating()) == ["0", "joined"]
    assert list(NodeData("MACs", {1: 5}).to_json(_concatenating())["results"]) == ["joined"]


def test_sqnr_of_each_op(dynamic_tflite: Path, small_tflite: Path) -> None:
    """Against interpreters that keep all tensors, on the same photograph."""
    model, against = Tflite.read(dynamic_tflite), Tflite.read(small_tflite)
    found = op_sqnr_db(model, against)
    assert model.description is not None and model.description.preprocessing is not None
    picture = load_image(bundled_photograph(), SMALL, model.description.preprocessing)
    expected, actual = (_values(file, picture) for file in (against, model))
    assert len(found) > 0.9 * sum(name in expected for name in actual)
    for index, sqnr in found.items():
        name = model.graph.tensors[model.graph.ops[index].outputs[0]].name
        noise = np.sum((actual[name] - expected[name]) ** 2)
        assert sqnr == pytest.approx(10 * np.log10(np.sum(expected[name] ** 2) / noise), abs=0.01)
    assert op_sqnr_db(against, against) == {}


def _values(file: Tflite, picture: Any) -> dict[str, Any]:
    """Every float result by name."""
    app = interpreter.Interpreter(
        model_content=file.content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    app.allocate_tensors()
    app.set_tensor(app.get_input_details()[0]["index"], picture)
    app.invoke()
    computed = {index for op in file.graph.ops for index in op.outputs}
    details = [detail for detail in app.get_tensor_details() if detail["index"] in computed]
    return {detail["name"]: app.get_tensor(detail["index"]).astype(np.float64) for detail in details}


def test_sqnr_of_another_network(small_tflite: Path, tiny_tflite: Path) -> None:
    with pytest.raises(RequestError, match="have no result of one name and shape"):
        op_sqnr_db(Tflite.read(small_tflite), Tflite.read(tiny_tflite))


def _inspect(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


def test_files(dynamic_tflite: Path, small_tflite: Path, tmp_path: Path) -> None:
    model, nodes = Tflite.read(dynamic_tflite), tmp_path / "nodes"
    profile = [_time(WORDS[op.type], 10.0) for op in model.graph.ops if op.type in WORDS]
    times = tmp_path / "times.json"
    times.write_text(_profiled(model, profile).model_dump_json())
    arguments = [dynamic_tflite, "--model-explorer", nodes, "--results", times, "--against", small_tflite]
    done = _inspect(*arguments)
    assert done.exit_code == 0, done.output
    names = ["precision", "reason-of-the-precision", "MACs", "partition", "time-under-the-profiler", "SQNR"]
    assert {path.stem for path in nodes.iterdir()} == {*names}
    listed = ",".join(str(nodes / f"{name}.json") for name in names)
    assert f"open it with: model-explorer {dynamic_tflite} --node_data_paths={listed}" in done.output
    for name in names:
        (graph,) = json.loads((nodes / f"{name}.json").read_text(), parse_constant=pytest.fail).values()
        assert graph["results"] and ("gradient" in graph) == (name in ("MACs", "time-under-the-profiler", "SQNR"))
    assert "--force" in _refusal(*arguments)
    assert _inspect(*arguments, "--force").exit_code == 0


def _refusal(*arguments: object) -> str:
    error = _inspect(*arguments).exception
    assert isinstance(error, RequestError)
    return str(error)


def test_requests_that_make_no_sense(tiny_tflite: Path, tmp_path: Path) -> None:
    assert "add --model-explorer FOLDER" in _refusal(tiny_tflite, "--against", tiny_tflite)
    nodes = tmp_path / "nodes"
    assert "name a single --runtime" in _refusal(tiny_tflite, "--model-explorer", nodes, "--runtime", "all")
    assert "there is no folder" in _refusal(tiny_tflite, "--model-explorer", tmp_path / "absent" / "nodes")
    nodes.write_text("in the way")
    assert "there is no folder" in _refusal(tiny_tflite, "--model-explorer", nodes)
    assert list(tmp_path.iterdir()) == [nodes]
