"""Fixtures that the whole suite shares: converted models come from one conversion cache, made once a run."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from evit_mobile.errors import MachineError
from evit_mobile.files import whole_file
from evit_mobile.runtimes import RUNTIMES, Runtime
from tests.kits.settled import settle_once

ROOT = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs with Ctrl-C ignored, and our children would inherit that: their Ctrl-C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Small enough for any test: the paper's smallest model at half its resolution.
SMALL_MODEL, SMALL_RESOLUTION = "base-r192", 96


def pytest_runtest_setup() -> None:
    settle_once()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A conversion cache of this run alone, shared by its parallel workers: nothing of the user's is read or
    changed.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "evit-mobile-cache"
    folder.mkdir(exist_ok=True)
    # Other runtimes' environments take 2 GB and a download: they stay in build/ from one run to the next.
    environments = ROOT / "build" / "runtimes"
    environments.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another worker of this run was first
        (folder / "runtimes").symlink_to(environments)
    before = os.environ.get("EVIT_MOBILE_CACHE")
    os.environ["EVIT_MOBILE_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["EVIT_MOBILE_CACHE"]
    else:
        os.environ["EVIT_MOBILE_CACHE"] = before


@pytest.fixture(scope="session")
def converted(cache: Path) -> Callable[..., Path]:
    """``converted(model, **options)`` is the path of that conversion; each is made once, whichever worker asks
    first.
    """
    from converters.options import ConvertOptions
    from converters.pipeline import convert_cached

    def convert(model: str, **options: object) -> Path:
        # One conversion at a time: two at once would need twice the memory and do the same work twice.
        with FileLock(cache / "conversions.lock"):
            return convert_cached(model, ConvertOptions(**options))  # type: ignore[arg-type]

    return convert


@pytest.fixture(scope="session")
def installed(cache: Path) -> Callable[[str], Runtime]:
    """``installed(name)`` is that runtime, installed; where it cannot be, the test is skipped, and fails under
    CI=true.
    """

    @functools.cache
    def install(name: str) -> Runtime:
        try:
            RUNTIMES[name].install()
        except MachineError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        return RUNTIMES[name]

    return install


@pytest.fixture(scope="session")
def small_tflite(converted: Callable[..., Path]) -> Path:
    """base-r192 at 96x96."""
    from evit_mobile.specs import Resolution

    return converted(SMALL_MODEL, resolution=Resolution(SMALL_RESOLUTION, SMALL_RESOLUTION))


@pytest.fixture(scope="session")
def two_resolutions(cache: Path, small_tflite: Path) -> Path:
    """base-r192 at 96x96 and 64x64 in one file: signatures r96 and r64."""
    import evit_mobile as em

    path = cache / "two-resolutions.tflite"
    with FileLock(cache / "conversions.lock"):
        if not path.exists():
            em.convert(SMALL_MODEL, resolution=[SMALL_RESOLUTION, 64]).save(path)
    return path


@pytest.fixture(scope="session")
def base_r192_tflite(converted: Callable[..., Path]) -> Path:
    """base-r192 at its own resolution."""
    return converted("base-r192")


@pytest.fixture(scope="session")
def base_r224_tflite(converted: Callable[..., Path]) -> Path:
    """base-r224 at its own resolution."""
    return converted("base-r224")


@pytest.fixture(scope="session")
def converted_graph(cache: Path) -> Callable[..., Path]:
    """``converted_graph(name, nodes, shape, **constants)`` is the .tflite of an ONNX graph from ``image`` [1, 3, 8, 8]
    to ``features``; with ``rewrite=False`` its ops stay as they are.
    """

    def make(name: str, nodes: list[Any], shape: list[int], rewrite: bool = True, **constants: NDArray[Any]) -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        from converters.options import ConvertOptions
        from converters.pipeline import convert

        path = cache / f"{name}.tflite"
        with FileLock(cache / "graphs.lock"):
            if not path.exists():
                image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
                features = helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)
                weights = [numpy_helper.from_array(value, key) for key, value in constants.items()]
                graph = helper.make_graph(nodes, name, [image], [features], weights)
                onnx.save(
                    helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                    cache / f"{name}.onnx",
                )
                convert(str(cache / f"{name}.onnx"), path, ConvertOptions(rewrite=rewrite))
        return path

    return make


def _kernel(output: int, inputs: int) -> NDArray[np.float32]:
    return np.random.default_rng(output).standard_normal((output, inputs, 3, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def tiny(converted_graph: Callable[..., Path]) -> Callable[[int], Path]:
    """``tiny(channels)`` is a model of one convolution on 8x8 pixels."""

    def make(channels: int) -> Path:
        from onnx import helper

        node = helper.make_node("Conv", ["image", "kernel"], ["features"], pads=[1, 1, 1, 1])
        return converted_graph(f"tiny{channels}", [node], [1, channels, 8, 8], kernel=_kernel(channels, 3))

    return make


@pytest.fixture(scope="session")
def tiny_tflite(tiny: Callable[[int], Path]) -> Path:
    return tiny(8)


@pytest.fixture(scope="session")
def dividing_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that loads and cannot run on zeros: one DIV of its int32 input by itself."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> schema.TensorT:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, [4], schema.TensorType.INT32
        return tensor

    code, divide, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DIV
    code.version = 1
    divide.inputs, divide.outputs = [0, 0], [1]
    divide.builtinOptionsType, divide.builtinOptions = schema.BuiltinOptions.DivOptions, schema.DivOptionsT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor("x"), tensor("y")], [0], [1], [divide]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path_factory.mktemp("dividing") / "dividing.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the parity matrix, if its tests ran, and keep it as ``build/parity.md``."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    cells = [value for report in reports for key, value in getattr(report, "user_properties", []) if key == "parity"]
    if not cells:
        return
    settings = sorted({cell["setting"] for cell in cells}, key=lambda text: ("off" in text, text))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in cells:
        row = rows.setdefault((cell["case"], cell["runtime"]), {"division": cell["division"]})
        row[cell["setting"]] = f"{cell['worst'] or 0:.1e}{'' if cell['passed'] else ' FAILED'}"
    lines = [["model", "runtime", *settings, "partitions", "undelegated"]]
    for (case, runtime), row in sorted(rows.items()):
        outside, partitions = "", ""  # of a runtime that does not tell them
        if row["division"]:
            partitions, undelegated = row["division"]
            outside = ", ".join(f"{count} {kind}" for kind, count in undelegated.items()) or "0"
        lines.append([case, runtime, *(row.get(setting, "") for setting in settings), str(partitions), outside])
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    text = "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)
    terminalreporter.section("parity: largest error relative to the output's largest magnitude")
    terminalreporter.write_line(text)
    (ROOT / "build").mkdir(exist_ok=True)
    with whole_file(ROOT / "build" / "parity.md") as temporary:
        temporary.write_text(f"# Parity\n\nLargest error, relative to the output's largest magnitude.\n\n{text}\n")
