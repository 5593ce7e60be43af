"""What ``--precision auto`` gives on a phone's core: ``python -m benchmarks.quantize.auto``.

base-r224 at two resolutions with calibrated seeds of its weights (``calibrated``), and the trained digits model, each
asked for 30 dB. Cycles are estimated (see docs/explanation/estimate.md), and stand beside those of the fastest fp32
file of any converter. Outputs are compared with fp32's on inputs that took no part in the conversion: on this machine,
which computes half precision in float32, and on the emulated core, which computes it in half.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from android_bench.emulator.device import open_qemu
from android_bench.emulator.runtime import EmulatedRuntime
from benchmarks.accuracy import digits
from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.accuracy.report import WEIGHTS
from benchmarks.peers.arm64 import VENV_PYTHON
from benchmarks.peers.compare import CONVERTERS, ROOT, make
from benchmarks.peers.networks import ROWS
from benchmarks.photos import crops
from benchmarks.quantize.arm import estimated
from benchmarks.quantize.calibrated import calibrated_weights
from benchmarks.results_files import out_option, write_results
from converters.options import ConvertOptions
from evit_mobile.api.conversion import convert
from evit_mobile.arrays import Array
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, Precision, Resolution

RESULT = ROOT / "benchmarks" / "results" / "auto.md"
DEVICE, PROCESSOR = "snapdragon-855", "cortex-a76"
#: Rows of ``benchmarks.peers.networks`` by title: the side of their input.
SIDES = {"base-r224": 224, "base at 512": 512}
TRAINED = "digits-pair, trained"
PHOTOS = 32
#: The emulated core computes an inference of base at 512 in a minute.
EMULATED_PHOTOS, EMULATED_CANVASES = 4, 200


@dataclass(frozen=True)
class Case:
    """A network with its weights; ``seed`` None: trained. ``options`` are those of its fp32 file."""

    network: str
    seed: int | None
    model: str
    options: ConvertOptions
    calibration: str


@dataclass(frozen=True)
class Reference:
    """A network's fp32 file by one converter."""

    network: str
    converter: str
    cycles: int


@dataclass(frozen=True)
class Row:
    """The file that ``auto`` made. ``sqnr_db`` and ``agreement`` (of classes) are against fp32; ``choice`` is what the
    conversion says of it.
    """

    network: str
    seed: int | None
    cycles: int
    by_kind: dict[str, int]
    sqnr_db: float
    emulated_sqnr_db: float
    agreement: float
    emulated_agreement: float
    choice: str

    @property
    def chosen(self) -> str:
        """The file, by its precision."""
        return self.choice.partition(":")[0]


def cases(networks: Sequence[str], seeds: Sequence[int], folder: Path) -> Iterator[Case]:
    """What ``auto`` is asked for."""
    for network in networks:
        if network == TRAINED:
            yield Case(
                network, None, "digits-pair", ConvertOptions(weights=WEIGHTS), "benchmarks.accuracy.digits:calibration"
            )
            continue
        side, model = SIDES[network], next(row.model for row in ROWS if row.title == network)
        for seed in seeds:
            weights = calibrated_weights(model, side, seed, folder / f"{side}-{seed}.safetensors")
            options = ConvertOptions(resolution=Resolution(side, side), weights=weights)
            yield Case(network, seed, model, options, f"benchmarks.photos:calibration_{side}")


def references(network: str, python: Path, folder: Path) -> Iterator[Reference]:
    """The fp32 files of one network: what they take does not depend on the weights."""
    if network == TRAINED:
        content = convert("digits-pair", ConvertOptions(weights=WEIGHTS)).content
        yield Reference(network, "ours", estimated(content, DEVICE, folder)[0])
        return
    row = next(row for row in ROWS if row.title == network)
    for converter in CONVERTERS:
        path, _ = make(row, converter, folder, python)
        yield Reference(network, converter, estimated(path.read_bytes(), DEVICE, folder)[0])


def row_of(case: Case, bound_db: float, folder: Path) -> Row:
    """Convert, estimate, compare."""
    asked = replace(case.options, min_sqnr_db=bound_db, calibration=case.calibration)
    made, reference = convert(case.model, asked), convert(case.model, replace(case.options, precision=Precision.FP32))
    paths = made.save(folder / "auto.tflite"), reference.save(folder / "fp32.tflite")
    cycles, by_kind = estimated(made.content, DEVICE, folder)
    images = inputs_of(case)
    expected, found = (answers(path, images) for path in (paths[1], paths[0]))
    few = EMULATED_CANVASES if case.network == TRAINED else EMULATED_PHOTOS
    emulated = emulated_answers(paths[0], images[:few])
    assert made.report.choice is not None
    return Row(
        case.network,
        case.seed,
        cycles,
        by_kind,
        sqnr_db([expected], [found]),
        sqnr_db([expected[:few]], [emulated]),
        agreement(expected, found),
        agreement(expected[:few], emulated),
        made.report.choice,
    )


