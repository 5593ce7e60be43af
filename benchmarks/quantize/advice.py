"""Which precision is advised on each class of Arm core: ``python -m benchmarks.quantize.advice``.

``advise`` runs as a user runs it, on one estimated device for each class, for base-r224 with the first of the seeds of
``calibrated``. Latencies are estimated, not measured: see docs/explanation/estimate.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.quantize.ablation import MODEL, SIDE
from benchmarks.quantize.calibrated import calibrated_weights
from benchmarks.quantize.prices import DEVICES
from benchmarks.results_files import out_option, write_results
from converters.options import ConvertOptions
from evit_mobile.advice import Place, Requirement
from evit_mobile.api.advising import advise
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, Core

RESULT = Path(__file__).resolve().parent.parent / "results" / "advice.md"


def advice_of(device: str, weights: Path, bound_db: float) -> dict[str, Any]:
    """What ``advise --json`` prints."""
    options = ConvertOptions(weights=weights, calibration=f"benchmarks.photos:calibration_{SIDE}")
    place = Place(f"estimate:{device}")
    return advise(MODEL, place, Requirement(min_sqnr_db=bound_db), options).to_json()


def render(advices: dict[str, dict[str, Any]], bound_db: float) -> str:
    """Markdown."""
    devices = {core: device for core, device in DEVICES.items() if core in advices}
    names = list(dict.fromkeys(option["name"] for item in advices.values() for option in item["options"]))
    lines = [
        f"{MODEL} with a calibrated seed of its weights, asked for {bound_db:g} dB: estimated milliseconds on one "
        "thread (times as fast as fp32) and SQNR. Nothing here was measured. Bold: advised.",
        "",
        f"| precision | {' | '.join(f'`{core}`: {device}' for core, device in devices.items())} |",
        f"| --- |{' --- |' * len(devices)}",
    ]
    lines += [f"| {name} | {' | '.join(_cell(advices[core], name) for core in devices)} |" for name in names]
    lines += ["", *(f"* `{core}`: {advices[core]['advice']}" for core in devices)]
    return "\n".join(lines) + "\n"


def _cell(advice: dict[str, Any], name: str) -> str:
    options = {option["name"]: option for option in advice["options"]}
    if name not in options:
        return "–"
    option, fp32 = options[name], options["fp32"]
    if option["refusal"] is not None:
        return str(option["refusal"])
    taken = option["estimated_latency_us"]["median"]
    times = fp32["estimated_latency_us"]["median"] / taken
    kept = "" if option["sqnr_db"] is None else f", {option['sqnr_db']:.1f} dB"
    text = f"{taken / 1000:.1f} ({times:.2f}){kept}"
    return f"**{text}**" if name == advice["chosen"] else text


@click.command()
@click.option(
    "--core", "cores", type=click.Choice(list(map(str, DEVICES))), multiple=True, default=list(map(str, DEVICES))
)
@click.option("--min-sqnr", "bound_db", default=DEFAULT_MIN_SQNR_DB, show_default=True)
@out_option(RESULT)
def main(cores: Sequence[str], bound_db: float, out: Path) -> None:
    """Ask for advice on every class of core, write the table (.md) and its numbers (.json)."""
    advices: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        weights = calibrated_weights(MODEL, SIDE, 0, Path(scratch) / "weights.safetensors")
        for core in map(Core, cores):
            advices[core] = advice_of(DEVICES[core], weights, bound_db)
            write_results(out, render(advices, bound_db), {"min_sqnr_db": bound_db, "advices": advices})
            click.echo(f"{core}: {advices[core]['advice']}", err=True)
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
