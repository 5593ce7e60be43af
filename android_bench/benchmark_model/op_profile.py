"""The op profile of ``benchmark_model``: CSV in a file by the classic program, a table in its log by the newer one.

The CSV is not quoted, and a node type may hold commas (``Convolution (NHWC, F32) IGEMM``), so a row is split from its
right end. Where the name of a node held a comma it was replaced by a tab. XNNPACK's ops are rows ``Delegate/<type>:N``
whose N starts again in each partition. Rows whose name does not end in ``:N`` are not ops, but what contains or
prepares them.

The table of the newer program is of its last inference. Its rows are named ``[Delegate]:N`` and ``[Builtin]:N`` and
stand for all ops of one type with the same N, whatever their partition.
"""

from __future__ import annotations

import itertools
import re
from typing import Iterable

from android_bench.benchmark_model.output import BenchmarkError
from evit_mobile.results.record import OpTime

_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_ORDER = re.compile(r"^=+ Run Order =+$")
_COLUMNS = ["node type", "first", "avg_ms", "%", "cdf%", "mem KB", "times called", "name"]
_LITERT_HEADER = [
    "[node",
    "type]",
    "[start]",
    "[first]",
    "[avg",
    "ms]",
    "[%]",
    "[cdf%]",
    "[mem",
    "KB]",
    "[times",
    "called]",
    "[Name]",
]
#: Node type, mean time in milliseconds, calls, name; between them start, first, shares and memory.
_LITERT_ROW = re.compile(r"^\s*(.+?)\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+\S+%\s+\S+%\s+[\d.]+\s+(\d+)\s+(\S.*)$")
_OP = re.compile(r"^(Delegate/|\[Delegate\])?.*:(\d+)$")


def parse_csv(text: str) -> tuple[OpTime, ...]:
    """The ops of one inference in the order in which they ran.

    Raises:
        BenchmarkError: the text holds no such table.
    """
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip().endswith(_RUNS):
            break
    for line in lines:
        if _ORDER.match(line.strip()):
            break
    header = next(lines, "")
    if header.strip().split(", ") != _COLUMNS:
        raise BenchmarkError("the op profile is not in a form that is known here", hint="take a newer benchmark_model")
    rows = (line.rsplit(", ", len(_COLUMNS) - 1) for line in _block(lines))
    return tuple(
        _ops((kind, mean_ms, calls, name.replace("\t", ",")) for kind, _, mean_ms, _, _, _, calls, name in rows)
    )


def parse_log(text: str) -> tuple[OpTime, ...]:
    """As ``parse_csv``, of the table that LiteRT's newer program leaves in its log.

    Raises:
        BenchmarkError: the text holds no such table.
    """
    lines = iter(text.splitlines())
    for line in lines:
        if _ORDER.match(line.strip()):
            break
    if next(lines, "").split() != _LITERT_HEADER:
        raise BenchmarkError(
            "benchmark_model gave no op profile in a form that is known here", hint="take a newer benchmark_model"
        )
    matches = [match for line in _block(lines) if (match := _LITERT_ROW.match(line))]
    # The mean is over the calls of one inference.
    rows = ((row[1], str(float(row[2]) * int(row[3])), row[3], row[4]) for row in matches)
    return tuple(_ops((kind.removeprefix("Delegate/"), mean_ms, calls, name) for kind, mean_ms, calls, name in rows))


def _block(lines: Iterable[str]) -> Iterable[str]:
    return itertools.takewhile(str.strip, lines)


def _ops(rows: Iterable[tuple[str, str, str, str]]) -> Iterable[OpTime]:
    """Of rows of node type, mean time in milliseconds, calls and name."""
    partition, last = -1, -1
    for kind, mean_ms, calls, name in rows:
        op = _OP.match(name.strip())
        if op is None:
            continue
        if op[1]:
            # Where N does not grow, the next partition began.
            partition += partition < 0 or int(op[2]) <= last
            last = int(op[2])
        yield OpTime(
            op=kind.strip(),
            name=name.strip(),
            partition=partition if op[1] else None,
            mean_us=float(mean_ms) * 1e3,
            calls=int(calls),
        )
