"""``evit-mobile compare`` as a user and a CI job meet it; what is called a difference is tested in
tests/results/test_compare.py.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from evit_mobile.cli.main import main
from evit_mobile.results.files import save
from evit_mobile.results.record import Component, Core, DeviceInfo, Point, ResultSet, Round, RunSettings

HOSTILE = "<script>alert(1)</script> @all | `x` [a](http://evil.example) \x1b[2J\n# heading \u202e"


def _write(path: Path, levels: dict[str, float], *, soc: str = "A CPU", seed: int) -> Path:
    rng = np.random.default_rng(seed)
    points = [
        Point(
            name=name,
            model_sha256="0" * 64,
            model_bytes=1,
            settings=RunSettings(),
            rounds=tuple(Round(latency_us=tuple(level * rng.lognormal(0, 0.01, 5))) for _ in range(10)),
        )
        for name, level in levels.items()
    ]
    device = DeviceInfo(
        kind="host", name="host", soc=soc, abi="x86_64", cores=(Core(index=0),), os_build="Linux", emulated=False
    )
    save(
        ResultSet(
            created=datetime(2026, 1, 2, tzinfo=UTC),
            command=("evit-mobile", "bench"),
            device=device,
            points=tuple(points),
            components=(Component(name="t", version=str(seed)),),
        ),
        path,
    )
    return path


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return _write(tmp_path / "before.json", {"a": 1e4, "b": 2e4, HOSTILE: 3e4}, seed=1)


@pytest.fixture
def after(tmp_path: Path) -> Path:
    return _write(tmp_path / "after.json", {"a": 1.2e4, "b": 1.8e4, HOSTILE: 3e4}, seed=2)


def _run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    stdout, stderr = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, stdout, stderr


def test_the_table_says_what_became_slower(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, stdout, stderr = _run(capsys, before, after)
    assert (code, stderr) == (0, "")
    lines = {line.split()[0]: line for line in stdout.splitlines() if line.strip()}
    assert (
        "slower" in lines["a"]
        and "faster" in lines["b"]
        and "no difference shown" in lines["<script>alert(1)</script>"]
    )
    assert "1 slower, 1 faster, 1 no difference shown" in stdout
    assert "\x1b" not in stdout and "\u202e" not in stdout


@pytest.mark.parametrize(("limit", "code"), [("5%", 1), ("30%", 0), ("0%", 1), ("12.5 %", 1)])
def test_ci_fails_where_a_model_is_slower_than_allowed(
    limit: str, code: int, before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, stdout, stderr = _run(capsys, before, after, "--fail-if-slower", limit)
    assert exit_code == code and "no difference shown" in stdout
    assert ("1 of 3 regressed: a is 19" in stderr) == (code == 1)


def test_json_is_one_document(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, stdout, stderr = _run(capsys, before, after, "--json", "--fail-if-slower", "5%")
    document = json.loads(stdout)
    assert code == 1 and "regressed" in stderr
    assert document["regressed"] == ["a"] and document["limit"] == 0.05
    first = document["differences"][0]
    assert (first["name"], first["verdict"], first["is_significant"], first["quantity"]) == (
        "a",
        "slower",
        True,
        "latency_us",
    )
    assert first["interval"]["low"] < first["ratio"] < first["interval"]["high"]
    assert first["before"] == pytest.approx(1e4, rel=0.02)


def test_markdown_shows_hostile_names_as_code(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Outside of code spans there is no markup that is not ours, and each row has its seven cells."""
    code, stdout, _ = _run(capsys, before, after, "--markdown", "--fail-if-slower", "5%")
    assert code == 1 and "**1 regressed** by more than 5%" in stdout
    rows = [line for line in stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and all(row.count("|") == 8 for row in rows)
    hostile = next(row for row in rows if "script" in row)
    assert hostile.startswith("| ``<script>alert(1)</script> @all ¦ `x`") and hostile.count("``") == 2
    assert not [line for line in stdout.splitlines() if line.startswith("# heading")]


def test_unlike_devices_are_refused_in_one_line(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _write(tmp_path / "other.json", {"a": 1e4}, soc="Another\x1b[2J", seed=3)
    code, stdout, stderr = _run(capsys, before, other)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert "soc was A CPU and is Another\ufffd[2J" in stderr
    assert _run(capsys, before, other, "--allow-unlike")[0] == 0


@pytest.mark.parametrize("limit", ["5", "-5%", "x%", "", "99999%"])
def test_what_is_no_percentage(limit: str, before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, stdout, stderr = _run(capsys, before, after, "--fail-if-slower", limit)
    assert (code, stdout) == (2, "") and "percentage" in stderr


def test_files_that_are_broken_or_newer(before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = before.read_text()
    for name, content, said in (
        ("cut.json", whole[: len(whole) // 2], "is truncated"),
        ("newer.json", whole.replace('"schema_version": 3', '"schema_version": 9'), "newer evit-mobile"),
        ("key.json", whole.replace('"points"', '"\\u001b[2J": 0, "points"', 1), "\ufffd[2J"),
    ):
        (tmp_path / name).write_text(content)
        for arguments in ((before, tmp_path / name), (tmp_path / name, before)):
            code, stdout, stderr = _run(capsys, *arguments)
            assert (code, stdout, stderr.count("\n")) == (2, "", 1) and said in stderr, stderr
    assert _run(capsys, before)[0] == _run(capsys, before, tmp_path / "absent.json")[0] == 2


def test_a_file_of_the_first_version_is_compared_with_one_of_this(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    old.write_text(before.read_text().replace('"schema_version": 3', '"schema_version": 1'))
    code, stdout, _ = _run(capsys, old, before)
    assert code == 0 and "3 no difference shown" in stdout
