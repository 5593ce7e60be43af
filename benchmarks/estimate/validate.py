"""Estimates against published latencies: ``python -m benchmarks.estimate.validate`` writes
benchmarks/results/estimate.md.

For one thread one constant of a core is fitted, how far waiting and computing overlap: to the networks that
``published.yaml`` marks so. What is left is checked in two ways. Every other published latency was not used, so its
error is what a user may expect. And each latency is left out in turn, the constant fitted to all others of that core
and one thread, and the error on the one left out taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import yaml

from android_bench.estimate.devices import DeviceModel, find_device
from android_bench.estimate.timing import cost, total_us
from benchmarks.estimate.works import works
from benchmarks.results_files import out_option, write_results

PUBLISHED = Path(__file__).with_name("published.yaml")
OUT = Path(__file__).parent.parent / "results" / "estimate.md"
#: Whose kernels the published latencies are of, as their runtimes are named.
KERNELS = ("XNNPACK", "Paddle-Lite", "ncnn")
#: The overlap powers that a fit chooses from.
POWERS = tuple(np.round(np.arange(1.0, 4.01, 0.05), 2))
#: Constants that are published or derived, and the factors by which the table of sensitivities changes each.
FACTORS = (0.7, 1.4)


@dataclass(frozen=True)
class Published:
    """One published latency; ``clock_ghz`` where the core's clock was another, ``fit`` the constants that were fitted
    to it.
    """

    network: str
    model: str
    device: str
    threads: int
    ms: float
    runtime: str
    source: str
    precision: str = "fp32"
    clock_ghz: float | None = None
    fit: str = ""

    @property
    def kernels(self) -> str:
        """Whose kernels ran: a name of ``KERNELS``."""
        return next(name for name in KERNELS if name in self.runtime)


@dataclass(frozen=True)
class Checked:
    """A published latency beside the estimate; ``left_out`` is its error with the overlap fitted to all others of its
    core.
    """

    published: Published
    estimated_ms: float
    error: float
    left_out: float | None


def load_published(path: Path = PUBLISHED) -> list[Published]:
    """Every published latency, in order."""
    return [Published(**entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]


def estimate_ms(row: Published, changes: dict[str, float] | None = None) -> float:
    """The estimate for a published latency, with some of the device's constants changed."""
    device = changed(
        find_device(row.device), {**(changes or {}), **({"clock": row.clock_ghz} if row.clock_ghz else {})}
    )
    return total_us([cost(work, device, row.threads) for work in works(row.model, row.device, row.precision)]) / 1e3


def changed(device: DeviceModel, changes: dict[str, float]) -> DeviceModel:
    """The device with other values: of a constant by its name, of ``L2`` and ``L3`` (cycles per line), ``read``,
    ``write``, ``clock``.
    """
    update: dict[str, object] = {}
    memory, caches = device.memory, device.caches
    for name, value in changes.items():
        if name == "clock":
            update["clocks_ghz"] = tuple(value * clock / device.clock_ghz for clock in device.clocks_ghz)
        elif name in ("read", "write"):
            field = f"{name}_gb_per_s"
            memory = memory.model_copy(update={field: getattr(memory, field).model_copy(update={"value": value})})
        elif name in ("L2", "L3"):
            other = {"cycles_per_line": value}
            caches = tuple(cache.model_copy(update=other) if cache.name == name else cache for cache in caches)
        else:
            update[name] = getattr(device, name).model_copy(update={"value": value})
    return device.model_copy(update={**update, "memory": memory, "caches": caches})


def fitted(rows: Sequence[Published]) -> float:
    """The overlap power with the smallest mean error over ``rows``; other runtimes' outliers weigh no more than in
    proportion.
    """
    return min(map(float, POWERS), key=lambda power: sum(abs(_log_error(row, power)) for row in rows))


def crossed(rows: Sequence[Published]) -> dict[str, list[float]]:
    """By device: the error on each of the latencies that its overlap was fitted to, with the overlap fitted to the rest
    of them alone.
    """
    errors: dict[str, list[float]] = {}
    for row in (row for row in rows if row.fit == "overlap_power"):
        rest = [other for other in rows if other.fit == row.fit and other.device == row.device and other is not row]
        errors.setdefault(row.device, []).append(estimate_ms(row, {"overlap_power": fitted(rest)}) / row.ms - 1)
    return errors


def _log_error(row: Published, power: float) -> float:
    return math.log(estimate_ms(row, {"overlap_power": power}) / row.ms)


def check(rows: Sequence[Published]) -> list[Checked]:
    """Each published latency with its errors."""
    checked = []
    for row in rows:
        ms = estimate_ms(row)
        others = [other for other in rows if other is not row and other.device == row.device and other.threads == 1]
        left_out = None
        if row.threads == 1 and others:
            left_out = estimate_ms(row, {"overlap_power": fitted(others)}) / row.ms - 1
        checked.append(Checked(row, ms, ms / row.ms - 1, left_out))
    return checked


