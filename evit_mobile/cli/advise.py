"""``evit-mobile advise``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import (
    FiniteRange,
    force_option,
    json_option,
    print_json,
    progress,
    resolution_option,
    seed_option,
    table_console,
    weights_option,
)
from evit_mobile.cli.phone_options import options_set, phone_options
from evit_mobile.errors import RequestError
from evit_mobile.files import check_distinct, check_output, whole_file

if TYPE_CHECKING:
    from evit_mobile.advice import Advice, Option, Place, Requirement
    from evit_mobile.results.draw.interval_plot import Form

#: By the ending of --chart.
FORMS: dict[str, Form] = {".png": "png", ".svg": "svg"}


@click.command("advise")
@click.option("--model", required=True, metavar="NAME|timm:NAME|package.module:factory|FILE.onnx", help="The model.")
@click.option(
    "--device",
    default="host",
    metavar="host|adb[:SERIAL]|qemu:CPU|estimate:NAME",
    help="What the model will run on.  [default: host]",
)
@click.option(
    "--calibration",
    metavar="FOLDER|FILE.npz|package.module:function",
    help="For int8; a quarter is held out, and the outputs are compared on it.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR", help="Pictures with answers, as evaluate takes them."
)
@click.option("--labels", type=click.Path(path_type=Path), help="With --data: class names, one a line.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="With --data: take N pictures, spread over all.")
@click.option(
    "--min-sqnr",
    "min_sqnr_db",
    type=FiniteRange(0, 200, min_open=True),
    metavar="DB",
    help="SQNR that the file keeps against fp32.  [default: 30, without --max-drop]",
)
@click.option(
    "--max-drop",
    type=FiniteRange(0, 100),
    metavar="POINTS",
    help="What its accuracy on --data may be below fp32's, in percentage points.",
)
@resolution_option
@weights_option
@seed_option
@click.option("--threads", type=click.IntRange(1, 64), default=1, help="Threads.  [default: 1]")
@click.option("--cores", default="all", metavar="all|prime|big|little|MASK", help="Phone: cores to stay on.")
@click.option("--rounds", type=click.IntRange(1, 10_000), help="Rounds per file.  [default: 10; qemu: 2; estimate: 1]")
@click.option("--runs", type=click.IntRange(1, 1_000_000), help="Minimum number of runs per file, in all.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.tflite", help="Write the advised file here.")
@click.option("--chart", type=click.Path(path_type=Path), metavar="FILE.png|svg", help="Draw latency against SQNR.")
@click.option("--results", type=click.Path(path_type=Path), metavar="FILE.json", help="Keep every sample here.")
@phone_options
@force_option
@json_option
def command(as_json: bool, force: bool, model: str, **values: Any) -> None:
    """Convert a model in every precision, measure the files, and say which one to ship.

    The fastest file that keeps the SQNR, or the accuracy, that is asked for. On estimate: nothing is measured, and the
    figures are called estimated.

    \b
    evit-mobile advise --model base-r224 --device estimate:snapdragon-855 --calibration photos/
    evit-mobile advise --model base-r224 --device adb --calibration photos/ --min-sqnr 25 --out model.tflite
    evit-mobile advise --model shapes-det --data digits/ --max-drop 0.5 --chart chart.svg
    """
    from converters.options import ConvertOptions
    from evit_mobile.advice import chart
    from evit_mobile.api import advise
    from evit_mobile.models.registry import check_name
    from evit_mobile.results.files import save

    check_name(model)
    out, picture, results = (values.pop(name) for name in ("out", "chart", "results"))
    check_distinct((out, picture, results))
    for path in filter(None, (out, picture, results)):
        check_output(path, force=force, inputs=(model, values["weights"], values["calibration"], values["labels"]))
    if picture is not None and picture.suffix not in FORMS:
        raise RequestError(f"{picture} is no kind of picture", hint=f"end it in {' or '.join(FORMS)}")
    requirement = _requirement(values)
    names = ("resolution", "weights", "seed", "calibration")
    options = ConvertOptions(**{name: values.pop(name) for name in names})
    with progress(f"advising on {model}") as say:
        advice = advise(model, _place(values, say), requirement, options)
        if out is not None:
            advice.save(out)
        if picture is not None:
            with whole_file(picture) as temporary:
                temporary.write_bytes(chart(advice, FORMS[picture.suffix]))
        if results is not None:
            save(advice.results.evolve(command=("evit-mobile", *sys.argv[1:])), results)
    for warning in advice.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json({"out": None if out is None else str(out), **advice.to_json()})
    else:
        _print(advice, out)


def _requirement(values: dict[str, Any]) -> Requirement:
    from evit_mobile.advice import Requirement
    from evit_mobile.card import read_labels

    labels = values.pop("labels")
    fields = {name: values.pop(name) for name in ("min_sqnr_db", "max_drop", "data", "limit")}
    return Requirement(labels=None if labels is None else read_labels(labels), **fields)


def _place(values: dict[str, Any], say: Any) -> Place:
    from android_bench.device import DeviceOptions, kind_of
    from evit_mobile.advice import Place

    device = values.pop("device")
    settings = {name: values.pop(name) for name in ("threads", "cores", "rounds", "runs")}
    chosen = {name: value for name, value in settings.items() if value is not None}
    return Place(device, kind_of(device).settings.evolve(**chosen), DeviceOptions(say=say, **options_set(values)))


def _print(advice: Advice, out: Path | None) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from evit_mobile.results.summary import caveats, measured
    from evit_mobile.text import visible

    for text in caveats(advice.results):
        click.echo(visible(text))
    click.echo(f"SQNR: against fp32, on {advice.tested_on}.")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=visible(f"{advice.model}: {measured(advice.results)}"))
    table.add_column("precision")
    headings = ["time", "95% interval", "times as fast", "SQNR", *([advice.figure] if advice.figure else []), "MB"]
    for heading in (*headings, "memory, MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for option in advice.options:
        table.add_row(option.name, *map(Text, _cells(option, advice)))
    table_console(160).print(table)
    click.echo(visible(advice.sentence()))
    if out is not None:
        click.echo(f"{out}: {advice.chosen.name}")


def _cells(option: Option, advice: Advice) -> list[str]:
    from evit_mobile.results.summary import show, show_interval, significant, summary_of, unit
    from evit_mobile.text import visible

    point, reference = option.point, advice.reference.value
    cells = ["–"] * 3
    if point is not None and point.quantity is not None:
        summary = summary_of(point)
        cells[:2] = f"{show(point.quantity, summary.median)} {unit(point.quantity)}", show_interval(
            point.quantity, summary.interval
        )
        cells[2] = "–" if reference is None else significant(reference / summary.median, 3)
    cells.append("–" if option.sqnr_db is None else f"{option.sqnr_db:.1f} dB" if option.sqnr_db < 1e9 else "reference")
    if advice.figure is not None:
        cells.append("–" if option.accuracy is None else f"{option.accuracy:.2%}")
    report = option.conversion.report if option.conversion is not None else None
    cells.append("–" if report is None else f"{report.bytes_tflite / 1e6:.1f}")
    cells.append("–" if option.memory_bytes is None else f"{option.memory_bytes / 1e6:.1f}")
    notes = [option.refusal] if option.refusal else []
    notes += ["on the Pareto front"] if option in advice.front() and not option.refusal else []
    notes += ["advised"] if option is advice.chosen else []
    return [*cells, visible(", ".join(notes))]
