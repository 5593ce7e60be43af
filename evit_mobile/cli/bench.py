"""``evit-mobile bench``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.named_models import DEFAULT_MODEL, NamedModels, candidates_of
from evit_mobile.cli.options import Announcer, force_option, json_option, print_json, resolution_option
from evit_mobile.cli.phone_options import options_set, phone_options
from evit_mobile.cli.result_path import how_to_go_on, result_path
from evit_mobile.cli.suite_options import suite_options
from evit_mobile.cli.sustained import bench_sustained, sustained_options
from evit_mobile.errors import DeviceError, RequestError

if TYPE_CHECKING:
    from android_bench.device import Device
    from android_bench.suites.rounds import Candidate
    from evit_mobile.campaign import BenchOptions
    from evit_mobile.results.record import ResultSet, RunSettings
    from evit_mobile.results.summary import Row


@click.command("bench")
@click.argument("files", nargs=-1, metavar="[FILE.tflite]...", type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("host",),
    metavar="host|adb[:SERIAL]|qemu:CPU|estimate:NAME",
    help="What to measure on; adb:SERIAL@HOST:PORT is behind another machine's adb server. A suite takes several.  "
    "[default: host]",
)
@click.option(
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"Convert and measure; may be repeated.  [default: {DEFAULT_MODEL}]",
)
@resolution_option
@click.option(
    "--runtime", default="litert", metavar="NAME", help="What runs the models on the host.  [default: litert]"
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    multiple=True,
    help="Threads; may be repeated.  [default: 1; suites on a phone: 1 and 4]",
)
@click.option(
    "--cores",
    multiple=True,
    default=("all",),
    metavar="all|prime|big|little|MASK",
    help="Cores to stay on: a phone's cluster, or a hexadecimal mask as taskset's; may be repeated.  [default: all]",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    help="Minimum number of runs per model, in all.  [default: 50; qemu: 2; estimate: 1]",
)
@click.option("--rounds", type=click.IntRange(1, 10_000), help="Rounds per model.  [default: 10; qemu: 2; estimate: 1]")
@click.option("--profile", is_flag=True, help="Phone: time by op, too, by a run of its own. Estimate: time by op.")
@click.option("--out", type=click.Path(path_type=Path), help="Result file.  [default: results/<device>-<time>.json]")
@click.option(
    "--resume",
    is_flag=True,
    help="Resume the sweep in --out if it is there; else begin it.",
)
@sustained_options
@suite_options
@phone_options
@force_option
@json_option
def command(
    devices: tuple[str, ...],
    files: tuple[Path, ...],
    names: tuple[str, ...],
    suite: str | None,
    sustained_s: float | None,
    every_s: float | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Measure models in turn on a device and keep every sample in a result file.

    The first model named is the one that ratios are to. With --suite, measure the points of a figure on one or several
    devices.

    \b
    evit-mobile bench
    evit-mobile bench --model base-r192 --model base-r224 --threads 2
    evit-mobile bench before.tflite after.tflite --out results.json
    evit-mobile bench --device adb --cores big --max-temp 40
    evit-mobile bench --sustained 30m --device adb
    evit-mobile bench --every 33ms --device adb
    evit-mobile bench --device estimate:snapdragon-855 --profile
    evit-mobile bench --suite figure-2-left --device adb --out figure-2-left.json
    """
    devices = tuple(dict.fromkeys(devices))
    resolution, profile = values.pop("resolution"), values.pop("profile")
    of_suites = {name: values.pop(name) for name in ("budget_s", "up_to", "memory_limit_bytes", "jobs", "dask")}
    if suite is not None:
        if sustained_s is not None or every_s is not None:
            raise RequestError("a suite is measured in rounds", hint="leave out --sustained and --every")
        if files or names or resolution is not None or profile:
            raise RequestError(
                "a suite itself defines what is measured", hint="leave out files, --model, --resolution and --profile"
            )
        from evit_mobile.campaign import SuiteOptions
        from evit_mobile.cli.suite import bench_suite, list_suites

        if suite == "list":
            list_suites()
        else:
            bench_suite(suite, devices, _options(values), SuiteOptions(**of_suites), as_json)
        return
    if any(value is not None for value in of_suites.values()):
        raise RequestError(
            "--budget, --up-to, --memory-limit, --jobs and --dask are for suites", hint="name one by --suite"
        )
    if len(devices) > 1:
        raise RequestError(
            "several --device are for suites", hint="name one by --suite, or bench one device after the other"
        )
    models = NamedModels.of(files, names, resolution, profile)
    if sustained_s is not None or every_s is not None:
        bench_sustained(devices[0], models, sustained_s, every_s, _options(values), as_json)
        return
    _bench_models(devices[0], models, _options(values), as_json)


def _options(values: dict[str, Any]) -> BenchOptions:
    """The options that models and suites share, from what click gives."""
    from android_bench.device import DeviceOptions
    from evit_mobile.campaign import BenchOptions

    names = ("threads", "cores", "runs", "rounds", "out", "resume", "force", "run_timeout_s")
    shared = {name: values.pop(name) for name in names}
    return BenchOptions(**shared, device=DeviceOptions(say=Announcer(), **options_set(values)))


