"""Charts and what is exported of them: the figures are the curves', and nothing of a name is taken for anything but
text.
"""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError
from evit_mobile.results.draw.chart import Chart
from evit_mobile.results.draw.charts import charts
from evit_mobile.results.draw.export import export, to_csv
from evit_mobile.results.draw.interval_plot import DARK, LIGHT, plain_numbers
from evit_mobile.results.files import save
from evit_mobile.results.judge.curves import curves
from evit_mobile.results.record import ResultSet
from tests.kits.results import device, layer, place, point, results, unmeasured

FORMULA = "=cmd|' /C calc'!A0"


def _layer(soc: str = "EPYC") -> ResultSet:
    return layer(lambda tokens: 2 * tokens, lambda tokens: 0.4 * tokens**1.6, device(soc=soc))


def _texts(chart: Chart, alone: bool = False) -> str:
    return " ".join(ElementTree.fromstring(chart.draw(LIGHT, "svg", titled=alone)).itertext())


def test_each_curve_is_a_chart_with_its_figures() -> None:
    suite = _layer()
    drawn = charts(suite)
    assert (
        [chart.key for chart in drawn] == [curve.key for curve in curves(suite)] == ["s-latency", "s-ratio", "s-macs"]
    )
    for chart, curve in zip(drawn, curves(suite)):
        values = [(series.name, entry.x, entry.value, entry.mark) for series in curve.series for entry in series.points]
        assert [(row[0], row[1], row[2], row[6]) for row in chart.cells] == values
        assert all(series.name in chart.alt for series in curve.series)


def test_a_chart_shows_marks_band_and_exponents() -> None:
    latency, ratio, macs = charts(_layer())
    assert "softmax: does not fit" in _texts(latency) and "exponent 1.60" in _texts(latency)
    assert "paper, Snapdragon 855: 3.3–4.5 ×" in _texts(ratio)
    assert "does not fit" not in _texts(macs)
    assert any("softmax: grows with tokens to the power 1.60 (95% interval" in note for note in latency.notes)


def test_a_chart_that_stands_alone_says_what_kind_of_figures_it_shows() -> None:
    latency, _, macs = charts(_layer())
    assert "not Snapdragon" in " ".join(_texts(latency, alone=True).split()) and "not Snapdragon" not in _texts(latency)
    assert "Snapdragon" not in _texts(macs, alone=True)  # MACs are the same anywhere


def test_counts_are_never_called_a_latency() -> None:
    [points] = [[point(place("linear", x), 2 * x, counts=True) for x in (196.0, 1024.0, 4096.0)]]
    drawn = charts(results(points, device("qemu", "Cortex-A76", True), "figure-2-left", "tokens"))
    words = " ".join(_texts(drawn[0], alone=True).split())
    assert (
        "Instructions per inference, emulated Cortex-A76 (M)" in words
        and "Latency" not in words
        and "(ms)" not in words
    )


def test_curves_without_a_single_value_are_drawn() -> None:
    points = [unmeasured(place("softmax", x), limit="timed out", error="more than 60 s") for x in (4096.0, 16384.0)]
    points += [unmeasured(place("_hidden", x)) for x in (4096.0, 16384.0)]
    chart = charts(results(points, device(), "figure-2-left", "tokens"))[0]
    assert "softmax: timed out" in _texts(chart) and "_hidden: not measured" in _texts(chart)


def test_light_and_dark_differ_and_drawing_repeats() -> None:
    chart = charts(_layer())[0]
    assert (
        chart.draw(LIGHT, "svg", titled=False)
        == chart.draw(LIGHT, "svg", titled=False)
        != chart.draw(DARK, "svg", titled=False)
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_can_be_told_from_the_paper(theme: object) -> None:
    """WCAG 2.2's contrast, 4.5 to 1, as text has their colours."""

    def luminance(color: str) -> float:
        parts = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))

    for color in (theme.ink, theme.quiet, theme.accent, *theme.series):  # type: ignore[attr-defined]
        low, high = sorted((luminance(color), luminance(theme.paper)))  # type: ignore[attr-defined]
        assert (high + 0.05) / (low + 0.05) >= 4.5, color


def test_a_csv_is_read_back_as_it_was() -> None:
    chart = charts(_layer())[0]
    header, *rows = csv.reader(io.StringIO(to_csv(chart)))
    assert (
        tuple(header)
        == chart.header
        == ("series", "Tokens", "Latency, ms", "95% low", "95% high", "rounds", "mark", "note")
    )
    assert len(rows) == len(chart.cells) == 10
    for text, row in zip(rows, chart.cells):
        assert [float(cell) if cell else None for cell in text[1:5]] == list(row[1:5])
    assert rows[-1][6] == "does not fit" and "28 GB" in rows[-1][7]


def test_a_formula_stays_text_in_a_csv() -> None:
    chart = charts(results([point(place(FORMULA, x), x) for x in (196.0, 400.0)], device(), None, "tokens"))[0]
    rows = list(csv.reader(io.StringIO(to_csv(chart))))
    assert all(row[0] == "'" + FORMULA for row in rows[1:])


def test_export_writes_every_chart_in_three_forms(tmp_path: Path) -> None:
    named = [("a.json", _layer()), ("a.json", _layer()), ("../<b>.json", _layer())]
    paths = export(named, tmp_path / "charts")
    stems = {path.name for path in (tmp_path / "charts").iterdir()}
    assert {path.name for path in paths} == stems and len(stems) == 3 * 3 * 3
    assert {"a-s-latency.png", "a-s-latency-2.svg", "b-s-ratio.csv"} <= stems
    assert (tmp_path / "charts" / "s-host-latency.png") in export([("s-host.json", _layer())], tmp_path / "charts")
    for path in paths:
        if path.suffix == ".png":
            assert min(Image.open(path).size) > 500
        elif path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_export_replaces_nothing_unless_told(tmp_path: Path) -> None:
    export([("a.json", _layer())], tmp_path)
    with pytest.raises(RequestError, match="exists"):
        export([("a.json", _layer())], tmp_path)
    export([("a.json", _layer())], tmp_path, force=True)
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="not a folder"):
        export([("a.json", _layer())], tmp_path / "file")
    with pytest.raises(RequestError, match="no chart"):
        export([("a.json", results([], device(), None, "tokens"))], tmp_path)


def test_report_exports_and_writes_a_page_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(_layer(), tmp_path / "r.json")
    for more, pages in ([], []), (["--out", str(tmp_path / "page.html"), "--force"], ["page.html"]):
        with pytest.raises(SystemExit) as ended:
            main(["report", str(tmp_path / "r.json"), "--export", str(tmp_path / "charts"), *more])
        assert ended.value.code == 0
        printed = capsys.readouterr().out.split()
        assert len(printed) == 9 + len(pages) and all(Path(name).exists() for name in printed)
        assert sorted(path.name for path in tmp_path.glob("*.html")) == pages


@pytest.mark.parametrize(
    ("value", "shown"), [(0.1, "0.1"), (2.5, "2.5"), (3000, "3,000"), (1448.154687, "1,448"), (5e-5, "5e-05")]
)
def test_ticks_are_plain_numbers(value: float, shown: str) -> None:
    assert plain_numbers()(value, 0) == shown
