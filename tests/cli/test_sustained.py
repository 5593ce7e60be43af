"""``evit-mobile bench --sustained`` and ``--every`` on the host, as a user meets them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evit_mobile.cli.main import main
from evit_mobile.results.files import load
from evit_mobile.results.record import ResultSet
from evit_mobile.results.timeline import Timeline

COMMAND = [sys.executable, "-m", "evit_mobile.cli.main", "bench"]


def _run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def _timeline(path: Path) -> Timeline:
    timeline = load(path).timeline
    assert timeline is not None
    return timeline


def test_one_model_has_the_whole_time_in_one_process(tiny_tflite: Path, tmp_path: Path) -> None:
    done = _run(tmp_path, tiny_tflite, "--sustained", "2s", "--out", "r.json", "--json")
    assert done.returncode == 0, done.stderr
    document, timeline = json.loads(done.stdout), _timeline(tmp_path / "r.json")
    [turn] = timeline.turns
    assert timeline.is_complete and timeline.period_us is None and not timeline.gaps
    assert turn.init_us and turn.first_inference_us and len(turn.warmup_us) == 3 and turn.cores_mask
    assert all(window.late is None and window.dropped is None for window in turn.windows)
    starts = [window.at_s for window in turn.windows]
    assert starts == sorted(starts) and starts[-1] < timeline.end_s
    [point] = document["points"]
    assert point["calls"] == sum(window.calls for window in turn.windows) > 0
    assert document["gaps"] == [] and document["order"] == [tiny_tflite.stem]
    assert document["notes"]


def test_several_models_take_turns_there_and_back(tiny: Callable[[int], Path], tmp_path: Path) -> None:
    first, second = tiny(8), tiny(12)
    done = _run(tmp_path, first, second, "--sustained", "3s", "--out", "r.json")
    assert done.returncode == 0, done.stderr
    names = [turn.point for turn in _timeline(tmp_path / "r.json").turns]
    expected = [first.stem, second.stem, second.stem, first.stem]
    assert names[:4] == expected and set(names[4:]) <= set(expected)
    assert all(len(turn.warmup_us) == 3 for turn in _timeline(tmp_path / "r.json").turns)
    assert "The models took turns" in done.stdout


def test_a_camera_has_a_frame_for_each_period(tiny_tflite: Path, tmp_path: Path) -> None:
    done = _run(tmp_path, tiny_tflite, "--every", "50ms", "--sustained", "2s", "--out", "r.json", "--json")
    assert done.returncode == 0, done.stderr
    timeline = _timeline(tmp_path / "r.json")
    [frames] = [point["frames"] for point in json.loads(done.stdout)["points"]]
    assert timeline.period_us == 50_000
    # 2 s hold 40 periods; the newest frame may be dropped at the end only by being the last.
    assert frames["due"] <= 40 and frames["missed"] == frames["late"] + frames["dropped"]
    assert frames["due"] == sum(window.calls + (window.dropped or 0) for window in timeline.turns[0].windows)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sustained", "30"],
        ["--sustained", "0s"],
        ["--sustained", "-1m"],
        ["--sustained", "25h"],
        ["--sustained", "nan s"],
        ["--sustained", "1e3s"],
        ["--every", "33"],
        ["--every", "0ms"],
        ["--every", "2m"],
        ["--sustained", "1s", "--every", "600ms"],
        ["--sustained", "2s", "--rounds", "3"],
        ["--sustained", "2s", "--threads", "1", "--threads", "2"],
        ["--sustained", "2s", "--resume"],
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tiny_tflite: Path,
    tmp_path: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(tiny_tflite), *arguments])
    words = capsys.readouterr().err
    assert ended.value.code == 2 and words.startswith("error: ") and words.count("\n") == 1, words
    assert not list(tmp_path.iterdir())


def test_killed_and_resumed_it_has_a_marked_gap(tiny_tflite: Path, tmp_path: Path) -> None:
    out, arguments = tmp_path / "r.json", [str(tiny_tflite), "--sustained", "4s", "--out", "r.json", "--resume"]
    process = subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not out.exists() or len(_timeline(out).moments) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = _timeline(out)
    assert not before.is_complete
    done = _run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    after = _timeline(out)
    [gap] = after.gaps
    assert gap.at_s == before.end_s and gap.lasted_s > 0
    assert after.is_complete and len(after.turns) == 2
    assert after.turns[0] == before.turns[0] and after.moments[: len(before.moments)] == before.moments
    assert after.turns[1].at_s >= gap.at_s
    assert "Interrupted after" in done.stdout
    again = _run(tmp_path, *arguments)
    assert again.returncode == 0 and _timeline(out) == after
    other = _run(tmp_path, tiny_tflite, "--sustained", "5s", "--out", "r.json", "--resume")
    assert other.returncode == 2 and "another duration" in other.stderr


def test_without_the_options_the_file_is_what_it_was(tiny_tflite: Path, tmp_path: Path) -> None:
    """Schema 3, and none of the fields that came with timelines."""
    done = _run(tmp_path, tiny_tflite, "--runs", "6", "--rounds", "6", "--out", "r.json")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.json").read_text()
    document = json.loads(text)
    assert document["schema_version"] == 3 and list(document) == [
        "schema_version", "created", "command", "components", "device", "points", "references",
    ]  # fmt: skip
    assert set(document["points"][0]["rounds"][0]) == {
        "latency_us", "init_us", "first_inference_us", "warmup_us", "peak_memory_bytes", "cores_mask", "before",
        "after",
    }  # fmt: skip
    assert ResultSet.model_validate_json(text).timeline is None


def test_a_model_that_fails_ends_in_3(dividing_tflite: Path, tiny_tflite: Path, tmp_path: Path) -> None:
    done = _run(tmp_path, dividing_tflite, tiny_tflite, "--sustained", "2s", "--out", "r.json")
    assert done.returncode == 3 and "does not run" in done.stderr
    results = load(tmp_path / "r.json")
    assert results.points[0].error and {turn.point for turn in _timeline(tmp_path / "r.json").turns} == {
        tiny_tflite.stem
    }
