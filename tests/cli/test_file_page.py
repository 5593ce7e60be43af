"""``evit-mobile report FILE.tflite``: what is on the page is what ``inspect``, ``verify`` and the result file say."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

import evit_mobile as em
from evit_mobile.cli.main import main
from evit_mobile.models.labels import class_names
from evit_mobile.results.estimates import Estimate, OpEstimate, Traffic
from evit_mobile.results.files import save
from evit_mobile.results.record import OpTime, Point, ResultSet, Round, RunSettings
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.scopes import blocks_of
from tests.conftest import SMALL_MODEL
from tests.kits.results import SNAPDRAGON_855, device, results

HOSTILE = "</td><script>document.title = 'taken'</script>\u202e"


def _report(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, arguments)])
    return int(ended.value.code or 0), capsys.readouterr().err


def _text(page: Path) -> str:
    """What the page shows, cells divided by ``|``."""
    source = page.read_text()
    body = re.sub(r"<style>.*?</style>", "", source, flags=re.DOTALL)
    return " ".join(
        html.unescape(re.sub(r"</?(?:td|th|dd|dt)[^>]*>", "|", re.sub(r"<(?!/?t|/?d)[^>]+>", "", body))).split()
    )


def _point(model: Path, name: str, us: float, **more: Any) -> Point:
    rounds = more.pop("rounds", tuple(Round(latency_us=(us, us + 1)) for _ in range(6)))
    file = Tflite.read(model)
    settings = RunSettings(rounds=len(rounds))
    return Point(
        name=name, model_sha256=file.sha256, model_bytes=len(file.content), settings=settings, rounds=rounds, **more
    )


def _measured(*points: Point) -> ResultSet:
    return results([*points], device(), None, "tokens").evolve(suite=None)


def _estimated(model: Path) -> ResultSet:
    """A millisecond for each op of the file."""
    graph, traffic = Tflite.read(model).graph, Traffic(l2_bytes=1, l3_bytes=1, memory_bytes=1, written_bytes=1)
    blocks = blocks_of(graph)
    ops = tuple(
        OpEstimate(
            op=op.type, delegated=True, estimated_us=1e3, instructions=1, cycles=1, wait_cycles=0, traffic=traffic,
            block=blocks.get(op.index),
        )
        for op in graph.ops
    )  # fmt: skip
    us = 1e3 * len(ops)
    estimate = Estimate(
        estimated_latency_us=us, low_us=us / 2, high_us=us * 2, instructions=1, cycles=1, wait_cycles=0, traffic=traffic
    )
    point = _point(model, "m", us, rounds=(Round(estimate=estimate),), op_estimates=ops)
    info = device("estimate", SNAPDRAGON_855, emulated=True)
    return results([point], info, None, "tokens").evolve(suite=None)


def _counts(model: Path) -> dict[str, int]:
    """Ops by block."""
    graph = Tflite.read(model).graph
    blocks = blocks_of(graph)
    assert blocks.keys() == {op.index for op in graph.ops}
    return {block: [*blocks.values()].count(block) for block in blocks.values()}


@pytest.fixture(scope="module")
def verified(small_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``verify --json`` says of the small model."""
    path = tmp_path_factory.mktemp("verified") / "parity.json"
    path.write_text(json.dumps(em.verify(small_tflite).to_json()))
    return path