def sensitivities(rows: Sequence[Published]) -> dict[str, tuple[float, ...]]:
    """By constant: the largest change of any one-thread estimate of the first device when it is ``FACTORS`` times as
    large.
    """
    device = find_device(rows[0].device)
    values = {
        "L2": device.caches[1].cycles_per_line,
        "L3": device.caches[2].cycles_per_line,
        "read": device.memory.read_gb_per_s.value,
        "write": device.memory.write_gb_per_s.value,
        "mispredict_cycles": device.mispredict_cycles.value,
        "overlap_power": device.overlap_power.value,
    }
    alone = [row for row in rows if row.threads == 1 and row.device == rows[0].device]
    return {
        name: tuple(
            max((estimate_ms(row, {name: factor * value}) / estimate_ms(row) - 1 for row in alone), key=abs)
            for factor in FACTORS
        )
        for name, value in values.items()
    }


def table(checked: Sequence[Checked], own: dict[str, list[float]], changes: dict[str, tuple[float, ...]]) -> str:
    """The Markdown page."""
    lines = [
        "# Estimated latencies against published ones",
        "",
        "Made by `python -m benchmarks.estimate.validate`. Nothing here was measured by this project: the published "
        "figures are others',",
        "with other releases and other runtimes; the estimates are of LiteRT 2.1.2 with XNNPACK. *Left out*: the "
        "error with the overlap",
        "fitted to all other one-thread rows of the core.",
        "",
        "| network | precision | core | threads | published, ms | by | estimated, ms | error | left out | used for |",
        "| --- | --- | --- | ---: | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for entry in checked:
        row = entry.published
        core = row.device + (f" at {row.clock_ghz} GHz" if row.clock_ghz else "")
        left = f"{entry.left_out:+.1%}" if entry.left_out is not None else ""
        cells = [row.network, row.precision, core, str(row.threads), f"{row.ms:.2f}", f"{row.runtime} ({row.source})"]
        cells += [
            f"{entry.estimated_ms:.2f}",
            f"{entry.error:+.1%}",
            left,
            f"fit of {row.fit}" if row.fit else "check alone",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        *_summary(checked),
        "",
        *(
            f"* {device}: the latencies that the overlap was fitted to, each by the others alone: "
            f"{', '.join(f'{error:+.1%}' for error in errors)}."
            for device, errors in own.items()
        ),
        "",
        "How much the largest change of a one-thread estimate is when a constant is another:",
        "",
    ]
    lines += [f"| constant | × {FACTORS[0]} | × {FACTORS[1]} |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {' | '.join(f'{change:+.1%}' for change in found)} |" for name, found in changes.items()]
    return "\n".join(lines) + "\n"


def _summary(checked: Sequence[Checked]) -> list[str]:
    """Errors by core and by whose kernels ran: an estimate is of XNNPACK's, and others have their own."""
    lines = [
        "One thread, by whose kernels ran and in which precision:",
        "",
        "| core | kernels | precision | latencies | largest error | mean | left out, largest | mean |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    alone = [entry for entry in checked if entry.published.threads == 1]
    for device in dict.fromkeys(entry.published.device for entry in alone):
        here = [entry for entry in alone if entry.published.device == device]
        groups: dict[tuple[str, str], list[Checked]] = {}
        for entry in here:
            groups.setdefault((entry.published.kernels, entry.published.precision), []).append(entry)
        for names, entries in [*sorted(groups.items()), (("all", "all"), here)]:
            lines.append(f"| {' | '.join([device, *names, str(len(entries)), *_errors(entries)])} |")
    return lines


def _errors(entries: Sequence[Checked]) -> list[str]:
    """The largest and the mean error, then the same of those that were left out."""
    errors = [abs(entry.error) for entry in entries]
    left = [abs(entry.left_out) for entry in entries if entry.left_out is not None]
    return [f"{figure:.1%}" for each in (errors, left) for figure in (max(each), sum(each) / len(each))]


@click.command()
@out_option(OUT)
def main(out: Path) -> None:
    """Estimate every published latency and write the table of errors."""
    rows = load_published()
    checked = check(rows)
    own, changes = crossed(rows), sensitivities(rows)
    powers = {
        device: fitted([row for row in rows if row.device == device and row.fit == "overlap_power"]) for device in own
    }
    click.echo(f"overlap_power by fit: {', '.join(f'{device} {power:g}' for device, power in powers.items())}")
    document = {
        "checked": [asdict(entry) for entry in checked],
        "sensitivities": changes,
        "fitted_overlap_power": powers,
    }
    write_results(out, table(checked, own, changes), document)
    click.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
