"""ONNX's node tests through ``convert``: ``python -m benchmarks.nodes.run``. An oracle that is not ours.

Every test of one operator (or of its definition by others) that the installed onnx brings: its graph is converted, and
the file has to compute the test's own outputs. A process converts one after the other; it is replaced where it hangs or
dies. What was judged is written after every tenth test, and a run goes on where the last one stopped.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.nodes.cases import case_folders, op_of
from benchmarks.nodes.worker import Outcome, Verdict
from benchmarks.results_files import out_option, write_results
from evit_mobile.errors import MachineError
from evit_mobile.runtimes.client import CallError, Worker

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "benchmarks/results/onnx_nodes.md"
#: Seconds that a test may take.
LIMIT_S = 120
#: Characters of a reason in the table.
_REASON = 150


class Judge:
    """The process that judges."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def __call__(self, name: str, folder: Path) -> Verdict:
        """The verdict on a test; a process that hangs or dies over it is an outcome too."""
        if self._worker is None:
            paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            command = [sys.executable, "-P", "-m", "benchmarks.nodes.worker"]
            variables = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
            self._worker = Worker(command, "the conversion", variables=variables)
        try:
            answer, _ = self._worker.call("judge", timeout_s=LIMIT_S, name=name, folder=str(folder))
        except CallError as error:
            return Verdict(name, op_of(folder), Outcome.FAILED, f"{error.kind}: {error}", 0)
        except MachineError as error:
            self._worker = None
            return Verdict(name, op_of(folder), Outcome.FAILED, error.message, LIMIT_S)
        return Verdict(**{**answer, "outcome": Outcome(answer["outcome"])})


def render(verdicts: list[Verdict]) -> str:
    """Markdown: the counts, what is not right by its reason, then the counts by operator."""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    lines = [
        "The first input of each test stays an input, all others are constants. A file is right where it gives the "
        "test's own outputs,",
        "with and without XNNPACK, within 1e-4 of an output's largest magnitude (2^-9 in half precision) and, as onnx "
        "allows, 1e-3 of a value.",
        "",
        "| outcome | tests |",
        "| --- | ---: |",
        *(f"| {outcome} | {outcomes[outcome]} |" for outcome in Outcome),
        f"| all | {len(verdicts)} |",
    ]
    titles = {
        Outcome.WRONG: "Wrong files",
        Outcome.DISPUTED: "As ONNX Runtime computes it, not as the test",
        Outcome.FAILED: "Conversions that failed (exit code 4)",
        Outcome.STOPPED: "Stopped by the check of what was made (exit code 1)",
        Outcome.REFUSED: "Refused (exit code 2)",
    }
    for outcome, title in titles.items():
        lines += _reasons(title, [verdict for verdict in verdicts if verdict.outcome == outcome])
    lines += [
        "",
        "By operator:",
        "",
        "| operator | " + " | ".join(Outcome) + " |",
        "| --- |" + " ---: |" * len(Outcome),
    ]
    by_op: dict[str, Counter[Outcome]] = {}
    for verdict in verdicts:
        by_op.setdefault(verdict.op, Counter())[verdict.outcome] += 1
    for op in sorted(by_op):
        lines.append(f"| {op} | " + " | ".join(str(by_op[op][outcome] or "") for outcome in Outcome) + " |")
    return "\n".join(lines) + "\n"


def _reasons(title: str, verdicts: list[Verdict]) -> list[str]:
    if not verdicts:
        return []
    tests: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        tests.setdefault(_general(verdict), []).append(verdict)
    lines = ["", f"{title}:", "", "| reason | tests | operators |", "| --- | ---: | --- |"]
    for reason, those in sorted(tests.items(), key=lambda item: -len(item[1])):
        ops = ", ".join(dict.fromkeys(verdict.op for verdict in those))
        lines.append(f"| {reason} | {len(those)} | {ops} |")
    return lines


def _general(verdict: Verdict) -> str:
    """A reason without what belongs to one test: the file's name, nodes, sizes."""
    words = (verdict.reason or "").replace(f"{verdict.name}.onnx", "the file")
    words = re.sub(r" at boundary/\S+| at [\w/.]+(?=[:,; ])", "", words)
    words = re.sub(r"\d[\d.e+-]*|\[[^]]*\]", "…", words).replace("|", "\\|")
    return words if len(words) <= _REASON else words[:_REASON] + "…"


def _known(out: Path) -> dict[str, Verdict]:
    path = out.with_suffix(".json")
    if not path.exists():
        return {}
    rows = [{**row, "outcome": Outcome(row["outcome"])} for row in json.loads(path.read_text())["tests"]]
    return {row["name"]: Verdict(**row) for row in rows}


@click.command()
@click.option("--only", multiple=True, help="Tests by name, or by the beginning of it.")
@click.option("--anew", is_flag=True, help="Judge what is known, too.")
@click.option("--mended", is_flag=True, help="Judge what was not right, too.")
@out_option(RESULTS)
def main(only: tuple[str, ...], anew: bool, mended: bool, out: Path) -> None:
    """Judge the tests, and write the table (.md) and the verdicts (.json)."""
    folders = case_folders()
    known = {name: verdict for name, verdict in _known(out).items() if name in folders}
    chosen = [name for name in sorted(folders) if not only or name.startswith(only)]
    right = {name for name, verdict in known.items() if verdict.outcome == Outcome.RIGHT}
    missing = [name for name in chosen if anew or name not in (right if mended else known)]
    judge = Judge()
    for number, name in enumerate(missing, 1):
        known[name] = judge(name, folders[name])
        if known[name].outcome != Outcome.RIGHT:
            click.echo(f"{name}: {known[name].outcome}: {known[name].reason}")
        if number % 10 == 0 or number == len(missing):
            _write(out, list(known.values()))


def _write(out: Path, verdicts: list[Verdict]) -> None:
    import onnx

    ordered = sorted(verdicts, key=lambda verdict: verdict.name)
    write_results(out, render(ordered), {"onnx": onnx.__version__, "tests": [asdict(verdict) for verdict in ordered]})


if __name__ == "__main__":
    main()
