"""``evit-mobile import``: what other tools wrote, real outputs of theirs, into report, compare and verdicts."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import model_runtime_info_pb2
from ai_edge_litert.interpreter import Interpreter

from evit_mobile.cli.main import main
from evit_mobile.results.files import load
from evit_mobile.results.judge.verdict import Outcome
from evit_mobile.results.judge.verdicts import verdicts
from evit_mobile.results.page.report import render
from evit_mobile.results.record import Point, ResultSet

DATA = Path(__file__).parent.parent / "data"
LITERT, AI_HUB, CLASSIC = DATA / "imports" / "litert", DATA / "imports" / "ai_hub", DATA / "benchmark_model"
#: Outputs of benchmark_model that ended as they should.
PRINTED = sorted(path for path in CLASSIC.glob("*.stdout") if path.name[:2] in ("01", "02", "04", "05", "11"))
RESULT_PROTO = CLASSIC / "05_result_file_m3.pb"


@pytest.fixture
def evit(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``evit("import", …)`` gives the exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capfd.readouterr()

    return run


Evit = Callable[..., tuple[int, str, str]]


def _imported(evit: Evit, folder: Path, *arguments: object) -> ResultSet:
    out = folder / "imported.json"
    code, _, err = evit("import", *arguments, "--out", out, "--force")
    assert code == 0, err
    return load(out)


def _point(results: ResultSet) -> Point:
    [point] = results.points
    return point


@pytest.mark.parametrize("path", sorted(LITERT.glob("*.json")), ids=lambda path: path.stem)
def test_litert_json(path: Path, evit: Evit, tmp_path: Path) -> None:
    wrote = json.loads(path.read_text())
    point = _point(_imported(evit, tmp_path, path))
    [entry] = point.rounds
    assert point.name == Path(wrote["model"]).stem and point.settings.threads == wrote["num_threads"]
    assert entry.printed_latency and entry.printed_latency.count == wrote["latency"]["num_runs"]
    assert entry.values == (pytest.approx(wrote["latency"]["median_ms"] * 1e3),)
    assert entry.init_us == pytest.approx(wrote["latency"]["init_ms"] * 1e3)
    assert (entry.printed_warmup is None) == (wrote["latency"]["num_warmup_runs"] == 0)


@pytest.mark.parametrize("path", sorted(LITERT.glob("*.txt")), ids=lambda path: path.stem)
def test_the_newer_tools_block_says_what_its_json_says(path: Path, evit: Evit, tmp_path: Path) -> None:
    threads = 2 if "2-threads" in path.stem else 1
    printed = _point(_imported(evit, tmp_path, path, "--threads", threads)).rounds
    assert printed == _point(_imported(evit, tmp_path, path.with_suffix(".json"))).rounds


def test_a_log_before_the_block_says_model_threads_and_accelerators(evit: Evit, tmp_path: Path) -> None:
    results = _imported(evit, tmp_path, LITERT / "base-r192-2-threads.txt")
    assert _point(results).name == "base-r192" and _point(results).settings.threads == 2
    assert results.source is not None and results.source.accelerators == ("CPU",)


@pytest.mark.parametrize("path", PRINTED, ids=lambda path: path.stem)
def test_printed_by_benchmark_model(path: Path, evit: Evit, tmp_path: Path) -> None:
    text = path.read_text()
    results = _imported(evit, tmp_path, path, *([] if "#threads used" in text else ["--threads", 1]))
    [entry] = _point(results).rounds
    average = float(text.rpartition("Inference (avg): ")[2].split()[0])
    assert entry.printed_latency is not None and entry.printed_latency.mean_us == pytest.approx(average, rel=1e-5)
    assert f"{_point(results).name}.tflite" in text


def test_result_file_of_benchmark_model(evit: Evit, tmp_path: Path) -> None:
    """It and the output beside it are of one run; the tool prints six digits."""
    proto = _point(_imported(evit, tmp_path, f"m3={RESULT_PROTO}", "--threads", 1)).rounds[0].printed_latency
    text = _point(_imported(evit, tmp_path, RESULT_PROTO.with_suffix(".stdout"))).rounds[0].printed_latency
    assert proto is not None and text is not None and proto.count == text.count == 20
    for name in ("mean_us", "min_us", "max_us", "median_us", "p5_us", "p95_us"):
        assert getattr(proto, name) == pytest.approx(getattr(text, name), rel=1e-5), name


@pytest.mark.parametrize("path", sorted(AI_HUB.glob("*.json")), ids=lambda path: path.stem)
def test_ai_hub(path: Path, evit: Evit, tmp_path: Path) -> None:
    wrote = json.loads(path.read_text())
    results = _imported(evit, tmp_path, path, "--threads", 1)
    [entry] = _point(results).rounds
    times = wrote["execution_summary"].get("all_inference_times") or [
        wrote["execution_summary"]["estimated_inference_time"]
    ]
    assert entry.latency_us == tuple(times)
    units = {layer["compute_unit"] for layer in wrote["execution_detail"]}
    assert results.source is not None and set(results.source.accelerators) == units


def test_runtime_info_adds_what_the_model_holds(evit: Evit, tmp_path: Path, tiny_tflite: Path) -> None:
    """Written by LiteRT's own message type, of what its interpreter says."""
    interpreter = Interpreter(str(tiny_tflite))
    interpreter.allocate_tensors()
    ops = interpreter._get_ops_details()
    delegates = [op for op in ops if op["op_name"] == "DELEGATE"]
    details = model_runtime_info_pb2.ModelRuntimeDetails(model_name="/data/local/tmp/m3.tflite")
    graph = details.subgraphs.add(subgraph_id=0)
    made = {int(index) for op in delegates for index in op["outputs"]}
    for op in ops:
        node = graph.nodes.add(id=op["index"], type=op["op_name"])
        if op["op_name"] == "DELEGATE":
            node.delegate_node_details.delegate_name = "TfLiteXNNPackDelegate"
        elif made & {int(index) for index in op["outputs"]}:
            node.delegated_to_node_id = delegates[0]["index"]
    info = tmp_path / "info.pb"
    info.write_bytes(details.SerializeToString())
    point = _point(_imported(evit, tmp_path, f"m3={RESULT_PROTO}", info, "--threads", 1))
    assert (point.ops, point.partitions, point.undelegated_ops) == (len(ops) - 1, 1, 0)
    code, _, err = evit("import", info, "--out", tmp_path / "alone.json")
    assert code == 2 and "measured nothing" in err


