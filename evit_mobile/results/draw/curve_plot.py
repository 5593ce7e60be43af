"""A curve of a suite as a picture."""

from __future__ import annotations

import math
import textwrap
from typing import Any, Sequence

from evit_mobile.results.draw.interval_plot import Form, Theme, picture, plain_numbers, short
from evit_mobile.results.judge.curves import Axis, Curve, Series

_MARKERS = "osD^vPX*"
_LINES = ("-", "--", ":", "-.")
#: Room above the curves for one series' marks, as a share of the axis.
_MARK_ROOM = 0.09
#: Least distance of two labels below the axis, as a share of it.
_LABEL_ROOM = 0.11


def curve_plot(curve: Curve, theme: Theme, form: Form = "svg", heading: Sequence[str] = ()) -> bytes:
    """Lines with 95 % intervals, the paper's range as a band, and a cross above the curves where a point has no value.

    Args:
        heading: lines above the picture, for one that stands alone.
    """
    titles = [line for text in heading for line in textwrap.wrap(short(text, 200), 58)]
    entries = len(curve.series) + (curve.band is not None)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for index, series in enumerate(curve.series):
            _draw_series(axes, index, series, theme)
        if curve.band is not None:
            axes.axhspan(
                curve.band.low, curve.band.high, color=theme.quiet, alpha=0.28, linewidth=0, label=_band_label(curve)
            )
        _scale(axes, curve)
        _draw_marks(axes, curve, theme)
        axes.set_xlabel(_named(curve.x))
        axes.set_ylabel(textwrap.fill(_named(curve.y), 34))
        axes.grid(color=theme.quiet, alpha=0.25, linewidth=0.6)
        axes.spines[["right", "top"]].set_visible(False)
        handles, _ = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, [handle.get_label() for handle in handles], loc="outside lower left", ncols=1)
        if titles:
            figure.suptitle("\n".join(titles), fontsize=9, x=0.02, ha="left")

    return picture(draw, (4.4, 3.1 + 0.19 * entries + 0.16 * len(titles)), theme, form)


def _named(axis: Axis) -> str:
    return short(axis.label, 60) + (f" ({short(axis.unit, 12)})" if axis.unit else "")


def _band_label(curve: Curve) -> str:
    assert curve.band is not None
    return f"{short(curve.band.label)}: {curve.band.low:g}–{curve.band.high:g} {short(curve.y.unit, 12)}"


def _color(index: int, theme: Theme) -> str:
    return theme.series[index % len(theme.series)]


def _draw_series(axes: Any, index: int, series: Series, theme: Theme) -> None:
    known = [(point, point.value) for point in series.points if point.value is not None]
    # A label that begins with an underscore would be hidden.
    label = (
        " " + short(series.name, 34) + (f", exponent {series.growth.exponent:.2f}" if series.growth is not None else "")
    )
    errors: Any = [
        [value - (point.interval.low if point.interval else value) for point, value in known],
        [(point.interval.high if point.interval else value) - value for point, value in known],
    ]
    axes.errorbar(
        [point.x for point, _ in known],
        [value for _, value in known],
        yerr=[[max(0.0, error) for error in side] for side in errors],
        marker=_MARKERS[index % len(_MARKERS)],
        linestyle=_LINES[index // len(theme.series) % len(_LINES)],
        color=_color(index, theme),
        markersize=4.5,
        linewidth=1.3,
        elinewidth=1.3,
        capsize=2.5,
        label=label,
    )


def _scale(axes: Any, curve: Curve) -> None:
    """Logarithmic axes with plain numbers, those below at the points themselves, and room for marks above."""
    from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

    plain = plain_numbers()
    points = [point for series in curve.series for point in series.points]
    values = [point.value for point in points if point.value is not None]
    rows = len(_marked(curve))
    if not values:
        axes.set(ylim=(0, 1), yticks=[])
    elif curve.y.log:
        axes.set_yscale("log")
        decades = math.log10(max(values) / min(values))
        narrow, wide = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]), LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,))
        axes.yaxis.set_major_locator(narrow if decades < 0.8 else wide)
        axes.yaxis.set_minor_locator(NullLocator())
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** (rows * _MARK_ROOM / (1 - rows * _MARK_ROOM)))
    if values:
        axes.yaxis.set_major_formatter(plain)
    if curve.x.log and points:
        axes.set_xscale("log")
        places = sorted({point.x for point in points})
        axes.set_xlim(places[0] / (reach := max(1.05, (places[-1] / places[0]) ** 0.05)), places[-1] * reach)
        axes.xaxis.set_major_locator(FixedLocator(_apart(places)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(plain)


def _apart(places: Sequence[float]) -> list[float]:
    """As many of ``places``, from the last one down, as can be labelled side by side on a logarithmic axis."""
    whole = math.log(places[-1] / places[0]) or 1.0
    kept = [places[-1]]
    for place in reversed(places[:-1]):
        if math.log(kept[-1] / place) / whole >= _LABEL_ROOM:
            kept.append(place)
    return kept[::-1]


def _marked(curve: Curve) -> list[tuple[int, Series]]:
    return [(index, series) for index, series in enumerate(curve.series) if any(point.mark for point in series.points)]


def _draw_marks(axes: Any, curve: Curve, theme: Theme) -> None:
    for row, (index, series) in enumerate(_marked(curve)):
        height = 1 - _MARK_ROOM * (row + 0.5)
        marked = [point for point in series.points if point.mark]
        across = axes.get_xaxis_transform()
        axes.plot(
            [point.x for point in marked],
            [height] * len(marked),
            "x",
            color=_color(index, theme),
            markersize=6,
            transform=across,
        )
        left = _share(axes, marked[0].x) > 0.45
        reasons = ", ".join(dict.fromkeys(str(point.mark) for point in marked))
        axes.annotate(
            f"{short(series.name, 28)}: {reasons}",
            (marked[0 if left else -1].x, height),
            xycoords=across,
            xytext=(-7 if left else 7, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=_color(index, theme),
            fontsize=9,
            annotation_clip=False,
        )


def _share(axes: Any, x: float) -> float:
    """Where ``x`` lies on its axis, from 0 to 1."""
    place: float = axes.transAxes.inverted().transform(axes.transData.transform((x, axes.get_ylim()[1])))[0]
    return place
