"""A suite file that is too much, or no suite: one line that says where, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from android_bench.suites.schema import load_suite
from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError

HEAD = "title: t\nalong: tokens\n"
MODEL = "{model: attention-linear, resolutions: [14]}"
SERIES = f"series:\n  - {{name: a, models: [{MODEL}]}}\n"
HOSTILE = {
    "nested": ("[" * 2000, "nested too deep|not YAML"),
    "nested pairs": (HEAD + "series: " + "{a: " * 2000, "nested too deep|not YAML"),
    "a number of letters": (HEAD + "x: !!int x\n", "not YAML"),
    "a month 13": (HEAD + "x: 2026-13-01\n", "not YAML"),
    "a time of letters": (HEAD + "x: !!timestamp x\n", "not YAML"),
    "not base64": (HEAD + "x: !!binary '='\n", "not"),
    "resolutions": (
        HEAD + f"series:\n  - {{name: a, models: [{{model: m, resolutions: {list(range(32, 100_032))}}}]}}\n",
        "series.0.models.0.resolutions",
    ),
    "rounds": (HEAD + SERIES + f"measure: {{rounds: {10**30}}}\n", "measure.rounds"),
    "runs": (HEAD + SERIES + f"measure: {{runs: {10**9}}}\n", "measure.runs"),
    "seed": (HEAD + SERIES + f"measure: {{seed: {10**400}}}\n", "measure.seed"),
    "seed of many digits": (HEAD + SERIES + f"measure: {{seed: {'9' * 5000}}}\n", "not YAML|measure.seed"),
    "budget": (HEAD + SERIES + "measure: {budget_s: .inf}\n", "measure.budget_s"),
    "no number": (HEAD + SERIES + "measure: {interval_percent: .nan}\n", "measure.interval_percent"),
    "large": ("#" * 2**21, "too large"),
    "aliases": (HEAD + "a: &a [x]\nb: [" + "*a, " * 1000 + "]\n", "aliases"),
    "a call": ("!!python/object/apply:os.abort []", "not YAML"),
}


@pytest.mark.parametrize(("content", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_suites(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(content)
    with pytest.raises(RequestError, match=words) as caught:
        load_suite(str(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "options",
    [
        ["--memory-limit", "0.0000000001"],
        ["--memory-limit", "9" * 400],
        ["--threads", "1000000"],
        ["--jobs", "1000000"],
    ],
)
def test_options_out_of_range(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--suite", "smoke", *options])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "bug" not in err and ("range" in err or "is not a" in err or "memory size" in err), err