def _bench_models(device_text: str, models: NamedModels, options: BenchOptions, as_json: bool) -> None:
    from android_bench.device import kind_of, open_device
    from android_bench.suites.resume import begin
    from evit_mobile.cli.profile import reasons_of

    started = datetime.now(UTC)
    out = result_path(device_text, models, options, started)
    usual = kind_of(device_text).settings
    settings = [
        usual.evolve(threads=count, cores=mask, runs=options.runs or usual.runs, rounds=options.rounds or usual.rounds)
        for mask in dict.fromkeys(options.cores)
        for count in dict.fromkeys(options.threads or (1,))
    ]
    device = open_device(device_text, options.device_options())
    candidates = candidates_of(models, options.device.runtime)
    before = begin(device, started, ("evit-mobile", *sys.argv[1:]), out if options.resume else None)
    results = _measure(device, candidates, settings, before, out, models.profile)
    reasons = {candidate.name: reasons_of(candidate.path) for candidate in candidates} if models.profile else {}
    print_results(results, out, as_json, reasons)
    _check_points(results, out)


def _check_points(results: ResultSet, out: Path) -> None:
    """Raise the error that sets the exit code: a model failed, or its profile did."""
    for point in results.points:
        if point.error is not None:
            raise DeviceError(f"{point.name} failed: {point.error}", hint=f"what was measured is in {out}")
    for point in results.points:
        if point.profile_error is not None:
            raise DeviceError(
                f"{point.name} has no op profile: {point.profile_error}", hint=f"the latencies are in {out}"
            )


def _measure(
    device: Device,
    candidates: list[Candidate],
    settings: list[RunSettings],
    results: ResultSet,
    out: Path,
    profile: bool,
) -> ResultSet:
    """Measure, with all that there is on disk after each round."""
    from rich.console import Console
    from rich.progress import Progress

    from android_bench.device import UnusableDeviceError
    from android_bench.suites.resume import sweep
    from evit_mobile.results.files import save

    console = Console(stderr=True)
    try:
        # Drawn between rounds only: a thread that redraws would run beside what is measured.
        with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
            total = sum(setting.rounds for setting in settings) * len(candidates)
            task = bar.add_task("measuring", total=total)
            for points in sweep(device, candidates, settings, results.points, profile=profile):
                results = results.with_points(points)
                # The default folder is made only when there is something to put into it.
                out.parent.mkdir(exist_ok=True)
                save(results, out)
                bar.update(task, completed=sum(len(point.rounds) for point in points), refresh=True)
    except (KeyboardInterrupt, UnusableDeviceError, OSError):
        if results.points:
            click.echo(how_to_go_on(out), err=True)
        raise
    return results


def print_results(results: ResultSet, out: Path, as_json: bool, reasons: dict[str, dict[str, str]]) -> None:
    from evit_mobile.cli.estimate_table import print_estimates, print_parts
    from evit_mobile.cli.profile import print_profile
    from evit_mobile.results.summary import caveats, rows, warnings

    table = rows(results.points)
    for text in warnings(table):
        click.echo(f"warning: {text}", err=True)
    if as_json:
        print_json(_document(results, table, out, reasons))
        return
    for text in caveats(results):
        click.echo(text)
    if results.device.is_estimated:
        print_estimates(table)
    else:
        _print_table(table)
    for point in results.points:
        if point.profile:
            print_profile(point, reasons.get(point.name, {}))
        if point.op_estimates:
            print_parts(point)
    click.echo(f"results: {out}")
    click.echo(f"next: evit-mobile report {out}")


def _print_table(rows: list[Row]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from evit_mobile.cli.options import table_console
    from evit_mobile.results.stats import Interval
    from evit_mobile.results.summary import show, show_interval, significant, significant_interval, unit
    from evit_mobile.text import visible

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold", min_width=12)
    for heading in ("median", "95% interval", "p10–p90", "ratio", "95% interval", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        summary, ratio, quantity = row.summary, row.ratio, row.point.quantity
        if summary is None or quantity is None:
            table.add_row(Text(visible(row.label)), "failed")
            continue
        cells = [f"{show(quantity, summary.median)} {unit(quantity)}", show_interval(quantity, summary.interval)]
        cells.append(show_interval(quantity, Interval(summary.p10, summary.p90)))
        if ratio is not None:
            cells += [significant(ratio.value), significant_interval(ratio.interval), row.verdict]
        table.add_row(Text(visible(row.label)), *cells)
    # Into a pipe or a file a row stays one line, however long.
    table_console(200).print(table)


def _document(results: ResultSet, rows: list[Row], out: Path, reasons: dict[str, dict[str, str]]) -> dict[str, Any]:
    """What ``--json`` prints: where the samples are, and the statistics of each point in the unit that the field's name
    says.
    """
    from dataclasses import asdict

    from evit_mobile.cli.estimate_table import figures, parts_json
    from evit_mobile.cli.profile import by_type
    from evit_mobile.results import breakdown
    from evit_mobile.results.summary import caveats

    return {
        "out": str(out),
        "device": results.device.model_dump(mode="json"),
        "caveats": caveats(results),
        "points": [
            {
                "name": row.point.name,
                "resolution": row.point.resolution,
                "precision": row.point.precision,
                "settings": row.point.settings.model_dump(mode="json"),
                "rounds": len(row.point.rounds),
                **figures(row),
                "ratio_to_first": asdict(row.ratio) if row.ratio else None,
                "verdict": row.verdict or None,
                "warnings": list(row.warnings),
                "profile_by_type": by_type(row.point.profile, reasons.get(row.point.name, {})) or None,
                "estimate_by_type": parts_json(breakdown.by_type(row.point.op_estimates)),
                "estimate_by_block": parts_json(breakdown.by_block(row.point.op_estimates)),
                "profile_error": row.point.profile_error,
                "error": row.point.error,
            }
            for row in rows
        ],
    }
