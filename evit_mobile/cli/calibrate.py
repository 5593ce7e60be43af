"""``evit-mobile calibrate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import Announcer, force_option, json_option, print_json, progress
from evit_mobile.cli.phone_options import options_set, phone_options
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.files import check_output, whole_file

if TYPE_CHECKING:
    from android_bench.device import Device
    from android_bench.estimate.calibrate import Fit, Kind, Observation
    from android_bench.estimate.devices import DeviceModel
    from evit_mobile.results.record import Point, RunSettings

#: What is measured unless files are named: networks of products, of depthwise kernels and of attention, name and
#: resolution.
NETWORKS = (("base-r224", "224"), ("base-r192", "128"), ("attention-linear", "28"), ("attention-softmax", "28"))


@click.command("calibrate")
@click.argument("files", nargs=-1, metavar="[FILE.tflite]...", type=click.Path(path_type=Path))
@click.option("--device", required=True, metavar="adb[:SERIAL]", help="The phone that is measured.")
@click.option(
    "--like", default="snapdragon-855", metavar="NAME", help="Whose constants to begin with.  [default: snapdragon-855]"
)
@click.option(
    "--cores", default="prime", metavar="prime|big|MASK", help="The core that is calibrated.  [default: prime]"
)
@click.option("--rounds", type=click.IntRange(1, 10_000), default=5, help="Rounds per model.  [default: 5]")
@click.option(
    "--runs", type=click.IntRange(1, 1_000_000), default=50, help="Minimum number of runs per model.  [default: 50]"
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The device file to write, .yaml.")
@phone_options
@force_option
@json_option
def command(files: tuple[Path, ...], device: str, out: Path, force: bool, as_json: bool, **options: Any) -> None:
    """Fit an estimated device to a phone, and write it as a device file for --device estimate:FILE.yaml.

    A few models are measured on one core of the phone and traced here. Says how wrong the estimates are by network and
    by kind of op, before and after.

    \b
    evit-mobile calibrate --device adb:SERIAL --out my-phone.yaml
    evit-mobile bench --device estimate:my-phone.yaml --model base-r224
    """
    from android_bench.device import DeviceOptions, kind_of, open_device
    from android_bench.estimate.calibrate import LEAST, fit, kinds, to_yaml
    from android_bench.estimate.devices import find_device
    from evit_mobile.results.record import RunSettings

    if not kind_of(device).has_clock:
        raise RequestError(f"{device} has no clock to calibrate by", hint="--device takes a phone, adb:SERIAL")
    if 0 < len(files) < LEAST:
        raise RequestError(
            f"a fit takes at least {LEAST} models", hint="name more, or none for those that come with evit-mobile"
        )
    check_output(out, force=force, inputs=files)
    base = find_device(options.pop("like"))
    settings = RunSettings(**{name: options.pop(name) for name in ("cores", "rounds", "runs")})
    opened = open_device(device, DeviceOptions(say=Announcer(), **options_set(options)))
    observed = _observe(opened, _models(files), settings, base)
    fitted = fit(observed, base, f"{opened.describe().soc}, calibrated")
    by_kind = kinds(observed, fitted.device)
    with whole_file(out) as temporary:
        temporary.write_text(to_yaml(fitted.device), encoding="utf-8")
    if as_json:
        print_json({"out": str(out), **_document(fitted, by_kind)})
    else:
        _print(fitted, by_kind, out)


def _models(files: tuple[Path, ...]) -> dict[str, Path]:
    from converters.options import ConvertOptions
    from converters.pipeline import convert_cached
    from evit_mobile.specs import Resolution

    if files:
        return {path.stem: path for path in files}
    models = {}
    for name, resolution in NETWORKS:
        with progress(f"converting {name}"):
            models[f"{name}@{resolution}"] = convert_cached(
                name, ConvertOptions(resolution=Resolution.parse(resolution))
            )
    return models


def _observe(device: Device, models: dict[str, Path], settings: RunSettings, base: DeviceModel) -> list[Observation]:
    """Measure every model on the phone, then trace it here."""
    from android_bench.emulator.device import open_qemu
    from android_bench.estimate.calibrate import Observation
    from android_bench.estimate.kept import kept_works
    from android_bench.estimate.tools import find_llvm
    from android_bench.suites.rounds import Candidate, measure
    from evit_mobile.results.stats import summarise

    llvm, qemu = find_llvm(), open_qemu(base.processor)
    candidates = [Candidate(name, path) for name, path in models.items()]
    points: Sequence[Point] = ()
    with progress("measuring"):
        for points in measure(device, candidates, settings, profile=device.profiles):
            pass
    observed = []
    for point in points:
        if not point.rounds:
            raise DeviceError(f"{point.name} was not measured: {point.error}")
        with progress(f"tracing {point.name}"):
            works = kept_works(qemu, llvm, models[point.name], base)
        observed.append(Observation(point.name, works, summarise(point.values).median, point.profile))
    return observed


def _document(fitted: Fit, by_kind: Sequence[Kind]) -> dict[str, Any]:
    return {
        "overlap_power": fitted.device.overlap_power.value,
        "error": fitted.device.error.value,
        "networks": [
            {"name": name, "error": error, "left_out": fitted.left_out[name]} for name, error in fitted.errors.items()
        ],
        "kinds": [{**asdict(kind), "error": kind.error} for kind in by_kind],
    }


def _print(fitted: Fit, by_kind: Sequence[Kind], out: Path) -> None:
    from evit_mobile.text import visible

    click.echo(f"overlap power {fitted.device.overlap_power.value:g}, error ±{fitted.device.error.value:.0%}")
    for name, error in fitted.errors.items():
        click.echo(visible(f"{name:32} {error:+7.1%}   left out {fitted.left_out[name]:+7.1%}"))
    for kind in by_kind:
        click.echo(visible(f"{kind.op:48} {kind.error:+7.1%}   measured {kind.measured_us / 1e3:.3f} ms"))
    click.echo(f"device file: {out}")
    click.echo(f"next: evit-mobile bench --device estimate:{out} --model base-r224")
