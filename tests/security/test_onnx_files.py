"""An ONNX file that crashes its readers, has no end or takes all memory costs the process that reads it: one line, exit
2, and no file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters import onnx_reader
from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError

MAP = ["n", "c", "h", "w"]


def _constant(name: str, values: Any, kind: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, kind), name)


def _value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto] = (), **more: Any) -> onnx.ModelProto:
    """``nodes`` from x [1, 3, 16, 16] to y, of rank 4."""
    graph = helper.make_graph(nodes, "stranger", [_value("x", [1, 3, 16, 16])], [_value("y", MAP)], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def _relu() -> onnx.ModelProto:
    return _model([helper.make_node("Relu", ["x"], ["y"])])


def _quotient(divisor: int) -> onnx.ModelProto:
    """x times the smallest int32 over ``divisor``, which ONNX Runtime computes as it loads the model."""
    nodes = [
        helper.make_node("Div", ["smallest", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "factor"], ["y"]),
    ]
    return _model(nodes, [_constant("smallest", -(2**31), np.int32), _constant("divisor", divisor, np.int32)])


def _loop(turns: int, *, computed: bool) -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["state"], ["next"])],
        "body",
        [_value("turn", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("state", MAP)],
        [_value("on", [], TensorProto.BOOL), _value("next", MAP)],
    )
    nodes = [
        helper.make_node("Mul", ["turns", "turns"], ["squared"]),
        helper.make_node("Loop", ["squared" if computed else "turns", "true", "x"], ["y"], body=body),
    ]
    return _model(nodes, [_constant("turns", turns), _constant("true", True, np.bool_)])


def _calls(*, depth: int, last: str) -> onnx.ModelProto:
    """A chain of functions, each of which calls the next one twice."""
    names = [f"f{number}" for number in range(depth)]
    functions = []
    for name, following in zip(names, [*names[1:], last]):
        domain = "" if following == "Relu" else "own"
        calls = [helper.make_node(following, [i], [o], domain=domain) for i, o in (("a", "b"), ("b", "c"))]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", name, ["a"], ["c"], calls, opsets))
    return _model([helper.make_node("f0", ["x"], ["y"], domain="own")], functions=functions)


def _element_type(number: int) -> onnx.ModelProto:
    model = _relu()
    model.graph.input[0].type.tensor_type.elem_type = number
    return model


def _input(shape: Sequence[int]) -> onnx.ModelProto:
    model = _relu()
    model.graph.input[0].CopyFrom(_value("x", shape))
    return model


def _external(location: str, length: int) -> onnx.ModelProto:
    weights = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("length", str(length))):
        weights.external_data.add(key=key, value=text)
    return _model([helper.make_node("Mul", ["x", "w"], ["y"])], [weights])


def _large_sum() -> onnx.ModelProto:
    """The sum of 10^12 numbers, whose count no constant says."""
    nodes = [
        helper.make_node("Mul", ["million", "million"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["numbers"]),
        helper.make_node("ReduceSum", ["numbers"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["term"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "term"], ["y"]),
    ]
    return _model(nodes, [_constant("million", 10**6), _constant("zero", 0), _constant("one", 1)])


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a quotient that no int32 holds": (lambda: _quotient(-1), "ended by SIGFPE"),
    "a division by zero": (lambda: _quotient(0), "division by zero"),
    "an unknown type": (lambda: _element_type(-1), "of the unknown type -1"),
    "a function that calls itself": (lambda: _calls(depth=3, last="f1"), "calls itself"),
    "functions of 2^30 nodes": (lambda: _calls(depth=30, last="Relu"), "more than 100000 nodes"),
    "a loop of 10^12 turns": (lambda: _loop(10**12, computed=False), "takes 1e[+]12 turns"),
    "a computed range": (_large_sum, "bad_alloc|memory"),
    "a large input": (lambda: _input([1, 3, 10**4, 10**4]), "300000000 elements, the limit is"),
    "an input beyond all numbers": (lambda: _input([2**62, 2**62, 1, 1]), "elements, the limit is"),
    "external data without end": (lambda: _external("stranger.onnx", 2**39), "memory|not a whole"),
    "external data of another folder": (lambda: _external("../secret", 4), "points outside"),
    "outputs of a split": (
        lambda: _model([helper.make_node("Split", ["x"], ["y"], num_outputs=10**9)]),
        "num_outputs 1000000000 and 1 outputs",
    ),
}


@pytest.mark.parametrize(("make", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_one_line_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], onnx.ModelProto], words: str
) -> None:
    path, out = tmp_path / "stranger.onnx", tmp_path / "out.tflite"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(SystemExit) as ended:
        main(["convert", "--model", str(path), "--out", str(out)])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "") and not out.exists()
    (line,) = captured.err.splitlines()
    with pytest.raises(RequestError, match=words):
        onnx_reader.read(path, {})
    assert "stranger.onnx" in line and "bug" not in line


def test_a_file_that_has_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is the worker's; here it is a second. The next file is read all the same."""
    monkeypatch.setattr("converters.onnx_reader.READ_TIMEOUT_S", 1.0)
    path = tmp_path / "stranger.onnx"
    path.write_bytes(_loop(10**6, computed=True).SerializeToString())
    with pytest.raises(RequestError, match="no answer within 1 s"):
        onnx_reader.read(path, {})
    monkeypatch.undo()
    path.write_bytes(_relu().SerializeToString())
    assert [node.op_type for node in onnx_reader.read(path, {}).graph.node] == ["Relu"]


def test_an_input_on_which_it_cannot_run(tmp_path: Path) -> None:
    """It runs on zeros, with which it is read, and on no others."""
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("GatherElements", ["x", "index"], ["y"], axis=0),
    ]
    path = tmp_path / "stranger.onnx"
    path.write_bytes(_model(nodes).SerializeToString())
    session = onnx_reader.OnnxSession(onnx_reader.read(path, {}), "stranger.onnx")
    assert session({"x": np.zeros((1, 3, 16, 16), np.float32)})["y"].shape == (1, 3, 16, 16)
    with pytest.raises(RequestError, match="stranger.onnx cannot be run: .*Out of range"):
        session({"x": np.full((1, 3, 16, 16), 9, np.float32)})


def test_no_reader_runs_in_our_process(tmp_path: Path) -> None:
    """Nor does a module of the working folder in the other one."""
    path = tmp_path / "sound.onnx"
    path.write_bytes(_relu().SerializeToString())
    (tmp_path / "onnxruntime.py").write_text("open('ran', 'w')\n")
    program = (
        "import sys\nfrom pathlib import Path\nfrom converters import onnx_reader\n"
        "onnx_reader.OnnxSession(onnx_reader.read(Path('sound.onnx'), {}), 'sound.onnx')\n"
        "print(sorted({'onnxruntime', 'onnx_ir'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert not (tmp_path / "ran").exists()
