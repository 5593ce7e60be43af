"""The forms of ``compare_forms`` by estimated cycles of phone cores, in each precision.

    python -m benchmarks.attention.estimate_forms [--device snapdragon-855 --device snapdragon-835] [--precision fp32]
    [--out benchmarks/results]

Nothing is measured: see docs/explanation/estimate.md. Estimates repeat exactly. Writes ``attention_forms_arm64.json``
and ``attention_forms_arm64.md``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.device import Device, DeviceOptions, open_device
from benchmarks.attention.layers import SIZES, Size, build_forms, chosen_form
from benchmarks.results_files import out_option, write_results
from converters.passes.linear_attention.forms import Form
from evit_mobile.results.record import RunSettings
from evit_mobile.specs import Core, Precision, Target

#: An estimate repeats.
SETTINGS = RunSettings(runs=1, rounds=1, warmup_runs=0, min_time_s=0)
RESULT = Path(__file__).resolve().parent.parent / "results" / "attention_forms_arm64.md"
#: A core with 8-bit dot products and half precision, and one without.
DEVICES = ("snapdragon-855", "snapdragon-835")
#: Tokens from and up to which a form is estimated, where that is not everywhere; ``token-major`` has more instructions
#: than ``channel-major`` at every size, and is left out.
FIRST, LAST = {"gram-matmul": 257}, {"token-major": 0, "channel-major": 512}


@dataclass(frozen=True)
class Cost:
    """One form of a layer of so many channels and tokens, by the cycles of an inference and by those that it waits for
    memory; ``chosen`` marks what ``auto`` takes for the device's core.
    """

    device: str
    core: str
    precision: str
    channels: int
    tokens: int
    form: str
    cycles: int
    wait_cycles: int
    chosen: bool


def costs_of(name: str, size: Size, precision: Precision, folder: Path) -> Iterator[Cost]:
    """Every form of one layer."""
    device = open_device(f"estimate:{name}", DeviceOptions())
    core = core_of(device)
    target = Target(precision, core=core)
    models = build_forms(size, folder, target, forms_at(size))
    chosen = chosen_form(size, folder, models, target)
    with device.prepare(list(models.values()), SETTINGS) as prepared:
        for form, path in models.items():
            estimate = prepared.run(path).estimate
            assert estimate is not None
            yield Cost(
                name,
                core,
                precision,
                size.channels,
                size.tokens,
                form,
                estimate.cycles,
                estimate.wait_cycles,
                form == chosen,
            )


def forms_at(size: Size) -> list[str]:
    """The forms that are estimated at ``size``."""
    return [form for form in Form if FIRST.get(form, 0) <= size.tokens <= LAST.get(form, size.tokens)]


def core_of(device: Device) -> Core:
    """The class of the device's core."""
    info = device.describe()
    return Core.of(info.abi, info.instruction_sets)


def as_markdown(costs: list[Cost], note: str) -> str:
    """A table a device and precision: forms down, sizes across."""
    lines = ["# Forms of one linear attention layer on Arm64", ""]
    lines += [
        "Million cycles per inference by `--device estimate:NAME`, one thread: estimated, not measured. In brackets",
        "the share that is spent waiting for memory. Bold: what `auto` takes for the core. *Behind*: its cycles",
        f"beside those of the best form. {note}.",
        "",
    ]
    for device, core, precision in dict.fromkeys((cost.device, cost.core, cost.precision) for cost in costs):
        own = [cost for cost in costs if (cost.device, cost.precision) == (device, precision)]
        sizes = list(dict.fromkeys((cost.channels, cost.tokens) for cost in own))
        cells = {(cost.form, cost.channels, cost.tokens): cost for cost in own}
        lines += [f"## {device} ({core}), {precision}", ""]
        lines.append(f"| form | {' | '.join(f'C{channels} N{tokens}' for channels, tokens in sizes)} |")
        lines.append("| --- |" + " ---: |" * len(sizes))
        for form in dict.fromkeys(cost.form for cost in own):
            lines.append(f"| {form} | {' | '.join(_cell(cells.get((form, *size))) for size in sizes)} |")
        lines += [f"| *behind* | {' | '.join(f'{behind(own, size):.1%}' for size in sizes)} |", ""]
    return "\n".join(lines)


def _cell(cost: Cost | None) -> str:
    if cost is None:
        return "–"
    text = f"{cost.cycles / 1e6:.3g} ({cost.wait_cycles / cost.cycles:.0%})"
    return f"**{text}**" if cost.chosen else text


def behind(costs: list[Cost], size: tuple[int, int]) -> float:
    """How many cycles what ``auto`` takes needs beyond the best form at (channels, tokens), as a share."""
    own = [cost for cost in costs if (cost.channels, cost.tokens) == size]
    return next(cost.cycles for cost in own if cost.chosen) / min(cost.cycles for cost in own) - 1


@click.command()
@click.option("--device", "devices", multiple=True, default=DEVICES, show_default=True)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice([item.value for item in Precision if item is not Precision.DYNAMIC]),
    default=("fp32",),
    show_default=True,
)
@click.option("--most-tokens", default=8192, show_default=True, help="Larger layers take minutes.")
@out_option(RESULT)
def main(devices: tuple[str, ...], precisions: tuple[str, ...], most_tokens: int, out: Path) -> None:
    """Estimate the canonical forms of linear attention."""
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in devices:
            for precision in map(Precision, precisions):
                for size in (size for size in SIZES if size.tokens <= most_tokens):
                    folder = Path(scratch) / f"{size.channels}-{size.tokens}"
                    folder.mkdir(exist_ok=True)
                    costs += costs_of(name, size, precision, folder)
                    click.echo(f"{name}, {precision}: {size.tokens} tokens done", err=True)
    versions = open_device(f"estimate:{devices[0]}", DeviceOptions()).components()
    named = ("ai-edge-litert (arm64)", "llvm-mca")
    note = ", ".join(f"{item.name} {item.version}" for item in versions if item.name in named)
    text = as_markdown(costs, note)
    write_results(out, text, {"note": note, "costs": [asdict(cost) for cost in costs]})
    click.echo(text)


if __name__ == "__main__":
    main()
