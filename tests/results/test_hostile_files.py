"""Result files in which one value was made nasty: one clear line, or a page, a table and a comparison."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evit_mobile.cli.compare import _document, _markdown
from evit_mobile.errors import RequestError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.draw.charts import charts
from evit_mobile.results.draw.export import to_csv
from evit_mobile.results.draw.interval_plot import LIGHT
from evit_mobile.results.files import load, save
from evit_mobile.results.judge.compare import compare
from evit_mobile.results.page.report import render
from evit_mobile.results.record import ResultSet, Round
from tests.kits.results import device, layer

NASTY: list[Any] = [
    None, True, 0, -1, 5e-324, 1e308, 10**18, 10**400, "", "x", "_x", "<script>", "\x1b[2J\n\u202e", "9" * 5000, [], {},
    1e-6, "NaN",
]  # fmt: skip
#: Of about two thousand, as many as take seconds; the seed is changed by hand to look at others.
CASES = 80


def _sound() -> ResultSet:
    state = Conditions(
        at=datetime(2026, 1, 2, tzinfo=UTC),
        load_average_1min=0.2,
        clocks_khz={"0": 1000},
        temperatures_celsius={"a": 3.0},
        thermal_status=0,
    )
    results = layer(lambda tokens: 2 * tokens, lambda tokens: 0.4 * tokens**1.6, device())
    rounds = tuple(
        Round(
            latency_us=entry.latency_us,
            init_us=4.0,
            first_inference_us=4.0,
            warmup_us=(3.0,),
            peak_memory_bytes=5,
            cores_mask="0x1",
            before=state,
            after=state,
        )
        for entry in results.points[0].rounds
    )
    first = results.points[0].evolve(rounds=rounds, ops=3, partitions=1, undelegated_ops=0, resolution="14")
    return results.with_points((first, *results.points[1:4], results.points[-1]))


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value, of a list to its first ones."""
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _places(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:2]):
            yield from _places(value, (*path, index))


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def test_one_nasty_value_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "evit_mobile.results.page.report.charts", lambda results: []
    )  # drawn apart, once: it takes most of the time
    path = tmp_path / "r.json"
    sound = _sound()
    save(sound, path)
    document = json.loads(path.read_text())
    cases = [(place, value) for place in _places(document) for value in NASTY]
    shown = 0
    for place, value in random.Random(0).sample(cases, CASES):
        path.write_text(json.dumps(_with(document, place, value)))
        try:
            results = load(path)
        except RequestError as error:
            assert "\n" not in str(error) and len(str(error)) < 500, (place, value)
            continue
        shown += 1
        assert "<script>" not in render([("r.json", results)]), (place, value)
        for chart in charts(results):
            to_csv(chart)
        if shown % 8 == 0:
            assert charts(results)[0].draw(LIGHT, "svg", titled=True).startswith(b"<?xml"), (place, value)
        try:
            compared = compare(sound, results, allow_unlike=True)
        except RequestError:
            continue
        assert all("\n#" not in line for line in _markdown(compared, 0.05, [])), (place, value)
        json.dumps(_document(compared, 0.05, []))
    assert shown > CASES / 10
