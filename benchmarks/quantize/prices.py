"""The prices of ops by class of core, ``converters/quantize/prices.json``: ``python -m benchmarks.quantize.prices``.

One core, whose latency can be estimated, stands for each class of Arm cores. Networks are estimated in every precision,
and the cycles of each op, waiting for memory among them, are fitted by a price a multiply-accumulate, an element read,
an element written, a weight, and an op, none below zero. What the delegate puts before an op, such as the rounding of a
hybrid op's input, counts to that op.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
from scipy.optimize import nnls

from android_bench.benchmark_model.op_profile import parse_csv
from android_bench.emulator.device import open_qemu
from android_bench.estimate.devices import find_device
from android_bench.estimate.kept import kept_works
from android_bench.estimate.places import places
from android_bench.estimate.timing import cost
from android_bench.estimate.tools import find_llvm
from android_bench.estimate.works import segment_names
from converters.quantize import prices as tables
from converters.quantize.prices import ANY, Features, Prices, price_of, states_of
from converters.tflite.metadata import HALF_ENTRY
from evit_mobile.specs import Core, Precision
from evit_mobile.tflite.delegate_ops import match
from evit_mobile.tflite.file import Tflite

#: The device that stands for each class of core.
DEVICES = {
    Core.ARMV8_0: "snapdragon-835",
    Core.ARMV8_2: "snapdragon-855",
    Core.ARMV9: "snapdragon-8-gen-2-gold",
}
RESULT = Path(tables.__file__).with_name("prices.json")
#: Fewer ops than these do not tell five prices apart.
FEW = 8
#: Cycles below which an op's error counts as if it took so many.
SMALL = 2000.0

#: The states of one kind and precision, each with its cycles.
Samples = dict[tuple[str, Precision], list[tuple[Features, float]]]


def op_cycles(model: Path, device: str) -> dict[int, float]:
    """Cycles of each op of a file that depends on its input; 0 of one that the delegate folds into another."""
    described, file = find_device(device), Tflite.read(model)
    qemu = open_qemu(described.processor)
    works = kept_works(qemu, find_llvm(), model, described)
    profile = parse_csv(qemu.profile(model))
    indices = match([op.op for op in profile], file.graph)
    segments = segment_names(profile, places(profile, file))
    cycles: dict[int, float] = {op.index: 0.0 for op in file.graph.ops if op.depends_on_input}
    waiting = 0.0
    for (_, is_op, number), work in zip(segments, works, strict=True):
        if not is_op or number is None:
            continue
        waiting += cost(work, described).cycles
        index = indices[number]
        if index is not None:
            cycles[index] += waiting
            waiting = 0.0
    return cycles


def is_half(file: Tflite) -> bool:
    """Whether a file leaves what is float to half precision."""
    return any(entry.name.decode() == HALF_ENTRY for entry in file.tree.metadata or [])


def samples_of(times: Mapping[Path, Mapping[int, float]]) -> Samples:
    """What each op of the models takes, by kind and precision."""
    samples: Samples = defaultdict(list)
    for model, cycles in times.items():
        file = Tflite.read(model)
        for index, state in states_of(file.graph, half=is_half(file)).items():
            samples[state.kind, state.precision].append((state.features, cycles[index]))
    return samples


def fit(samples: Sequence[tuple[Features, float]]) -> list[float]:
    """A price a feature, none below zero, of the least squared error relative to the root of what an op takes; of few
    ops, a price a multiply-accumulate alone, or an element written.
    """
    features = np.array([features for features, _ in samples], np.float64)
    if len(samples) < FEW:
        features[:, [1, 2, 3, 4] if features[:, 0].any() else [0, 1, 3, 4]] = 0
    cycles = np.array([value for _, value in samples])
    weights = 1 / np.sqrt(np.maximum(cycles, SMALL))
    size = np.maximum(features.max(axis=0), 1)
    prices, _ = nnls(features / size * weights[:, None], cycles * weights)
    return [float(f"{price:.4g}") for price in prices / size]


def table(core: Core, times: Mapping[Path, Mapping[int, float]]) -> Prices:
    """The prices of a class of core, by what each op of some models takes."""
    samples = samples_of(times)
    by_kind: dict[str, dict[str, Sequence[float]]] = defaultdict(dict)
    for (kind, precision), known in sorted(samples.items()):
        by_kind[kind][precision] = fit(known)
    for precision in Precision:
        others = [item for (_, its), known in samples.items() if its is precision for item in known if not item[0][0]]
        if others:
            by_kind[ANY][precision] = fit(others)
    names = ", ".join(model.stem for model in times)
    return Prices(f"estimate:{DEVICES[core]}, {names}", "cycles", core is not Core.ARMV8_0, by_kind)


def errors(prices: Prices, times: Mapping[Path, Mapping[int, float]]) -> Iterator[str]:
    """How far the table is from what it was made of, a line for each model."""
    for model, cycles in times.items():
        file = Tflite.read(model)
        actual, priced = sum(cycles.values()), price_of(file.graph, prices, half=is_half(file))
        yield f"{model.stem}: {actual / 1e6:.2f} M {prices.unit}, by the table {priced / 1e6:.2f} M"


@click.command()
@click.option(
    "--core",
    "cores",
    type=click.Choice(list(map(str, DEVICES))),
    multiple=True,
    default=list(map(str, DEVICES)),
    show_default=True,
)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(cores: Sequence[str], models: Sequence[Path]) -> None:
    """Estimate MODELS (.tflite files of one network in several precisions) and fit the tables of the cores."""
    written = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for core in map(Core, cores):
        times = {model: op_cycles(model, DEVICES[core]) for model in models}
        prices = table(core, times)
        written[core] = asdict(prices)
        for line in errors(prices, times):
            click.echo(f"{core}, {line}")
        # A price list a line.
        RESULT.write_text(re.sub(r"\n +(?=[\d\]])", " ", json.dumps(written, indent=1, sort_keys=True)) + "\n")


if __name__ == "__main__":
    main()
