"""Cycles of code by LLVM's scheduling models (llvm-mca).

A block's cost is what it adds to the time at which the code before it retires: the cycles of (history + block) less
those of (history). So the sum over an inference is the time at which its last instruction retires, with all that
overlaps between blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from android_bench.estimate.tools import Llvm
from evit_mobile.errors import MachineError
from evit_mobile.files import cache_folder

#: Regions per process of llvm-mca.
BATCH = 100
#: The features of the processors that are estimated, beyond Armv8.0: without them llvm-mca refuses their instructions.
FEATURES = "+dotprod,+fullfp16,+i8mm,+bf16,+lse,+rdm,+rcpc"
TIMEOUT_S = 300.0

_RESULT = re.compile(r"Code Region - (\d+)\n\nIterations:\s+1\nInstructions:\s+\d+\nTotal Cycles:\s+(\d+)")

Region = tuple[str, ...]


class Scheduler:
    """Cycles of straight-line code on one core; known results are kept in the cache folder, by the code's hash."""

    def __init__(self, llvm: Llvm, core: str) -> None:
        self._llvm, self._core = llvm, core

    def cycles(self, regions: Iterable[Region]) -> dict[Region, int]:
        """Cycles from the first instruction's dispatch to the last one's retirement, by region.

        Raises:
            MachineError: llvm-mca does not know the core, or fails.
        """
        distinct = [region for region in dict.fromkeys(regions) if region]
        keys = {region: self._key(region) for region in distinct}
        with _database() as database:
            known = dict(database.execute("SELECT key, cycles FROM cycles"))
        new = [region for region in distinct if keys[region] not in known]
        batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
        with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            results = [cycles for batch in pool.map(self._run, batches) for cycles in batch]
        known.update(zip((keys[region] for region in new), results, strict=True))
        with _database() as database:
            rows = [(keys[region], cycles) for region, cycles in zip(new, results, strict=True)]
            database.executemany("INSERT OR IGNORE INTO cycles VALUES (?, ?)", rows)
        return {(): 0, **{region: known[keys[region]] for region in distinct}}

    def _key(self, region: Region) -> str:
        return hashlib.sha256("\n".join([self._llvm.version, self._core, FEATURES, *region]).encode()).hexdigest()

    def _run(self, regions: Sequence[Region]) -> list[int]:
        parts = [
            f"# LLVM-MCA-BEGIN {number}\n{_text(region)}\n# LLVM-MCA-END\n" for number, region in enumerate(regions)
        ]
        options = ["-mtriple=aarch64-linux-gnu", f"-mcpu={self._core}", f"-mattr={FEATURES}", "-iterations=1"]
        options += ["-resource-pressure=0", "-instruction-info=0", "-skip-unsupported-instructions=any"]
        done = subprocess.run(
            [self._llvm.mca, *options], input="".join(parts), capture_output=True, text=True, timeout=TIMEOUT_S
        )
        cycles = {int(number): int(count) for number, count in _RESULT.findall(done.stdout)}
        if done.returncode or "not a recognized processor" in done.stderr or len(cycles) != len(regions):
            errors = [line for line in done.stderr.splitlines() if "error" in line or "not a recognized" in line]
            raise MachineError(
                f"llvm-mca {self._llvm.version} failed for {self._core}: {(errors or ['no result'])[0].strip()}"
            )
        return [cycles[number] for number in range(len(regions))]


def _text(region: Region) -> str:
    return "\n".join(region)


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    """Where results are kept; a file that is damaged is replaced, as nothing in it is more than saved time."""
    path = cache_folder("estimate") / "cycles.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = _open(path)
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        connection = _open(path)
    with contextlib.closing(connection), connection:
        yield connection


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("CREATE TABLE IF NOT EXISTS cycles (key TEXT PRIMARY KEY, cycles INTEGER NOT NULL)")
    return connection
