"""``evit-mobile evaluate``."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import click

from evit_mobile.cli.options import (
    MAX_THREADS,
    card_of,
    card_options,
    json_option,
    one_signature_option,
    print_json,
    table_console,
)

if TYPE_CHECKING:
    from evit_mobile.evaluation.base import Progress

#: In a log, which has no bar that moves: seconds between two lines.
LOG_EVERY_S = 15.0


@click.command("evaluate")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures and their answers.",
)
@click.option("--annotations", type=click.Path(path_type=Path), help="Detectors: the COCO file, where DIR has several.")
@one_signature_option
@card_options
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take N pictures, spread over all.  [default: all]")
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    default=min(os.cpu_count() or 1, MAX_THREADS),
    help="Threads of the model.  [default: all cores]",
)
@json_option
def command(file: Path, folder: Path, signature: str | None, threads: int, as_json: bool, **selection: Any) -> None:
    """Measure a .tflite's accuracy on pictures whose answers are known.

    \b
    Classifiers   DIR/CLASS/*.jpg, folders named by class, number or WordNet id: top-1 and top-5
    Detectors     COCO's instances JSON in DIR or DIR/annotations, pictures beside: average precision
    Segmenters    Cityscapes' leftImg8bit and gtFine, or DIR/images and DIR/masks: mean IoU
    """
    from evit_mobile.evaluation import evaluator_of
    from evit_mobile.evaluation.base import Options
    from evit_mobile.vision.inference import open_model
    from evit_mobile.vision.purpose import purpose_of

    purpose = purpose_of(file, card_of(selection), signature)
    description = purpose.description
    with open_model(file, purpose, threads=threads) as model, _progress() as progress:
        figures = evaluator_of(purpose.task)(model, folder, Options(purpose.labels, **selection), progress)
    if not description.has_trained_weights:
        click.echo("warning: the weights are random, the figures mean nothing", err=True)
    document = {
        "model": description.model,
        "task": purpose.task,
        "resolution": description.resolution,
        "data": str(folder),
        **figures,
    }
    if as_json:
        print_json(document)
    else:
        _print(document)


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """On stderr: a bar with the time left, or in a log a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _log_lines()
        return
    with Bar(
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("evaluating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _log_lines() -> Progress:
    start = last = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LOG_EVERY_S:
            last = now
            left_s = (now - start) / done * (total - done)
            left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
            click.echo(f"{done} of {total} pictures, {left} left", err=True)

    return say


def _print(document: dict[str, Any]) -> None:
    from rich.table import Table

    of = "" if document["images"] == document["images_in_folder"] else f" of {document['images_in_folder']}"
    table = Table(
        "figure", "%", title=f"{document['model']} at {document['resolution']} on {document['images']}{of} pictures"
    )
    for name, value in document.items():
        if name == "iou":
            for label, share in value.items():
                table.add_row(f"IoU of {label}", _percent(share))
        elif isinstance(value, float) or value is None:
            table.add_row(name, _percent(value))
    table_console().print(table)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
