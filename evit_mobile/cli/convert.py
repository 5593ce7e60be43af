"""``evit-mobile convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evit_mobile.cli.options import (
    force_option,
    json_option,
    print_json,
    progress,
    resolution_option,
    seed_option,
    weights_option,
)
from evit_mobile.specs import IoType, Precision, Resolution

if TYPE_CHECKING:
    from converters.report import ConversionReport


@click.command("convert")
@click.option(
    "--model", required=True, metavar="NAME|timm:NAME|package.module:factory|FILE.onnx", help="What to convert."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .tflite to write.")
@resolution_option
@weights_option
@seed_option
@click.option(
    "--attention",
    type=click.Choice(["linear", "softmax"]),
    default="linear",
    help="softmax: the paper's ablation twin.",
)
@click.option("--raw-heads", is_flag=True, help="Detectors: leave the decoding of boxes out.")
@click.option("--upsample", is_flag=True, help="Segmenters: logits at the input's size.")
@click.option("--argmax", is_flag=True, help="Segmenters: class numbers instead of logits.")
@click.option("--pretrained", is_flag=True, help="timm: models: timm's trained weights, over the network.")
@click.option("--no-rewrite", is_flag=True, help="Leave the graph as exported: what the stock converter gives.")
@click.option(
    "--attention-form", default="auto", metavar="FORM", help="Canonical form of linear attention.  [default: auto]"
)
@click.option(
    "--precision",
    type=click.Choice([item.value for item in Precision]),
    default="fp32",
    help="fp16: for Armv8.2 and newer; int8 needs --calibration.  [default: fp32]",
)
@click.option(
    "--calibration", metavar="FOLDER|FILE.npz|package.module:function", help="int8: what to measure value ranges on."
)
@click.option(
    "--io-type",
    type=click.Choice([item.value for item in IoType]),
    default="float32",
    help="int8: type of input and outputs.",
)
@click.option(
    "--input-shape",
    "shapes",
    multiple=True,
    metavar="NAME:1x3x224x224",
    help="Shape of an input, for factories and ONNX files; repeatable.",
)
@click.option(
    "--channels", type=click.IntRange(1, 4096), help="A factory's network: channels of its image.  [default: 3]"
)
@click.option(
    "--exporter",
    type=click.Choice(["auto", "torchscript", "dynamo"]),
    default="auto",
    help="PyTorch's exporter to ONNX; auto: the second where the first fails.  [default: auto]",
)
@click.option(
    "--keep-onnx", type=click.Path(path_type=Path), help="Write the ONNX graph that goes into the lowering here."
)
@click.option("--no-check", is_flag=True, help="Write the file without running it and comparing it with its source.")
@force_option
@json_option
def command(
    model: str,
    out: Path,
    resolution: Resolution | None,
    weights: Path | None,
    seed: int,
    attention: str,
    raw_heads: bool,
    upsample: bool,
    argmax: bool,
    pretrained: bool,
    no_rewrite: bool,
    attention_form: str,
    precision: str,
    calibration: str | None,
    io_type: str,
    shapes: tuple[str, ...],
    channels: int | None,
    exporter: str,
    keep_onnx: Path | None,
    no_check: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Make a .tflite from a PyTorch model or an ONNX file.

    \b
    evit-mobile convert --model base-r224 --out model.tflite
    evit-mobile convert --model base-r224 --weights trained.pth --resolution 288 --out model.tflite
    evit-mobile convert --model base-r224 --precision fp16 --out model.tflite
    evit-mobile convert --model base-r224 --precision int8 --calibration photos/ --out model.tflite
    evit-mobile convert --model det-r416 --out detector.tflite
    evit-mobile convert --model timm:mobilenetv3_large_100 --out mobilenet.tflite
    evit-mobile convert --model mypackage.nets:make_net --out net.tflite
    evit-mobile convert --model exported.onnx --input-shape image:1x3x320x320 --out net.tflite
    """
    from converters.options import ConvertOptions
    from converters.pipeline import convert_in_memory
    from converters.source.inputs import InputRequest, parse_shapes
    from converters.source.torch_export import Exporter
    from evit_mobile.files import check_output
    from evit_mobile.models.registry import with_variants

    wanted = {
        "softmax": attention == "softmax",
        "raw-heads": raw_heads,
        "upsample": upsample,
        "argmax": argmax,
        "pretrained": pretrained,
    }
    model = with_variants(model, [variant for variant, chosen in wanted.items() if chosen])
    for path in filter(None, (out, keep_onnx)):
        check_output(path, force=force)
    options = ConvertOptions(
        resolution,
        weights,
        Precision(precision),
        seed,
        not no_rewrite,
        attention_form,
        calibration,
        IoType(io_type),
        InputRequest(parse_shapes(shapes), channels, Exporter(exporter)),
        not no_check,
    )
    with progress(f"converting {model}"):
        conversion = convert_in_memory(model, options, keep_onnx=keep_onnx)
        conversion.save(out)
    report = conversion.report
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json({"out": str(out), **report.to_json()})
    else:
        _print(report, out)


def _print(report: ConversionReport, out: Path) -> None:
    spent = "from the cache" if report.cached else f"{sum(report.seconds.values()):.1f} s"
    click.echo(
        f"{out}: {report.model} at {report.resolution}, {report.precision}, {report.bytes_tflite / 1e6:.1f} MB, {spent}"
    )
    before, after, lowered = (
        sum(ops.values()) for ops in (report.onnx_ops_before, report.onnx_ops_after, report.tflite_ops)
    )
    click.echo(f"ops: {before} exported, {after} after the passes, {lowered} in the .tflite")
    for item in report.passes:
        if item.fired or item.declined:
            declined = f", declined at {len(item.declined)}" if item.declined else ""
            click.echo(f"  {item.name}: {item.fired} times{declined}")
    click.echo(f"next: evit-mobile verify {out}")
