"""``evit-mobile bench --suite`` on this machine: a user's own small suite, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evit_mobile.cli.main import main
from evit_mobile.results.files import load

SUITE = """
title: Two layers
figure: figure-2-left
along: tokens
series:
  - name: linear
    attention: linear
    models: [{model: attention-linear, resolutions: [14]}]
  - name: softmax
    attention: softmax
    models: [{model: attention-softmax, resolutions: [14, 128]}]
reference: {model: attention-linear, resolution: 14}
measure: {rounds: 6, most_rounds: 6, min_time_s: 0.002, budget_s: 60}
"""
#: Conversions in the command's own process: workers would import PyTorch again, each.
HERE = ("--jobs", "1")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(SUITE)
    return path


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *map(str, arguments)])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_a_suite_is_measured_and_judged(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.json"
    code, text, _ = _run(capsys, "--suite", suite, "--out", out, "--json")
    [document] = json.loads(text)["results"]
    assert code == 0 and document["verdicts"][0]["outcome"] in ("same direction", "opposite", "not comparable")
    results = load(out)
    assert [point.name for point in results.points] == [
        "attention-linear@14",
        "attention-softmax@14",
        "attention-softmax@128",
    ]
    linear, softmax, large = results.points
    assert len(linear.rounds) == len(softmax.rounds) == 6 and linear.place is not None and linear.place.macs
    assert (large.limit, large.rounds, large.model_sha256) == ("does not fit", (), None)
    [reference] = results.references
    assert len(reference.rounds) == 6 and reference.name not in [point.name for point in results.points]
    code, text, _ = _run(capsys, "--suite", suite, "--out", out, "--resume")
    assert code == 0 and "does not fit" in text and "not Snapdragon figures" in text and load(out) == results


def test_killed_and_gone_on_with(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.json"
    command = [sys.executable, "-m", "evit_mobile.cli.main", "bench", "--suite", str(suite), "--out", str(out), *HERE]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (
            out.exists() and sum(len(point.rounds) for point in load(out).points) >= 3
        ):
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = load(out)
    assert 3 <= sum(len(point.rounds) for point in before.points) < 12
    code, _, _ = _run(capsys, "--suite", suite, "--out", out, "--resume", *HERE)
    after = load(out)
    assert code == 0 and all(len(point.rounds) == 6 for point in after.points if point.limit is None)
    for old, new in zip(before.points, after.points):
        assert new.rounds[: len(old.rounds)] == old.rounds


def test_several_devices_have_a_file_each(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A device that cannot be used ends it before anything is measured.
    code, _, err = _run(
        capsys, "--suite", suite, "--device", "host", "--device", "nonsense", "--out", tmp_path / "both"
    )
    assert code == 2 and "nonsense" in err
    code, _, err = _run(
        capsys, "--suite", suite, "--device", "host", "--device", "adb", "--out", tmp_path / "both.json"
    )
    assert code == 2 and "folder" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "figure-9"], "figure-2-left"),
        (["--budget", "5"], "--suite"),
        (["--suite", "smoke", "--model", "x"], "itself defines"),
        (["--suite", "smoke", "--up-to", "3", "--out", "r.json"], "--up-to"),
        (["--suite", "smoke", "--resume"], "--out"),
        (["--suite", "smoke", "--memory-limit", "lots"], "8G"),
        (["--device", "host", "--device", "adb"], "--suite"),
    ],
)
def test_wrong_requests(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = _run(capsys, *arguments)
    assert code == 2 and said in err and err.count("\n") == 1


def test_going_on_with_another_suite_is_refused(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    assert _run(capsys, "--suite", suite, "--up-to", 196, "--rounds", 1, "--out", out, *HERE)[0] == 0
    suite.write_text(SUITE + "# changed\n")
    code, _, err = _run(capsys, "--suite", suite, "--out", out, "--resume")
    assert code == 2 and "not this two" in err
