"""``evit-mobile report`` as a user meets it; what is on the page is tested in tests/results/test_report.py."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from evit_mobile.cli.main import main
from evit_mobile.results.files import load, save
from evit_mobile.results.record import Component, Core, DeviceInfo, Point, ResultSet, Round, RunSettings

COMMAND = [sys.executable, "-m", "evit_mobile.cli.main", "report"]


def _run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds ``in/r.json``, a result file, and ``in/cut.json``, the first half of it."""
    rounds = tuple(Round(latency_us=(1e4 + step, 1e4)) for step in range(6))
    point = Point(name="m", model_sha256="0" * 64, model_bytes=1, settings=RunSettings(rounds=6), rounds=rounds)
    device = DeviceInfo(
        kind="host", name="host", soc="A CPU", abi="x86_64", cores=(Core(index=0),), os_build="Linux", emulated=False
    )
    results = ResultSet(
        created=datetime(2026, 1, 2, tzinfo=UTC),
        command=("evit-mobile", "bench"),
        components=(Component(name="t", version="1"),),
        device=device,
        points=(point,),
    )
    (tmp_path / "in").mkdir()
    save(results, tmp_path / "in" / "r.json")
    whole = (tmp_path / "in" / "r.json").read_bytes()
    (tmp_path / "in" / "cut.json").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_the_page_is_written_where_it_is_asked_for(folder: Path) -> None:
    done = _run(["in/r.json", "in/r.json", "--out", "page.html"], folder)
    assert (done.returncode, done.stdout.strip()) == (0, "page.html"), done.stderr
    page = (folder / "page.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<h2") == 2
    assert {path.name for path in folder.iterdir()} == {"in", "page.html"}


def test_a_picture_stands_on_the_page(folder: Path) -> None:
    """Inside the page, byte for byte, under its name."""
    Image.new("RGB", (4, 4), "red").save(folder / "in" / "boxes & more.png")
    done = _run(["in/r.json", "--picture", "in/boxes & more.png", "--out", "page.html"], folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "page.html").read_text()
    assert base64.b64encode((folder / "in" / "boxes & more.png").read_bytes()).decode() in page
    assert "boxes &amp; more.png" in page


def test_a_logarithmic_axis_has_plain_numbers(folder: Path) -> None:
    """Two models a hundred times apart: no label is one of matplotlib's formulas."""
    results = load(folder / "in" / "r.json")
    slow = tuple(Round(latency_us=(1e6 + step, 1e6)) for step in range(6))
    save(
        results.with_points((*results.points, results.points[0].model_copy(update={"name": "slow", "rounds": slow}))),
        folder / "r2.json",
    )
    assert _run(["r2.json", "--export", "charts"], folder).returncode == 0
    (picture,) = (folder / "charts").glob("*.svg")
    labels = re.findall(r"<text[^>]*>([^<]+)</text>", picture.read_text())
    assert {"10", "100", "1,000"} & set(labels)
    assert not any("math" in label for label in labels)


def test_by_default_it_lies_beside_the_results_and_replaces_nothing(folder: Path) -> None:
    assert _run(["in/r.json"], folder).returncode == 0
    page = folder / "in" / "report.html"
    page.write_text("mine")
    done = _run(["in/r.json"], folder)
    assert (done.returncode, page.read_text()) == (2, "mine")
    assert "--force" in done.stderr
    assert _run(["in/r.json", "--force"], folder).returncode == 0
    assert page.read_text() != "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["in/cut.json"],
        ["in/r.json", "in/cut.json"],
        ["in"],
        ["absent.json"],
        [],
        ["in/r.json", "--out", "no/r.html"],
        ["in/r.json", "--picture", "absent.png"],
        ["in/r.json", "--picture", "in/cut.json"],
    ],
)
def test_bad_requests(
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one clear line, nothing left behind."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    stdout, stderr = capsys.readouterr()
    assert ended.value.code == 2
    assert stderr and not stdout
    assert {path.name for path in folder.rglob("*")} == {"in", "r.json", "cut.json"}
