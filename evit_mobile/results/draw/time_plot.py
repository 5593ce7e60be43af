"""A timeline as a picture: latency, frames and the device's state, one panel below the other on one time axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evit_mobile.results.conditions import Conditions
from evit_mobile.results.draw.interval_plot import Form, Theme, picture, short
from evit_mobile.results.record import DeviceInfo
from evit_mobile.results.steady import throttled_spans
from evit_mobile.results.timeline import Moment, Timeline, Turn

#: From this many seconds on the axis is in minutes.
_MINUTES_FROM_S = 180.0
#: Latencies beyond this multiple of what 95 % of the windows stay below are cut off, so that one hiccup does not
#: flatten the rest.
_CUT, _CUT_SHARE = 2.5, 0.95
_LINES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class TimePlot:
    """What is drawn.

    Attributes:
        timeline: with at least one window.
        device: whose clocks its limits are compared with.
    """

    timeline: Timeline
    device: DeviceInfo

    @property
    def scale(self) -> tuple[float, str]:
        """Seconds in a unit of the axis, and the unit."""
        return (60.0, "min") if self.timeline.end_s >= _MINUTES_FROM_S else (1.0, "s")


Values = list[tuple[float, float]]
#: A panel: title with unit, and lines by name.
Panel = tuple[str, Mapping[str, Values]]


def time_plot(plot: TimePlot, theme: Theme, form: Form = "svg", heading: Sequence[str] = ()) -> bytes:
    """The picture; as wide as the other charts, so that it can be read at 390 CSS pixels.

    Args:
        heading: lines above the picture, for one that stands alone.
    """
    panels = panels_of(plot.timeline)
    names = list(dict.fromkeys(turn.point for turn in plot.timeline.turns))
    texts = [line for text in heading for line in _wrapped(text)]

    def draw(figure: Any) -> None:
        heights = [2.0, *([0.8] * len(panels))]
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for index, name in enumerate(names):
            _draw_latency(axes[0], plot, index, [turn for turn in plot.timeline.turns if turn.point == name], theme)
        _dress_latency(axes[0], plot, theme)
        for axis, (title, lines) in zip(axes[1:], panels):
            _draw_panel(axis, plot, title, lines, theme)
        for axis in axes:
            _mark(axis, plot, theme)
            axis.grid(color=theme.quiet, alpha=0.25, linewidth=0.6)
            axis.spines[["right", "top"]].set_visible(False)
        axes[-1].set_xlabel(f"Time of the run ({plot.scale[1]})")
        axes[-1].set_xlim(0, max(plot.timeline.duration_s, plot.timeline.end_s) / plot.scale[0])
        # Titles of the panels stand in them: beside the axis there is no room for them on a phone.
        handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=1)
        if texts:
            figure.suptitle("\n".join(texts), fontsize=9, x=0.02, ha="left")

    entries = len(names) + 2 + sum(len(lines) for _, lines in panels if len(lines) > 1)
    return picture(draw, (4.4, 2.9 + 0.95 * len(panels) + 0.19 * entries + 0.16 * len(texts)), theme, form)


def panels_of(timeline: Timeline) -> list[Panel]:
    """What the device said besides, as far as it did: heat, clocks, thermal status, power, load."""
    moments = timeline.moments
    candidates: list[Panel] = [
        ("Temperature, °C", {"hottest sensor": _values(moments, lambda state: state.hottest_celsius)}),
        (
            "Clock, GHz",
            {
                "fastest core": _values(moments, lambda state: _most(state.clocks_khz)),
                "its limit": _values(moments, lambda state: _most(state.clock_limits_khz)),
            },
        ),
        ("Thermal status", {"Android's": _values(moments, lambda state: state.thermal_status)}),
        ("Power, W", {"drawn": [(moment.at_s, moment.power_w) for moment in moments if moment.power_w is not None]}),
        ("Load average", {"1 min": _values(moments, lambda state: state.load_average_1min)}),
    ]
    kept = ((title, {name: values for name, values in lines.items() if values}) for title, lines in candidates)
    return [(title, lines) for title, lines in kept if lines]


def _values(moments: Sequence[Moment], read: Callable[[Conditions], float | None]) -> Values:
    read_values = ((moment.at_s, read(moment.conditions)) for moment in moments)
    return [(at_s, value) for at_s, value in read_values if value is not None]


def _most(clocks_khz: Mapping[str, int]) -> float | None:
    return max(clocks_khz.values()) / 1e6 if clocks_khz else None


def _draw_latency(axes: Any, plot: TimePlot, index: int, turns: Sequence[Turn], theme: Theme) -> None:
    """The windows of one model: a line through the medians, a band from p10 to p90; not across a turn's end."""
    unit_s, step = plot.scale[0], plot.timeline.window_s
    color = theme.series[index % len(theme.series)]
    times, medians, lows, highs = [], [], [], []
    for turn in turns:
        for window in turn.windows:
            times.append((window.at_s + step / 2) / unit_s)
            medians.append(window.median_us / 1e3)
            lows.append(window.p10_us / 1e3)
            highs.append(window.p90_us / 1e3)
        for values in (times, medians, lows, highs):
            values.append(math.nan)
    axes.fill_between(times, lows, highs, color=color, alpha=0.25, linewidth=0)
    axes.plot(
        times,
        medians,
        color=color,
        linestyle=_LINES[index // len(theme.series) % len(_LINES)],
        linewidth=1.2,
        label=f" {short(turns[0].point, 34)}: median, band p10–p90",
    )


def _dress_latency(axes: Any, plot: TimePlot, theme: Theme) -> None:
    timeline = plot.timeline
    highs = sorted(window.p90_us / 1e3 for turn in timeline.turns for window in turn.windows)
    top = highs[-1]
    typical = highs[min(len(highs) - 1, int(_CUT_SHARE * len(highs)))]
    if timeline.period_us is not None:
        budget_ms = timeline.period_us / 1e3
        axes.axhline(
            budget_ms, color=theme.series[4], linewidth=1.2, linestyle="--", label=f" frame budget, {budget_ms:g} ms"
        )
        typical = max(typical, budget_ms)
        top = max(top, budget_ms)
    axes.set_ylim(0, min(top, _CUT * typical) * 1.08)
    _title(axes, "Latency, ms")


def _draw_panel(axes: Any, plot: TimePlot, title: str, lines: Mapping[str, Values], theme: Theme) -> None:
    steps = "steps-post" if title == "Thermal status" else "default"
    for index, (name, values) in enumerate(lines.items()):
        axes.plot(
            [at_s / plot.scale[0] for at_s, _ in values],
            [value for _, value in values],
            color=theme.ink if index == 0 else theme.quiet,
            linestyle=_LINES[index],
            linewidth=1.1,
            drawstyle=steps,
            label=f" {title.partition(',')[0]}: {name}" if len(lines) > 1 else None,
        )
    low, high = axes.get_ylim()
    if title != "Temperature, °C":
        low = 0
    if title == "Thermal status":
        high = max(high, 3)
    axes.set_ylim(low, high + 0.25 * (high - low))  # room for the title
    axes.locator_params(axis="y", nbins=4)
    _title(axes, title)


def _title(axes: Any, text: str) -> None:
    axes.text(
        0.01, 0.97, text, transform=axes.transAxes, ha="left", va="top", fontsize=9, fontweight="bold", zorder=6,
        bbox={"facecolor": axes.get_facecolor(), "edgecolor": "none", "alpha": 0.75, "pad": 1},
    )  # fmt: skip


def _mark(axes: Any, plot: TimePlot, theme: Theme) -> None:
    """Throttled spans as shades, and gaps as lines, through every panel."""
    unit_s = plot.scale[0]
    for number, (start_s, end_s) in enumerate(throttled_spans(plot.timeline, plot.device)):
        axes.axvspan(
            start_s / unit_s, end_s / unit_s, color=theme.series[1], alpha=0.18, linewidth=0,
            label=None if number else " throttled",
        )  # fmt: skip
    for number, gap in enumerate(plot.timeline.gaps):
        axes.axvline(
            gap.at_s / unit_s, color=theme.series[3], linewidth=1.4, linestyle=":",
            label=None if number else " interrupted and resumed",
        )  # fmt: skip


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(short(text, 200), 58)
