"""The page: it holds what was measured, reaches for nothing outside, and prints hostile names as text."""

from __future__ import annotations

import base64
import unicodedata
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from evit_mobile.results.page.report import render
from evit_mobile.results.record import (
    Component,
    Conditions,
    Core,
    DeviceInfo,
    Point,
    PrintedLatency,
    ResultSet,
    Round,
    RunSettings,
)
from evit_mobile.results.stats import summarise
from evit_mobile.text import visible

HOSTILE = (
    "\x00\x1b[2J<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)> $x_{$ "
    "{{ 7*7 }} ]]> --> \u202e\u65e5\u672c"
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self._open[-1:]:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _device(kind: str = "host", *, text: str = "A CPU", emulated: bool = False) -> DeviceInfo:
    return DeviceInfo(
        kind=kind,
        name=f"{kind}:{text}",
        serial=text,
        soc=text,
        abi="arm64",
        instruction_sets=("asimd",),
        cores=(Core(index=0, max_clock_khz=1_800_000), Core(index=1)),
        memory_bytes=8_000_000_000,
        os_build=text,
        emulated=emulated,
    )


def _results(device: DeviceInfo, *points: Point, text: str = "1.0") -> ResultSet:
    return ResultSet(
        created=NOW,
        command=("evit-mobile", text),
        components=(Component(name=text, version=text, sha256="a" * 64),),
        device=device,
        points=points,
    )


def _timed(name: str, level_us: float, rounds: int = 10, **more: Any) -> Point:
    rng = np.random.default_rng(round(level_us))
    state = Conditions(at=NOW, load_average_1min=0.25, clocks_khz={"0": 1_750_000}, temperatures_celsius={"skin": 31.5})
    measured = tuple(
        Round(
            latency_us=tuple(level_us * rng.lognormal(0, 0.01, 5)),
            init_us=5e4,
            first_inference_us=2e4,
            peak_memory_bytes=64_000_000,
            before=state,
            after=state,
        )
        for _ in range(rounds)
    )
    return Point(
        name=name, model_sha256="b" * 64, model_bytes=26_700_000, settings=RunSettings(), rounds=measured, **more
    )


def _counted(name: str) -> Point:
    rounds = tuple(Round(instructions=(182_700_000 + step,)) for step in range(6))
    return Point(name=name, model_sha256="c" * 64, model_bytes=9, settings=RunSettings(rounds=6), rounds=rounds)


def test_figures_provenance_and_conditions_are_there() -> None:
    fast = _timed("fast", 10_000.0, resolution="224", precision="fp32", ops=421, partitions=1, undelegated_ops=0)
    slow = _timed("slow", 2e4)
    page = Page(render([("r.json", _results(_device(), fast, slow))]))
    median_ms = f"{summarise(fast.values).median / 1000:.2f}"
    for text in (median_ms, "slower", "31.5", "1750", "0.25", "64.0", "421", "a" * 64, "b" * 64, "r.json"):
        assert text in page.text, text
    assert "not Snapdragon figures" in page.text
    assert "2026-01-02 03:04:05 UTC" in page.text


@pytest.mark.parametrize(
    ("device", "point", "text"),
    [
        (_device("qemu", emulated=True), _counted("m"), "Instructions per inference"),
        (_device("qemu", emulated=True), _counted("m"), "Emulated"),
        (_device("adb", emulated=True), _timed("m", 5e3), "Emulated"),
        (_device("host"), _timed("m", 5e3), "host CPU"),
    ],
)
def test_what_kind_of_figures_they_are(device: DeviceInfo, point: Point, text: str) -> None:
    assert text in Page(render([("r.json", _results(device, point))])).text


def test_a_real_phone_gets_no_such_note() -> None:
    text = Page(render([("r.json", _results(_device("adb"), _timed("m", 5e3)))])).text
    assert "Emulated" not in text and "not Snapdragon" not in text


def test_qemu_shows_no_milliseconds() -> None:
    page = render([("r.json", _results(_device("qemu", emulated=True), _counted("m")))])
    assert "182.7" in page and "in ms" not in page and "Latency" not in page


def test_hostile_text_stays_text() -> None:
    point = _timed("x", 1e4).evolve(name=HOSTILE, resolution=HOSTILE, error=HOSTILE)
    hostile = _results(_device(text=HOSTILE), point, text=HOSTILE)
    page = Page(render([(HOSTILE, hostile), ("b.json", _results(_device(), _timed(HOSTILE, 2e4)))]))
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "iframe", "object", "embed", "link", "form", "svg"})
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert visible(HOSTILE) in page.text
    # A bidirectional override would turn our own words round, a control character makes an SVG ill-formed.
    assert not [char for char in page.text if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]
    for image in page.all("img"):
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert image["alt"]
        # The picture itself is well-formed and shows the name as far as it fits.
        tree = ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))
        assert any("<script>" in (element.text or "") for element in tree.iter()) == (visible(HOSTILE) in image["alt"])
        assert not [element for element in tree.iter() if element.tag.endswith("script")]


def test_nothing_is_fetched() -> None:
    page = Page(
        render([("a.json", _results(_device(), _timed("m", 1e4))), ("b.json", _results(_device(), _timed("n", 2e4)))])
    )
    names = {"src", "href", "srcset", "action"}
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in names]
    assert addresses and all(value.startswith(("data:", "#")) for value in addresses)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    targets = {attributes.get("id") for _, attributes in page.elements}
    assert {anchor["href"].removeprefix("#") for anchor in page.all("a")} <= targets


def test_tables_and_regions_can_be_read_aloud_and_reached_by_keyboard() -> None:
    page = Page(render([("a.json", _results(_device(), _timed("m", 1e4), _timed("n", 2e4)))]))
    assert page.all("html") == [{"lang": "en"}]
    assert all(header.get("scope") in ("col", "row") for header in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    regions = [attributes for _, attributes in page.elements if attributes.get("role") == "region"]
    assert len(regions) == len(page.all("table")) > 0
    assert all(region["tabindex"] == "0" and region["aria-labelledby"] in ids for region in regions)


def test_warnings_are_shown() -> None:
    few = _timed("few", 1e4, rounds=3)
    wild = _timed("wild", 2e4).evolve(
        rounds=tuple(Round(latency_us=(1e4, 2e4, 4e4), cores_mask="0x1") for _ in range(10))
    )
    threads = wild.evolve(settings=RunSettings(threads=4))
    text = Page(render([("r.json", _results(_device(), few, wild, threads))])).text
    for warning in (
        "stopped after 3 of 10 rounds",
        "fewer than 6 rounds",
        "samples scatter",
        "4 threads shared 1 core",
    ):
        assert warning in text, warning


@pytest.mark.parametrize(
    "points",
    [
        (),
        (Point(name="m", model_sha256="0" * 64, model_bytes=1, settings=RunSettings(), error="the device vanished"),),
        (_timed("one", 1e4, rounds=1),),
        (_timed("tiny", 1.5), _timed("huge", 9e7)),
        (
            Point(
                name="printed",
                model_sha256="0" * 64,
                model_bytes=1,
                settings=RunSettings(),
                rounds=tuple(Round(printed_latency=PrintedLatency(count=50, mean_us=7e3 + step)) for step in range(10)),
            ),
        ),
    ],
)
def test_results_of_every_size_can_be_shown(points: tuple[Point, ...]) -> None:
    page = Page(render([("r.json", _results(_device(), *points))]))
    assert all(point.name in page.text for point in points)
    assert ("the device vanished" in page.text) == any(point.error for point in points)