def test_report_and_compare_name_the_source(evit: Evit, tmp_path: Path) -> None:
    files = [f"m={LITERT / 'linear.json'}"] * 6
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    assert evit("import", *files, "--out", before)[0] == 0
    code, out, _ = evit("import", *[f"m={LITERT / 'softmax.json'}"] * 6, "--soc", "SM8150", "--out", after)
    assert code == 0 and "LiteRT's benchmark JSON" in out and "named at the import" in out
    page = render([("before.json", load(before))])
    for words in ("linear.json", "SHA-256", "Not recorded", "Nobody said which device", "Imported with evit-mobile"):
        assert words in page.replace("&#39;", "'"), words
    code, _, err = evit("compare", before, after)
    assert code == 2 and "soc" in err
    code, out, err = evit("compare", before, after, "--allow-unlike", "--json")
    assert code == 0 and json.loads(out)["differences"][0]["status"] == "compared", err


def _figure(linear: Path, softmax: Path) -> Iterator[str]:
    for side in (14, 20):
        yield f"attention-linear+matched@{side}={linear}"
        yield f"attention-softmax@{side}={softmax}"


@pytest.mark.parametrize(
    ("soc", "accelerator", "outcome"),
    [
        ("SM8150", "CPU", Outcome.REPRODUCED),
        ("snapdragon 855", "CPU", Outcome.REPRODUCED),
        ("SM8150-AC", "CPU", Outcome.NOT_COMPARABLE),
        ("SM8650", "CPU", Outcome.NOT_COMPARABLE),
        (None, "CPU", Outcome.NOT_COMPARABLE),
        ("SM8150", "NPU", Outcome.NOT_COMPARABLE),
    ],
)
def test_a_verdict_only_on_the_papers_device(
    soc: str | None, accelerator: str, outcome: Outcome, evit: Evit, tmp_path: Path
) -> None:
    document = json.loads((LITERT / "linear.json").read_text()) | {"accelerators": [accelerator]}
    linear, softmax = tmp_path / "linear.json", tmp_path / "softmax.json"
    linear.write_text(json.dumps(document))
    document["latency"]["median_ms"] *= 4
    softmax.write_text(json.dumps(document))
    stated = ["--soc", soc] if soc is not None else []
    results = _imported(evit, tmp_path, *_figure(linear, softmax), "--suite", "figure-2-left", *stated)
    [verdict] = verdicts(results)
    assert verdict.outcome is outcome, verdict.reason
    assert any("Imported, not measured" in text for text in verdict.caveats)
    assert all(point.place is not None and point.place.macs for point in results.points)


