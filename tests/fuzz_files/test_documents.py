"""Suites and result files, one to three values changed, or bytes: read, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from android_bench.suites.schema import FOLDER, load_suite
from evit_mobile.results.files import load, save
from evit_mobile.results.summary import rows
from tests.fuzz_files.harness import fuzz, refused_or_read
from tests.fuzz_files.mutate import damaged, mutated
from tests.kits.results import device, layer

SUITE = FOLDER / "figure-2-left.yaml"


def test_suites(tmp_path: Path) -> None:
    path, content = tmp_path / "suite.yaml", SUITE.read_bytes()

    def read(case: Any) -> None:
        path.write_bytes(case if isinstance(case, bytes) else yaml.safe_dump(case, allow_unicode=True).encode())
        with refused_or_read():
            load_suite(str(path)).points()

    fuzz(st.one_of(mutated(yaml.safe_load(content)), damaged(content)), read, 300)


def test_result_files(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save(layer(lambda tokens: 2 * tokens, lambda tokens: 0.4 * tokens**1.6, device()), path)
    content = path.read_bytes()

    def read(case: Any) -> None:
        path.write_bytes(case if isinstance(case, bytes) else json.dumps(case).encode("utf-8", "surrogatepass"))
        with refused_or_read():
            rows(load(path).points)

    fuzz(st.one_of(mutated(json.loads(content)), damaged(content)), read, 300)
