"""The report in a real browser: all of it drawn, nothing fetched, no fault that axe-core calls serious or critical.

Screenshots are left in build/screenshots, to be looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from evit_mobile.api.file_page import file_page
from evit_mobile.results.draw.charts import charts
from evit_mobile.results.page.report import render
from evit_mobile.results.record import DeviceInfo, ResultSet, Round, RunSettings
from evit_mobile.tflite.file import Tflite
from tests.kits.results import device, layer, place, point, results
from tests.kits.timelines import hot_phone

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
HOSTILE = (
    "<script>document.title = 'taken'</script>\"'><img src=http://evil.example/x onerror=\"document.title = 'taken'\">"
)


def _layer(info: DeviceInfo) -> ResultSet:
    return layer(lambda tokens: 2 * tokens, lambda tokens: 0.4 * tokens**1.6, info)


def _counted() -> ResultSet:
    points = tuple(
        point.evolve(rounds=tuple(Round(instructions=(round(counts[0] * 1000),)) for counts in point.values[:2]))
        for point in _layer(device()).points
    )
    return results(list(points), device("qemu", "Cortex-A76", True), "figure-2-left", "tokens")


def _figure_5() -> ResultSet:
    """Both settings, whole models."""
    points = [
        point(place(series, side, "resolution", side=side), scale * side**power, RunSettings(rounds=8, threads=threads))
        for threads in (1, 4)
        for series, scale, power in (("linear", 0.2, 2.0), ("softmax", 0.05, 2.4))
        for side in (160.0, 224.0, 288.0, 384.0, 512.0)
    ]
    return results(points, device(), "figure-5-right", "resolution")


def _plain(**more: Any) -> ResultSet:
    points = tuple(
        point(place("m", 1e3 * index), 5e3 * index).evolve(
            place=None, name=f"model {index}", ops=399, partitions=1, undelegated_ops=0
        )
        for index in (1, 2, 3)
    )  # fmt: skip
    return _figure_5().evolve(**{"suite": None, "points": points, **more})


def _hostile() -> ResultSet:
    results = _layer(device(soc=HOSTILE))
    points = tuple(
        point.evolve(
            name=f"{point.name}{HOSTILE}", place=point.place.model_copy(update={"series": point.place.series + HOSTILE})
        )
        for point in results.points
        if point.place is not None
    )
    suite = results.suite.model_copy(update={"title": HOSTILE, "name": HOSTILE}) if results.suite else None
    return results.evolve(points=points, suite=suite, command=(HOSTILE,))


PAGES: dict[str, Callable[[], list[tuple[str, ResultSet]]]] = {
    "layer": lambda: [("host.json", _layer(device()))],
    "phone": lambda: [("phone.json", _layer(device("adb", "Snapdragon 855 (SM8150)")))],
    "qemu": lambda: [("qemu.json", _counted())],
    "plain": lambda: [("plain.json", _plain())],
    "several": lambda: [("host.json", _figure_5()), ("plain.json", _plain()), ("nothing.json", _plain(points=()))],
    "over-time": lambda: [("sustained.json", hot_phone()), ("paced.json", hot_phone(33_000))],
    "hostile": lambda: [(HOSTILE, _hostile())],
}


def _of_file(model: Path) -> ResultSet:
    """A measurement of ``model``."""
    measured = _plain()
    file = Tflite.read(model)
    point = measured.points[0].evolve(model_sha256=file.sha256, model_bytes=len(file.content))
    return measured.with_points((point,))


#: The page of a .tflite, which needs one.
FILE = "file"
#: Width in CSS pixels and colour scheme; two of the pages are seen in all of them.
VIEWS = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
CASES = [
    pytest.param(name, *view, id=f"{name}-{view[0]}-{view[1]}")
    for name in (*PAGES, FILE)
    for view in (VIEWS if name in ("layer", "over-time") else VIEWS[1:3])
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, small_tflite: Path) -> Callable[[str], tuple[Path, int]]:
    """``written(name)`` is the file of that page, and how many charts it has; each is made once."""

    @functools.cache
    def write(name: str) -> tuple[Path, int]:
        path = tmp_path_factory.mktemp(name) / "report.html"
        if name == FILE:
            page = file_page(Tflite.read(small_tflite), [("r.json", _of_file(small_tflite))])
            path.write_text(render(page.results, (), page.sections), encoding="utf-8")
            return path, 2
        named = PAGES[name]()
        path.write_text(render(named), encoding="utf-8")
        return path, sum(len(charts(result)) for _, result in named)

    return write


@pytest.mark.parametrize(("name", "width", "scheme"), CASES)
def test_the_page_in_a_browser(
    name: str, width: int, scheme: Any, written: Callable[[str], tuple[Path, int]], browser: Browser
) -> None:
    path, count = written(name)
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    _is_drawn(page, count)
    assert said == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("document.scripts.length") == 0 and page.title().startswith("evit-mobile: ")
    # Wide tables scroll within themselves.
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    _is_accessible(page)
    page.close()


def _is_drawn(page: Page, count: int) -> None:
    """Every chart, in the colours of the scheme."""
    images = page.evaluate(
        "[...document.images].map(image => ({drawn: image.complete && image.naturalWidth > 0, width: image.clientWidth,"
        " source: image.currentSrc, dark: image.parentElement.querySelector('source').srcset}))"
    )
    assert len(images) == count
    assert all(image["drawn"] and image["width"] > 250 for image in images)
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert all((image["source"] == image["dark"]) == is_dark for image in images)


def _is_accessible(page: Page) -> None:
    """axe-core finds nothing serious or critical, in what is folded neither."""
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    violations = [
        violation
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert not violations, [(violation["id"], violation["nodes"][0]["html"]) for violation in violations]


@pytest.fixture
def layer_page(browser: Browser, written: Callable[[str], tuple[Path, int]]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(written("layer")[0].as_uri())
    yield page
    page.close()


def test_everything_is_reached_and_opened_by_keyboard(layer_page: Page) -> None:
    total = layer_page.evaluate("document.querySelectorAll('summary').length")
    opened = set()
    for _ in range(200):
        layer_page.keyboard.press("Tab")
        focused = layer_page.evaluate("document.activeElement.tagName")
        if focused == "BODY":
            break
        if focused == "SUMMARY":
            layer_page.keyboard.press("Enter")
            opened.add(layer_page.evaluate("[...document.querySelectorAll('summary')].indexOf(document.activeElement)"))
            assert layer_page.evaluate("document.activeElement.parentElement.open")
    assert len(opened) == total > 4
    regions = layer_page.locator("[role=region]")
    assert all(regions.nth(index).get_attribute("tabindex") == "0" for index in range(regions.count()))


def test_what_is_folded_is_printed(layer_page: Page) -> None:
    visible = "table => table.checkVisibility({contentVisibilityAuto: true})"
    visible_rows = f"[...document.querySelectorAll('details table')].map({visible})"
    assert set(layer_page.evaluate(visible_rows)) == {False}
    layer_page.emulate_media(media="print", color_scheme="dark")
    # Content that was skipped is laid out within the next frames. The page's own policy forbids wait_for_function to
    # evaluate a text.
    for _ in range(100):
        if all(layer_page.evaluate(visible_rows)):
            break
        layer_page.wait_for_timeout(100)
    assert all(layer_page.evaluate(visible_rows))
    assert layer_page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert layer_page.pdf().startswith(b"%PDF")


def test_verdicts_stand_on_the_page(layer_page: Page) -> None:
    text = layer_page.locator("main").inner_text()
    for said in ("same direction", "not Snapdragon figures", "arXiv 2205.14756", "does not fit", "95% interval"):
        assert said in text, said
    alts = layer_page.locator("img").evaluate_all("images => images.map(image => image.alt)")
    assert any("softmax" in alt and "does not fit" in alt and "to the power" not in alt for alt in alts)
