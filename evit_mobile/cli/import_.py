"""``evit-mobile import``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evit_mobile.cli.options import force_option, json_option, progress
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from evit_mobile.results.record import Place, ResultSet

#: Files of one import.
MOST_FILES = 1000


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The result file to write.")
@click.option("--soc", metavar="PART|NAME", help="What was measured, if you know it: SM8150, or Snapdragon 855.")
@click.option("--threads", type=click.IntRange(1, 64), help="Threads that were used, for files that do not say so.")
@click.option("--suite", "suite_name", metavar="NAME|FILE.yaml", help="The files are points of this suite.")
@force_option
@json_option
def command(
    files: tuple[str, ...],
    out: Path,
    soc: str | None,
    threads: int | None,
    suite_name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Read what other tools measured into a result file, for report and compare.

    Takes benchmark_model's result file, runtime info and printed output, the output and JSON of LiteRT's newer
    benchmark tools, and AI Hub's profiles. Several files of one model are its rounds. What a file does not say is
    not recorded.

    \b
    evit-mobile import base-r224=result.pb --threads 4 --soc SM8150 --out theirs.json
    evit-mobile import run1.json run2.json run3.json --out theirs.json
    evit-mobile import attention-linear+matched@14=a.txt attention-softmax@14=b.txt --suite figure-2-left --out c.json
    """
    from android_bench.imports.gather import Request, gather
    from evit_mobile.cli.bench import print_results
    from evit_mobile.files import check_output
    from evit_mobile.results.files import save

    if len(files) > MOST_FILES:
        raise RequestError(f"{len(files)} files are more than {MOST_FILES}", hint="import them in parts")
    named = tuple(_named(text) for text in files)
    check_output(out, force=force, inputs=[path for _, path in named])
    with progress("reading"):
        results = gather(Request(named, soc, threads), ("evit-mobile", *sys.argv[1:]))
        if suite_name is not None:
            results = _in_suite(results, suite_name)
    save(results, out)
    print_results(results, out, as_json, {})


def _named(text: str) -> tuple[str | None, Path]:
    """``NAME=FILE``, or a file alone."""
    name, separator, path = text.partition("=")
    if not separator or Path(text).exists():
        return None, Path(text)
    if not name.strip() or not path:
        raise RequestError(f"{text!r} is not NAME=FILE", hint="write for example base-r224=result.pb")
    return name, Path(path)


def _in_suite(results: ResultSet, suite_name: str) -> ResultSet:
    from android_bench.imports.gather import points_of, with_suite
    from android_bench.suites.schema import load_suite

    suite = load_suite(suite_name)
    places = {point.name: _counted(point.place, str(point.resolution)) for point in points_of(results, suite)}
    return with_suite(results, suite, places)


def _counted(place: Place, resolution: str) -> Place:
    """``place`` with its MACs, where its model can be counted."""
    from evit_mobile.models.counting import count_macs
    from evit_mobile.models.paper import shapes
    from evit_mobile.specs import ModelName, Resolution

    if not ModelName.parse(place.model).is_counted:
        return place
    size = Resolution.parse(resolution)
    module, channels = shapes(place.model, size)
    return place.evolve(macs=count_macs(module, size, channels))
