"""What has no end, or too many parts, is refused with its limit; one that is odd leaves the others alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.cache import read
from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError
from evit_mobile.processes import OutputLimitError, run_bounded
from evit_mobile.results.files import load, save
from evit_mobile.results.record import MOST_POINTS
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.flatbuffer import pack, read_whole, unpack
from tests.kits.results import device, place, point, results


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_a_program_that_prints_without_end() -> None:
    for stream in ("", ">&2"):
        with pytest.raises(OutputLimitError, match="more than 1000000 bytes"):
            run_bounded(["sh", "-c", f"exec yes {stream}"], timeout_s=60, limit_bytes=10**6)
    with pytest.raises(subprocess.TimeoutExpired):
        run_bounded(["sleep", "60"], timeout_s=0.1, limit_bytes=10)
    done = run_bounded(["sh", "-c", "printf a; printf b >&2; exit 3"], timeout_s=60, limit_bytes=1)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a", b"b")


@pytest.fixture
def hostile_adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``hostile_adb(script)`` puts a program called adb before all others, which runs ``script`` for ``devices``."""

    def write(script: str) -> None:
        program = tmp_path / "adb"
        program.write_text(f'#!/bin/sh\n[ "$1" = devices ] || exit 1\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


@pytest.mark.parametrize("script", ["seq -f 'phone%.0f\tdevice' 1000000", "yes 'phone\tdevice'"])
def test_devices_without_end(
    hostile_adb: Callable[[str], None], capsys: pytest.CaptureFixture[str], script: str
) -> None:
    hostile_adb(script)
    code, out, err = _run(["devices"], capsys)
    (line,) = err.splitlines()
    assert (code, out) == (3, "") and ("1000000 devices" in line or "printed more than" in line)


def test_an_odd_serial(hostile_adb: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    hostile_adb("printf '%s\tdevice\nsound\tunauthorized\n' '-odd;$(reboot)'")
    code, out, _ = _run(["devices", "--json"], capsys)
    odd, sound = json.loads(out)
    assert code == 0 and "not a device serial" in odd["todo"] and sound["state"] == "unauthorized"


def test_points_without_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "many.json"
    save(results([point(place("s", 16), 100)], device(), None, "tokens"), path)
    document = json.loads(path.read_text())
    (only,) = document["points"]
    document["points"] = [{**only, "name": f"p{number}"} for number in range(MOST_POINTS + 1)]
    path.write_text(json.dumps(document))
    for command in (["compare", str(path), str(path)], ["report", str(path), "--out", str(tmp_path / "report.html")]):
        code, _, err = _run(command, capsys)
        assert code == 2 and f"at most {MOST_POINTS} items" in err
    document["points"] = document["points"][:MOST_POINTS]
    path.write_text(json.dumps(document))
    assert len(load(path).points) == MOST_POINTS


def test_an_input_of_a_gigabyte(small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = unpack(small_tflite.read_bytes())
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [1, 16384, 16384, 1]
    path = tmp_path / "large.tflite"
    path.write_bytes(pack(model))
    with pytest.raises(RequestError, match="268435456 elements, the limit is"):
        read_whole(path)
    for command in (
        ["inspect", str(path)],
        ["bench", "--device", "host", str(path), "--out", str(tmp_path / "r.json")],
    ):
        code, out, err = _run(command, capsys)
        assert (code, out) == (2, "") and "elements, the limit is" in err


DAMAGED = [b"", b"[]", b"null", b'{"lock": 1, "python": []}', b"\xff\xfe", b"[" * 100_000, b'{"report": "text"}']


@pytest.mark.parametrize("content", DAMAGED)
def test_files_of_our_own_that_are_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """A runtime's marker, and a report in the cache: the one is half-made, the other is made again."""
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path))
    folder = Path(RUNTIMES["tensorflow"].status().path)
    folder.mkdir(parents=True)
    (folder / "evit-mobile.json").write_bytes(content)
    code, out, _ = _run(["runtimes", "--json"], capsys)
    states = {row["name"]: row["problem"] for row in json.loads(out)}
    assert code == 0 and states["tensorflow"] == "half-made" and states["litert"] is None
    (tmp_path / "kept.json").write_bytes(content)
    (tmp_path / "kept.tflite").write_bytes(b"")
    assert read(tmp_path / "kept.tflite") is None
