"""The op profile that ``benchmark_model`` writes as CSV.

The file is not quoted, and a node type may hold commas (``Convolution (NHWC, F32) IGEMM``), so a row is split from its right end.
Where the name of a node held a comma it was replaced by a tab. XNNPACK's ops are rows ``Delegate/<type>:N`` whose N counts anew in
each partition.
"""

from __future__ import annotations

import re
from typing import Iterable

from android_bench.benchmark_model import BenchmarkError
from evit_mobile.results.record import OpTime

_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_ORDER = re.compile(r"^=+ Run Order =+$")
_COLUMNS = ["node type", "first", "avg_ms", "%", "cdf%", "mem KB", "times called", "name"]
_DELEGATED = re.compile(r"^Delegate/(.*):(\d+)$")


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
    return tuple(_rows(lines))


def _rows(lines: Iterable[str]) -> Iterable[OpTime]:
    partition, last = -1, -1
    for line in lines:
        if not line.strip():
            return
        kind, _, mean_ms, _, _, _, calls, name = line.rsplit(", ", len(_COLUMNS) - 1)
        delegated = _DELEGATED.match(name)
        if delegated is not None:
            # Where N does not grow, the next partition began.
            partition += partition < 0 or int(delegated[2]) <= last
            last = int(delegated[2])
        yield OpTime(
            op=kind.strip(),
            name=name.replace("\t", ",").strip(),
            partition=partition if delegated is not None else None,
            mean_us=float(mean_ms) * 1e3,
            calls=int(calls),
        )