def test_the_page_says_what_the_other_commands_say(
    small_tflite: Path, tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(_measured(_point(small_tflite, "ours", 12_340), _point(tiny_tflite, "another", 99_990)), tmp_path / "r.json")
    code, err = _report([small_tflite, tmp_path / "r.json", "--out", tmp_path / "page.html"], capsys)
    assert code == 0, err
    text, inspection = _text(tmp_path / "page.html"), em.inspect(small_tflite)
    assert f"{inspection.partitions} partition, 0 of {inspection.op_total} ops outside" in text
    assert f"{inspection.macs / 1e6:,.1f} M multiply-accumulates" in text
    assert "passed, against pytorch; relative error at most 1e-04" in text
    assert "|litert||on||1|" in text and "|onnxruntime||–||–|" in text
    assert "Latency on EPYC: 12.34 ms" in text and "another" not in text and "99.99" not in text
    for kind, count in inspection.op_counts.items():
        assert f"|{kind}||{count}||0|" in text
    for block, count in _counts(small_tflite).items():
        assert f"|{block}||{count}||0||float32|" in text
    names = class_names("classification", 1000)
    assert all(f"|{number}||{name}|" in text for number, name in enumerate(names))
    assert "mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225" in text and "seed 0" in text
    assert Tflite.read(small_tflite).sha256 in text


def test_parity_is_read_where_it_was_said(
    small_tflite: Path, tiny_tflite: Path, verified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures, without a second run; of another file's report nothing."""
    page = tmp_path / "page.html"
    assert _report([small_tflite, "--parity", verified, "--out", page], capsys)[0] == 0
    worst = max(row["relative_error"] for row in json.loads(verified.read_text())["rows"] if row["threads"] is not None)
    assert "passed, against pytorch" in _text(page) and f"|{worst:.2e}|" in _text(page)
    code, err = _report([tiny_tflite, "--parity", verified, "--out", tmp_path / "other.html"], capsys)
    assert code == 2 and "is of another file" in err and not (tmp_path / "other.html").exists()


def test_a_failure_is_told(
    small_tflite: Path, verified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(verified.read_text())
    document["rows"][-1].update(passed=False, failure="the output holds NaN")
    (tmp_path / "failed.json").write_text(json.dumps(document))
    assert _report([small_tflite, "--parity", tmp_path / "failed.json", "--out", tmp_path / "p.html"], capsys)[0] == 0
    text = _text(tmp_path / "p.html")
    assert "failed, against pytorch" in text and "|not finite|" in text


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", "{}", '{"rows": [1]}', '{"signatures": {"r1": 3}}', '{"rows": [{}], "file": 1}']
)
def test_what_is_no_parity_report_is_refused(
    small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "p.json").write_text(content)
    code, err = _report([small_tflite, "--parity", tmp_path / "p.json", "--out", tmp_path / "p.html"], capsys)
    assert code == 2 and len(err.splitlines()) == 1 and not (tmp_path / "p.html").exists()


def test_estimated_and_profiled_times_stand_beside_the_counts(
    small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A millisecond an op in both, so that a block has as many as ops; nothing estimated is called measured."""
    save(_estimated(small_tflite), tmp_path / "estimate.json")
    words = {
        "DEPTHWISE_CONV_2D": "Convolution (NHWC, F32) DWConv",
        "MEAN": "Mean",
        "CONV_2D": "Convolution (NHWC, F32)",
    }
    profile = tuple(
        OpTime(op=words.get(op.type, op.type.replace("_", " ").title()), name=f"{op.type}:{op.index}", partition=0,
               mean_us=1e3, calls=1)
        for op in Tflite.read(small_tflite).graph.ops
    )  # fmt: skip
    save(_measured(_point(small_tflite, "m", 1e4, profile=profile)), tmp_path / "measured.json")
    inputs = [tmp_path / name for name in ("estimate.json", "measured.json")]
    assert _report([small_tflite, *inputs, "--no-verify", "--out", tmp_path / "p.html"], capsys)[0] == 0
    text = _text(tmp_path / "p.html")
    assert f"|time estimated, {SNAPDRAGON_855}, ms||time under the profiler, EPYC, ms|" in text
    for block, count in _counts(small_tflite).items():
        assert re.search(
            rf"\|{re.escape(block)}\|\|{count}\|\|0\|\|float32\|(?:\|[^|]*\|){{3}}\|{count}\|\|{count}\|", text
        )
    assert "not verified: not asked for" in text


def test_a_result_of_another_file_is_refused(
    small_tflite: Path, tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(_measured(_point(tiny_tflite, small_tflite.stem, 1e4)), tmp_path / "r.json")
    code, err = _report([small_tflite, tmp_path / "r.json", "--no-verify", "--out", tmp_path / "p.html"], capsys)
    assert code == 2 and "holds nothing that was measured with" in err and not (tmp_path / "p.html").exists()


def test_charts_are_exported(small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _report([small_tflite, "--no-verify", "--export", tmp_path / "charts"], capsys)[0] == 0
    (table,) = (tmp_path / "charts").glob("*-cost-by-block.csv")
    assert len(table.read_text().splitlines()) == 1 + len(_counts(small_tflite))
    assert {path.suffix for path in (tmp_path / "charts").iterdir()} == {".png", ".svg", ".csv"}


def test_a_strangers_file(small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without our entry, and with names that would be markup."""
    tree = Tflite.read(small_tflite).editable_tree()
    tree.metadata = []
    for tensor in tree.subgraphs[0].tensors:
        tensor.name = HOSTILE.encode()
    for entry in (*tree.signatureDefs[0].inputs, *tree.signatureDefs[0].outputs):
        entry.name = HOSTILE.encode()
    path = tmp_path / "stranger <b>.tflite"
    path.write_bytes(pack(tree))
    code, err = _report([path, "--out", tmp_path / "p.html"], capsys)
    assert code == 0, err
    page = (tmp_path / "p.html").read_text()
    assert "<script" not in page and "<b>" not in page and "\u202e" not in page
    assert html.escape(HOSTILE.replace("\u202e", "\ufffd"), quote=False) in html.escape(
        html.unescape(page), quote=False
    )
    text = _text(tmp_path / "p.html")
    assert "evit-mobile did not write this file" in text and "does not say what it was made from" in text
    assert "tell no blocks" in text


@pytest.mark.parametrize("cut", [0, 4, 1000, -200_000])
def test_damage_ends_in_a_line(
    small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: int
) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(small_tflite.read_bytes()[:cut])
    code, err = _report([path, "--no-verify", "--out", tmp_path / "p.html"], capsys)
    assert code == 2 and len(err.splitlines()) == 1 and not (tmp_path / "p.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.tflite", "b.tflite"], "one .tflite"),
        (["r.json", "--no-verify"], "are about a .tflite"),
        (["a.tflite", "--no-verify", "--parity", "p.json"], "leave out the other options"),
        (["absent.tflite"], "cannot be read"),
    ],
)
def test_requests_that_contradict_themselves(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, err = _report(arguments, capsys)
    assert code == 2 and message in err and not [*tmp_path.iterdir()]


def test_each_signature_has_its_own_section(
    two_resolutions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``bench`` measures a signature by a copy of the file, whose hash is another."""
    model = two_resolutions
    out = tmp_path / "r.json"
    with pytest.raises(SystemExit):
        main(["bench", str(model), "--runs", "2", "--rounds", "2", "--out", str(out)])
    reports = {key: em.verify(model, signature=key).to_json() for key in ("r96", "r64")}
    (tmp_path / "p.json").write_text(json.dumps({"signatures": reports}))
    code, err = _report([model, out, "--parity", tmp_path / "p.json", "--out", tmp_path / "p.html"], capsys)
    assert code == 0, err
    text = _text(tmp_path / "p.html")
    for key, side in (("r96", 96), ("r64", 64)):
        section = text.split(f"{model.name}, signature {key} {SMALL_MODEL}")[1]
        assert section.startswith(f" at {side}, fp32") and f"|1x{side}x{side}x3|" in section
        overview = section.split("What it takes")[0]
        assert overview.count("Latency on") == 1 and "passed, against pytorch" in overview
