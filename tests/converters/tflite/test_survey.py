"""Several runtimes side by side, by the real runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from converters.tflite.inspection import inspect_model
from converters.tflite.survey import ROUNDS, survey
from evit_mobile.cli.main import main
from evit_mobile.runtimes import RUNTIMES, Runtime, Session
from evit_mobile.runtimes.litert import LiteRt

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it


class Failing(LiteRt):
    """LiteRT that gives up in its third round: what a worker's death in mid-run looks like from here."""

    name = "failing"

    @contextmanager
    def open(
        self, model: Path, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> Iterator[Session]:
        with super().open(model, threads=threads, xnnpack=xnnpack) as session:
            calls = iter(range(ROUNDS))
            whole = session.time_us

            def time_us(inputs: list[object], runs: int) -> list[float]:
                if next(calls) == 2:
                    raise RuntimeError("Node number 3 (DIV) failed to invoke.\nand more")
                return whole(inputs, runs)  # type: ignore[arg-type]

            session.time_us = time_us  # type: ignore[method-assign, assignment]
            yield session


def test_all_runtimes(small_tflite: Path, installed: Callable[[str], Runtime]) -> None:
    rows = survey(small_tflite, [installed(name) for name in RUNTIMES])
    assert [row.runtime for row in rows] == list(RUNTIMES)
    for row in rows:
        inspection = inspect_model(small_tflite, RUNTIMES[row.runtime], explain=False)
        assert (row.partitions, sum(row.undelegated.values())) == (inspection.partitions, len(inspection.undelegated))
        assert row.fully_accelerated == inspection.fully_accelerated
        said = {"compiled-model": None, "compiled-model-latest": True}
        assert inspection.fully_accelerated is said.get(row.runtime, not inspection.undelegated)
        assert row.error is None
        assert row.latency_us is not None and row.latency_us > 0
        assert row.ratio is not None and row.ratio_interval is not None
        assert row.ratio_interval.low <= row.ratio <= row.ratio_interval.high
    assert rows[0].ratio == 1.0


def test_what_a_runtime_cannot_do_is_told(small_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path))
    missing, failing, litert = survey(small_tflite, [RUNTIMES["tensorflow"], Failing(), RUNTIMES["litert"]])
    assert (missing.version, missing.error, missing.latency_us) == (None, None, None)
    assert failing.error == "Node number 3 (DIV) failed to invoke."
    assert failing.latency_us is None
    assert litert.ratio == 1.0  # the first that ran


@pytest.fixture
def looking_up_tflite(tmp_path: Path) -> Path:
    """A GATHER of rows of a constant [3, 4] by an int32 input: an index beyond the table makes LiteRT refuse to
    run it.
    """
    from ai_edge_litert import schema_py_generated as schema

    from evit_mobile.tflite.flatbuffer import pack

    def tensor(name: str, shape: list[int], kind: int, buffer: int = 0) -> schema.TensorT:
        result = schema.TensorT()
        result.name, result.shape, result.type, result.buffer = name, shape, kind, buffer
        return result

    kinds = schema.TensorType
    code, gather, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.GATHER
    code.version = 1
    gather.inputs, gather.outputs = [0, 1], [2]
    gather.builtinOptionsType, gather.builtinOptions = schema.BuiltinOptions.GatherOptions, schema.GatherOptionsT()
    graph.tensors = [
        tensor("table", [3, 4], kinds.FLOAT32, 1),
        tensor("rows", [2], kinds.INT32),
        tensor("chosen", [2, 4], kinds.FLOAT32),
    ]
    graph.inputs, graph.outputs, graph.operators = [1], [2], [gather]
    table = schema.BufferT()
    table.data = np.arange(12, dtype=np.float32).view(np.uint8)
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), table]
    path = tmp_path / "looking-up.tflite"
    path.write_bytes(pack(model, 1024))
    return path


def test_an_index_input_is_given_an_index(looking_up_tflite: Path) -> None:
    with RUNTIMES["litert"].open(looking_up_tflite) as session, pytest.raises(RuntimeError):
        session.run([np.array([0, 2**30], np.int32)])
    (row,) = survey(looking_up_tflite, [RUNTIMES["litert"]])
    assert row.error is None and row.latency_us is not None


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_commands(
    command: str, small_tflite: Path, installed: Callable[[str], Runtime], capsys: pytest.CaptureFixture[str]
) -> None:
    """``--runtime all`` as text and as JSON."""
    for name in RUNTIMES:
        installed(name)

    def printed(*options: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([command, str(small_tflite), "--runtime", "all", *options])
        captured = capsys.readouterr()
        assert ended.value.code == 0, captured.err
        return captured.out

    text = printed()
    for name, runtime in RUNTIMES.items():
        version = runtime.version()
        assert version is not None
        (line,) = (line for line in text.splitlines() if f"  {name} " in line and version in line)
        assert "×" in line
    document = json.loads(printed("--json"))
    rows = document["survey"] if command == "verify" else [entry["survey"] for entry in document["runtimes"].values()]
    assert [row["runtime"] for row in rows] == list(RUNTIMES)
    assert all(row["error"] is None and row["ratio"] > 0 for row in rows)