def inputs_of(case: Case) -> list[Array]:
    """Inputs [1, H, W, 3] that took no part in the conversion: halves of photographs, or canvases of other digits."""
    if case.network == TRAINED:
        return [image[np.newaxis] for image in digits.inputs(list(digits.test_canvases()))]
    return list(crops(SIDES[case.network], PHOTOS, held_out=True))


def emulated_answers(model: Path, images: Sequence[Array]) -> Array:
    """Logits [N, classes] by the emulated core."""
    with EmulatedRuntime(open_qemu(PROCESSOR)).open(model) as session:
        return np.concatenate([session.run([image])[0] for image in images])


def agreement(expected: Array, found: Array) -> float:
    """Share of inputs whose largest logit is of the same class."""
    return float((expected.argmax(1) == found.argmax(1)).mean())


def render(references: list[Reference], rows: list[Row], bound_db: float) -> str:
    """Markdown."""
    lines = [
        f"`--precision auto --min-sqnr {bound_db:g} --core armv8.2`. Million cycles by `--device estimate:{DEVICE}`, "
        "one thread: estimated, not measured.",
        "*Times as fast*: as the fastest fp32 file of any converter. SQNR and agreement of the classes: against our "
        f"fp32 file on inputs that took no part in the conversion, {PHOTOS} crops of photographs,",
        f"of the trained model {digits.TEST_CANVASES:,} canvases; in brackets on the emulated Cortex-A76, which "
        f"computes half precision, on the first {EMULATED_PHOTOS} of them ({EMULATED_CANVASES}).",
        "Seeds: of weights whose normalisations are calibrated on photographs.",
        "",
        "| network | seed | chosen | cycles | fp32, by converter | times as fast | SQNR, dB | same class |",
        "| --- | ---: | --- | ---: | --- | ---: | --- | --- |",
    ]
    for row in rows:
        fp32 = {item.converter: item.cycles for item in references if item.network == row.network}
        cells = (
            row.network, "trained" if row.seed is None else str(row.seed), row.chosen, f"{row.cycles / 1e6:.3g}",
            ", ".join(f"{name} {cycles / 1e6:.3g}" for name, cycles in fp32.items()),
            f"{min(fp32.values()) / row.cycles:.2f}", f"{row.sqnr_db:.1f} ({row.emulated_sqnr_db:.1f})",
            f"{row.agreement:.2%} ({row.emulated_agreement:.1%})",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def recorded(out: Path) -> tuple[list[Reference], list[Row]]:
    """What an earlier run wrote."""
    path = out.with_suffix(".json")
    document = json.loads(path.read_text()) if path.exists() else {"references": [], "rows": []}
    return [Reference(**item) for item in document["references"]], [Row(**item) for item in document["rows"]]


@click.command()
@click.option("--network", "networks", multiple=True, default=(TRAINED, *SIDES), show_default=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=range(5), show_default=True)
@click.option("--min-sqnr", "bound_db", default=DEFAULT_MIN_SQNR_DB, show_default=True)
@click.option("--python", type=click.Path(path_type=Path), default=VENV_PYTHON, help="litert-torch's interpreter.")
@click.option("--folder", type=click.Path(path_type=Path), default=ROOT / "build/peers", help="Keeps the peers' files.")
@out_option(RESULT)
def main(networks: Sequence[str], seeds: Sequence[int], bound_db: float, python: Path, folder: Path, out: Path) -> None:
    """Convert, estimate, compare; write the table (.md) and its numbers (.json) after each row. Recorded rows that are
    not asked for stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known, rows = recorded(out)
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases(networks, seeds, Path(scratch)):
            if case.network not in {item.network for item in known}:
                known += references(case.network, python, folder)
            row = row_of(case, bound_db, Path(scratch))
            rows = [item for item in rows if (item.network, item.seed) != (row.network, row.seed)] + [row]
            rows.sort(key=lambda item: ([TRAINED, *SIDES].index(item.network), item.seed or 0))
            numbers = {"references": list(map(asdict, known)), "rows": list(map(asdict, rows)), "min_sqnr_db": bound_db}
            write_results(out, render(known, rows, bound_db), numbers)
            click.echo(f"{case.network}, seed {case.seed}: {row.choice}", err=True)
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
