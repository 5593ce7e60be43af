"""A .tflite whose parts do not fit together is refused before a runtime sees it: LiteRT takes most of these for
granted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from evit_mobile.cli.main import main
from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.graph import graph_of

Change = Callable[[Any, Any, Any], None]


def _op(model: Any, kind: str) -> Any:
    """The first op of that kind."""
    index = next(op.index for op in graph_of(model).ops if op.type == kind)
    return model.subgraphs[0].operators[index]


def _set(field: str, value: Any, of: str = "operator") -> Change:
    """Change a field of a convolution, of its options or of its weights' tensor."""

    def change(model: Any, graph: Any, convolution: Any) -> None:
        places = {
            "operator": convolution,
            "options": convolution.builtinOptions,
            "tensor": graph.tensors[convolution.inputs[1]],
            "quantisation": graph.tensors[convolution.inputs[1]].quantization,
            "graph": graph,
        }
        setattr(places[of], field, value)

    return change


def _operand(vector: str, place: int, value: int) -> Change:
    def change(model: Any, graph: Any, convolution: Any) -> None:
        _put(convolution, vector, place, value)

    return change


def _put(op: Any, vector: str, place: int, value: int) -> None:
    changed = np.array(getattr(op, vector))  # what is unpacked is read-only
    changed[place] = value
    setattr(op, vector, changed)


def _cycle(model: Any, graph: Any, convolution: Any) -> None:
    """Two ops that read each other's output."""
    first, second = graph.operators[:2]
    _put(first, "inputs", 0, second.outputs[0])


def _written_constant(model: Any, graph: Any, convolution: Any) -> None:
    _put(convolution, "outputs", 0, convolution.inputs[1])


def _short_weights(model: Any, graph: Any, convolution: Any) -> None:
    buffer = model.buffers[graph.tensors[convolution.inputs[1]].buffer]
    buffer.data = buffer.data[:-4]


def _quantised(model: Any, graph: Any, convolution: Any) -> None:
    quantisation = schema.QuantizationParametersT()
    quantisation.scale, quantisation.zeroPoint, quantisation.quantizedDimension = [0.1, 0.2], [0, 0], 3
    graph.tensors[convolution.inputs[1]].quantization = quantisation


def _outside(model: Any, graph: Any, convolution: Any) -> None:
    buffer = model.buffers[graph.tensors[convolution.inputs[1]].buffer]
    buffer.data, buffer.offset, buffer.size = None, 2**40, 8


def _names(model: Any, graph: Any, convolution: Any) -> None:
    graph.tensors[convolution.outputs[0]].name = b"\xff\xfe"


def _signature(model: Any, graph: Any, convolution: Any) -> None:
    model.signatureDefs[0].outputs[0].tensorIndex = 2**31


HOSTILE: dict[str, tuple[Change, str]] = {
    "no first input": (_operand("inputs", 0, -1), "no input 0"),
    "no weights": (_operand("inputs", 1, -1), "no input 1"),
    "input of nowhere": (_operand("inputs", 0, 99_999), "does not exist"),
    "negative input": (_operand("inputs", 0, -7), "does not exist"),
    "output of nowhere": (_operand("outputs", 0, 99_999), "does not exist"),
    "no output": (_operand("outputs", 0, -1), "does not exist"),
    "no operands": (_set("inputs", []), "needs 2"),
    "cycle": (_cycle, "before it is computed"),
    "constant is written": (_written_constant, "has its values already"),
    "op code": (_set("opcodeIndex", 999), "no kind"),
    "padding": (_set("padding", 7, "options"), "unknown padding 7"),
    "activation": (_set("fusedActivationFunction", 77, "options"), "unknown activation 77"),
    "stride": (_set("strideW", 0, "options"), "strideW 0"),
    "dilation": (_set("dilationHFactor", -1, "options"), "dilationHFactor -1"),
    "weights' shape": (_set("shape", [1, 1, 1, 10**6], "tensor"), "bytes of values"),
    "negative size": (_set("shape", [-5, 1], "tensor"), "negative size"),
    "weights' type": (_set("type", 101, "tensor"), "unknown type"),
    "buffer": (_set("buffer", 60_000, "tensor"), "buffer that the file does not have"),
    "short weights": (_short_weights, "bytes of values"),
    "scales": (_quantised, "one scale for each channel"),
    "buffer outside": (_outside, "outside the file"),
    "graph's input": (_set("inputs", [-1], "graph"), "input of the graph"),
    "graph's output": (_set("outputs", [10**6], "graph"), "output of the graph"),
    "names": (_names, "not UTF-8"),
    "signature": (_signature, "signature names a tensor"),
}


@pytest.mark.parametrize(("change", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_parts_that_do_not_fit(
    small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, words: str
) -> None:
    model = unpack(small_tflite.read_bytes())
    change(model, model.subgraphs[0], _op(model, "CONV_2D"))
    path = tmp_path / "stranger.tflite"
    path.write_bytes(pack(model))
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(path)])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    (line,) = captured.err.splitlines()
    assert "is damaged" in line and words in line


def test_a_bias_may_be_absent(small_tflite: Path) -> None:
    model = unpack(small_tflite.read_bytes())
    convolution = _op(model, "CONV_2D")
    convolution.inputs = np.array([*convolution.inputs[:2], -1], np.int32)
    assert graph_of(unpack(pack(model))).ops