def _broken() -> Iterator[tuple[str, bytes, str]]:
    """A file name, its content, and what the refusal says."""
    litert = json.loads((LITERT / "linear.json").read_text())
    hub = json.loads((AI_HUB / "1.2-all-times.json").read_text())

    def changed(document: Any, part: str, **values: Any) -> bytes:
        return json.dumps({**document, part: {**document[part], **values}}).encode()

    yield "empty.json", b"", "it is empty"
    yield "truncated.json", json.dumps(litert).encode()[:-20], "truncated"
    yield "deep.json", b'{"latency":' * 100_000, "not JSON"
    yield "list.json", b"[1, 2]", "no form"
    yield "ours.json", b'{"schema_version": 3}', "result file of evit-mobile already"
    yield "nan.json", changed(litert, "latency", avg_ms=math.nan), "not JSON"
    yield "huge.json", changed(litert, "latency", avg_ms=1e300), "latency.avg_ms"
    yield "zero.json", changed(litert, "latency", avg_ms=0), "mean_us"
    yield "none.json", changed(litert, "latency", num_runs=0), "count"
    yield "words.json", changed(litert, "latency", avg_ms="fast"), "latency.avg_ms"
    yield "hub-zero.json", changed(hub, "execution_summary", all_inference_times=[0]), "all_inference_times"
    yield (
        "hub-nothing.json",
        changed(hub, "execution_summary", all_inference_times=[], estimated_inference_time=None),
        ("latency_us"),
    )
    yield "hub-negative.json", changed(hub, "execution_summary", inference_memory_peak_range=[0, -5]), "memory"
    text = (CLASSIC / "01_default_m1.stdout").read_text()
    yield "two.txt", (text + text).encode(), "several runs"
    yield "killed.txt", (CLASSIC / "08_kill_m1.stdout").read_bytes(), "no form"
    yield "instant.txt", (CLASSIC / "07_allsame.stdout").read_bytes(), "too small for its clock"
    yield "number.txt", text.replace("avg=", "avg=-").encode(), "not valid"
    yield "digits.txt", text.replace("count=", "count=" + "9" * 5000).encode(), "not valid"
    block = (LITERT / "linear.txt").read_bytes()
    yield "cut.txt", block[: block.index(b"Inference (avg)")], "cut off"
    yield "no.txt", b"hello", "no form"
    yield "noise.pb", bytes(range(256)) * 4, "no form"
    proto = RESULT_PROTO.read_bytes()
    yield "cut.pb", proto[:30], "no form"
    yield "latency-alone.pb", proto[:52], "count"


@pytest.mark.parametrize(("name", "content", "words"), list(_broken()), ids=lambda value: str(value)[:20])
def test_broken_ones_are_refused(name: str, content: bytes, words: str, evit: Evit, tmp_path: Path) -> None:
    path, out = tmp_path / name, tmp_path / "out.json"
    path.write_bytes(content)
    code, _, err = evit("import", path, "--threads", 1, "--out", out)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and len(err) < 600, err
    assert words in err and not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.json"], "cannot be read"),
        (["=x.json"], "not NAME=FILE"),
        ([f"m={RESULT_PROTO}"], "how many threads"),
        ([str(LITERT / "linear.json"), "--threads", "3"], "used 1 threads"),
        ([str(LITERT / "linear.json"), "--suite", "figure-2-left"], "has no point"),
        ([str(LITERT / "linear.json"), "--suite", "figure-9"], "no suite"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], words: str, evit: Evit, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code, _, err = evit("import", *arguments, "--out", out)
    assert code == 2 and words in err and err.count("\n") == 1, err
    assert not out.exists()


def test_an_existing_result_is_kept(evit: Evit, tmp_path: Path) -> None:
    shutil.copy(LITERT / "linear.json", tmp_path / "out.json")
    code, _, err = evit("import", LITERT / "linear.json", "--out", tmp_path / "out.json")
    assert code == 2 and "--force" in err
