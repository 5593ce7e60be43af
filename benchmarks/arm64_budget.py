"""The budget: what an inference may cost on an Arm64 processor, held by CI without a phone.

``python -m benchmarks.arm64_budget`` converts each model that ``arm64_budget.json`` names, counts its instructions on
the emulated processor, estimates its cycles on a phone's core, and fails (exit code 1) where one needs over
``tolerance`` more than its budget. ``--update`` writes what was counted as the new budget: after a change that was
meant, and to be explained in its commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from evit_mobile.errors import ClaimError, EvitMobileError
from evit_mobile.results.record import RunSettings

BUDGET = Path(__file__).with_suffix(".json")

#: One process with two measured inferences, which must agree: counts repeat, so more would say nothing more.
SETTINGS = RunSettings(runs=2, rounds=1, warmup_runs=1, min_time_s=0)


#: What each kind of device gives, as it is called in a verdict.
UNITS = {"instructions": "instructions", "cycles": "estimated cycles"}


@dataclass(frozen=True)
class Verdict:
    """What a model's inference takes beside its budget; ``unit`` is a value of ``UNITS``."""

    model: str
    unit: str
    amount: int
    budget: int
    tolerance: float

    @property
    def growth(self) -> float:
        """0.02 is 2 % over the budget."""
        return self.amount / self.budget - 1

    @property
    def is_over(self) -> bool:
        return self.amount > self.budget * (1 + self.tolerance)

    def __str__(self) -> str:
        verdict = "over the budget" if self.is_over else "within"
        amounts = f"{self.amount / 1e6:8.2f} M {self.unit:16}  budget {self.budget / 1e6:8.2f} M"
        return f"{self.model:20} {amounts}  {self.growth:+.2%}  {verdict}"


def noise() -> Iterator[NDArray[np.float32]]:
    """Calibration data, [224, 224, 3] each: what is done does not depend on the values that it is done to."""
    draw = np.random.default_rng(0)
    for _ in range(8):
        yield draw.standard_normal((224, 224, 3), np.float32)


def load_budget(path: Path = BUDGET) -> dict[str, Any]:
    """``devices`` by what they give, ``runtime``, ``tolerance``, and ``models``: each a name that convert takes, with
    its options and what an inference may take on each device.
    """
    budget: dict[str, Any] = json.loads(path.read_text())
    return budget


def count(budget: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What an inference of every model of the budget takes, by what is counted and by the model's key."""
    from converters.options import ConvertOptions
    from converters.pipeline import convert_cached
    from evit_mobile.specs import Precision, Resolution

    paths = {}
    for key, entry in budget["models"].items():
        resolution = Resolution.parse(entry["resolution"]) if "resolution" in entry else None
        precision = Precision(entry.get("precision", "fp32"))
        calibration = "benchmarks.arm64_budget:noise" if precision is Precision.INT8 else None
        options = ConvertOptions(resolution=resolution, precision=precision, calibration=calibration)
        paths[key] = convert_cached(entry["model"], options)
    return {what: _counted(device, budget["runtime"], paths) for what, device in budget["devices"].items()}


def _counted(name: str, runtime: str, paths: dict[str, Path]) -> dict[str, int]:
    from android_bench.device import DeviceOptions, open_device

    device = open_device(name, DeviceOptions(runtime=runtime))
    with device.prepare(list(paths.values()), SETTINGS) as prepared:
        rounds = {key: prepared.run(path) for key, path in paths.items()}
    return {key: entry.estimate.cycles if entry.estimate else int(entry.values[-1]) for key, entry in rounds.items()}


def judge(budget: dict[str, Any], counted: dict[str, dict[str, int]]) -> list[Verdict]:
    """A verdict for each model and what is counted of it."""
    return [
        Verdict(key, UNITS[what], amounts[key], entry.get(what, amounts[key]), budget["tolerance"])
        for key, entry in budget["models"].items()
        for what, amounts in counted.items()
    ]


@click.command()
@click.option("--update", is_flag=True, help="Write what was counted as the new budget.")
def main(update: bool) -> None:
    """Check each model's instructions and estimated cycles against their budget."""
    budget = load_budget()
    try:
        counted = count(budget)
        verdicts = judge(budget, counted)
        for verdict in verdicts:
            click.echo(verdict)
        if update:
            for what, amounts in counted.items():
                for key, amount in amounts.items():
                    budget["models"][key][what] = amount
            BUDGET.write_text(json.dumps(budget, indent=2) + "\n")
        elif any(verdict.is_over for verdict in verdicts):
            over = ", ".join(f"{verdict.model} ({verdict.unit})" for verdict in verdicts if verdict.is_over)
            raise ClaimError(f"over the budget by more than {budget['tolerance']:.0%}: {over}")
    except EvitMobileError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
