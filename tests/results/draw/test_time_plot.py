"""The picture of a timeline: every panel that the device has figures for, on one axis, with throttling and gaps."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree

import pytest

from evit_mobile.results.draw.charts import charts
from evit_mobile.results.draw.export import to_csv
from evit_mobile.results.draw.interval_plot import DARK, LIGHT
from evit_mobile.results.draw.time_plot import panels_of
from evit_mobile.results.page.report import render
from evit_mobile.results.record import ResultSet
from evit_mobile.results.steady import first_throttling, throttled_spans
from tests.kits.timelines import THROTTLED_FROM_S, THROTTLED_TO_S, hot_phone


def _texts(results: ResultSet) -> str:
    [chart] = charts(results)
    return " ".join(ElementTree.fromstring(chart.draw(LIGHT, "svg", titled=True)).itertext())


def test_panels_throttling_gap_and_budget_share_the_axis() -> None:
    texts = _texts(hot_phone(33_000))
    for words in (
        "Latency, ms", "Temperature, °C", "Clock, GHz", "Thermal status", "Power, W", "Load average",
        "Time of the run (min)", "frame budget, 33 ms", "throttled", "interrupted and resumed",
        "base-r224: median, band p10–p90", "base-r192: median, band p10–p90", "called every 33 ms",
    ):  # fmt: skip
        assert words in texts, words
    assert "frame budget" not in _texts(hot_phone())


def test_what_the_device_does_not_say_has_no_panel() -> None:
    results = hot_phone()
    assert results.timeline is not None
    mute = tuple(
        moment.evolve(power_w=None, conditions=moment.conditions.model_validate({"at": moment.conditions.at}))
        for moment in results.timeline.moments
    )
    timeline = results.timeline.evolve(moments=mute)
    assert panels_of(timeline) == []
    texts = _texts(results.evolve(timeline=timeline))
    assert "Latency, ms" in texts and "Temperature" not in texts and "throttled" not in texts


def test_throttling_is_a_span_from_the_look_that_saw_it() -> None:
    results = hot_phone()
    assert results.timeline is not None
    assert throttled_spans(results.timeline, results.device) == [(THROTTLED_FROM_S, THROTTLED_TO_S)]
    first = first_throttling(results.timeline, results.device)
    assert first is not None and first.at_s == THROTTLED_FROM_S and first.reason == "thermal status 2"


def test_the_table_has_each_window_with_the_state_of_the_next_look() -> None:
    results = hot_phone(33_000)
    assert results.timeline is not None
    [chart] = charts(results)
    rows = list(csv.DictReader(io.StringIO(to_csv(chart))))
    windows = [window for turn in results.timeline.turns for window in turn.windows]
    assert [float(row["median, ms"]) for row in rows] == pytest.approx([window.median_us / 1e3 for window in windows])
    assert rows[0]["model"] == "base-r224" and rows[0]["late"] == "0" and rows[250]["late"] == "3"
    assert rows[0]["hottest, °C"] == repr(31 + 5 / 12) and rows[250]["thermal status"] == "2"


def test_both_themes_draw_the_same_bytes_again() -> None:
    [chart] = charts(hot_phone(33_000))
    for theme in (LIGHT, DARK):
        assert chart.draw(theme, "svg", titled=False) == chart.draw(theme, "svg", titled=False)
    assert chart.draw(LIGHT, "png", titled=True).startswith(b"\x89PNG")


def test_the_page_says_when_it_throttled_and_that_it_was_interrupted() -> None:
    page = render([("r.json", hot_phone())])
    for words in ("Over time", "First throttled after 4.0 min: thermal status 2", "Interrupted after 5.0 min", "mJ"):
        assert words in page, words
