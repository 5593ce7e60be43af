"""``evit-mobile bench`` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evit_mobile.cli.main import main
from evit_mobile.results.files import load
from evit_mobile.weights import sha256_of

COMMAND = [sys.executable, "-m", "evit_mobile.cli.main", "bench"]
QUICK = ["--runs", "6", "--rounds", "6"]


def _run(arguments: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_two_models_one_document(small_tflite: Path, tmp_path: Path) -> None:
    done = _run([small_tflite, small_tflite, *QUICK, "--threads", "2", "--out", "r.json", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    results = load(tmp_path / document["out"])
    assert results.device.kind == "host" and not results.device.emulated
    assert results.command[0] == "evit-mobile" and "--threads" in results.command
    assert [point.name for point in results.points] == [small_tflite.stem, f"{small_tflite.stem} (2)"]
    for point, shown in zip(results.points, document["points"], strict=True):
        assert point.model_sha256 == sha256_of(small_tflite)
        assert (point.resolution, point.precision, point.settings.threads) == ("96", "fp32", 2)
        assert point.is_complete and point.ops and point.partitions and point.undelegated_ops is not None
        assert all(
            len(entry.warmup_us) == 3 and entry.init_us and entry.before and entry.after for entry in point.rounds
        )
        low, high = shown["latency_us"]["interval"]["low"], shown["latency_us"]["interval"]["high"]
        assert 0 < low <= shown["latency_us"]["median"] <= high
    first, second = document["points"]
    assert first["ratio_to_first"] is None
    inside = second["ratio_to_first"]["interval"]["low"] <= 1 <= second["ratio_to_first"]["interval"]["high"]
    assert (second["verdict"] is None) == inside
    assert "not Snapdragon" in document["caveats"][0]


def test_a_name_is_converted_and_the_result_file_is_named(small_tflite: Path, tmp_path: Path) -> None:
    """The same conversion as ``small_tflite``, from the cache."""
    done = _run(["--model", "base-r192", "--resolution", "96", *QUICK], tmp_path)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "results").iterdir()
    assert path.name.startswith("host-") and f"results/{path.name}" in done.stdout
    [point] = load(path).points
    assert (point.name, point.model_sha256) == ("base-r192@96", sha256_of(small_tflite))
    assert "base-r192@96" in done.stdout and " ms" in done.stdout


def test_by_default_base_r224_is_run_fifty_times(base_r224_tflite: Path, tmp_path: Path) -> None:
    done = _run([], tmp_path)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "results").iterdir()
    [point] = load(path).points
    assert (point.name, point.model_sha256) == ("base-r224", sha256_of(base_r224_tflite))
    assert sum(map(len, point.values)) >= 50 and len(point.rounds) >= 10


def test_a_model_that_does_not_run_ends_in_3_and_the_others_are_kept(
    small_tflite: Path, dividing_tflite: Path, tmp_path: Path
) -> None:
    done = _run([dividing_tflite, small_tflite, *QUICK, "--out", "r.json"], tmp_path)
    assert done.returncode == 3
    assert "does not run" in done.stderr and "Traceback" not in done.stderr
    failed, good = load(tmp_path / "r.json").points
    assert failed.error is not None and not failed.rounds
    assert good.is_complete
    assert "failed" in done.stdout


def test_interrupted_it_keeps_what_it_has(small_tflite: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    process = subprocess.Popen(
        [*COMMAND, str(small_tflite), "--rounds", "10000", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not out.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert str(out) in stderr and "Traceback" not in stderr and not stdout
    [point] = load(out).points
    assert 1 <= len(point.rounds) < 10000 and not point.is_complete
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_existing_results_are_not_replaced_before_or_after_measuring(small_tflite: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    out.write_text("mine")
    done = _run([small_tflite, "--out", out], tmp_path)
    assert (done.returncode, out.read_text()) == (2, "mine")
    assert "--force" in done.stderr
    assert _run([small_tflite, *QUICK, "--out", out, "--force"], tmp_path).returncode == 0
    assert load(out).points


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "phone"], "host"),
        (["--device", "host:1"], "no address"),
        (["--runtime", "onnx"], "litert"),
        (["--model", "base-r225"], "base-r224"),
        (["absent.tflite"], "absent.tflite"),
        (["foreign.tflite"], "foreign.tflite"),
        (["foreign.tflite", "--resolution", "96"], "--resolution"),
        (["--cores", "big"], "hexadecimal"),
        (["--out", "nowhere/r.json"], "nowhere"),
        (["--out", "."], "folder"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_bad_requests(
    arguments: list[str],
    said: str,
    small_tflite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one clear line, nothing left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.tflite").write_bytes(b"\x89PNG" * 100)
    named = "--model" in arguments or "foreign.tflite" in arguments or "absent.tflite" in arguments
    with pytest.raises(SystemExit) as ended:
        main(["bench", *([] if named else [str(small_tflite)]), *arguments, *QUICK])
    stdout, stderr = capsys.readouterr()
    assert ended.value.code == 2, stderr
    assert said in stderr and not stdout
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.tflite"]


def test_progress_is_for_terminals_alone(small_tflite: Path, tmp_path: Path) -> None:
    """Nothing but the runtime's own line on stderr of a pipe; a bar on that of a terminal."""
    done = _run([small_tflite, *QUICK, "--out", "r.json"], tmp_path)
    assert "measuring" not in done.stderr and "\x1b" not in done.stderr + done.stdout
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, str(small_tflite), *QUICK, "--out", "t.json"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert b"measuring" in shown
