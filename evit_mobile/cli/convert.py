"""``evit-mobile convert``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.card import ModelCard
from evit_mobile.cli.options import (
    FiniteRange,
    ResolutionType,
    card_of,
    card_options,
    force_option,
    json_option,
    print_json,
    progress,
    seed_option,
    weights_option,
)
from evit_mobile.errors import RequestError
from evit_mobile.specs import AUTO, DEFAULT_MIN_SQNR_DB, Core, Ends, IoType, OutputLayout, Pixels, Precision, Resolution

if TYPE_CHECKING:
    from converters.options import ConvertOptions
    from converters.passes.base import PassReport
    from converters.report import ConversionReport


@click.command("convert")
@click.option(
    "--model", required=True, metavar="NAME|timm:NAME|package.module:factory|FILE.onnx", help="What to convert."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .tflite to write.")
@click.option(
    "--resolution",
    "resolutions",
    multiple=True,
    type=ResolutionType(),
    help="Input size, e.g. 288 or 704x1408; repeated, one file with a signature for each.  [default: the model's]",
)
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
    "--core",
    type=click.Choice([item.value for item in Core]),
    default=Core.ARMV8_2.value,
    help="Class of the core that will run it: what is fastest differs.  [default: armv8.2]",
)
@click.option(
    "--precision",
    type=click.Choice([*(item.value for item in Precision), AUTO]),
    help="fp16: for Armv8.2 and newer; int8, auto: with --calibration.  [default: fp32; int8 of a quantised ONNX file]",
)
@click.option(
    "--min-sqnr",
    "min_sqnr_db",
    type=FiniteRange(0, 200, min_open=True),
    metavar="DB",
    help="auto: the fastest precision on --core that keeps so much against fp32.  [default: 30]",
)
@click.option(
    "--calibration",
    metavar="FOLDER|FILE.npz|package.module:function",
    help="int8, auto: what to measure value ranges and noise on.",
)
@click.option(
    "--io-type",
    type=click.Choice([item.value for item in IoType]),
    default="float32",
    help="int8: type of input and outputs.",
)
@click.option(
    "--normalise-in-graph/--no-normalise-in-graph",
    "normalise",
    default=None,
    help="The file takes RGB in [0, 1], with --io-type uint8 raw pixels.  [default: it takes normalised pixels]",
)
@click.option(
    "--input",
    "pixels",
    type=click.Choice([item.value for item in Pixels]),
    help="The pixels that it normalises: of 0 to 1, or raw ones of 0 to 255 as float32 or uint8.",
)
@click.option("--softmax", is_flag=True, help="Probabilities in place of logits.")
@click.option("--sigmoid", is_flag=True, help="The same for classes that do not exclude each other.")
@click.option(
    "--postprocess",
    type=click.Choice(["nms"]),
    help="Detectors: leave the best boxes alone, by an op of TFLite's that no delegate takes.",
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
@card_options
@click.option(
    "--classes",
    type=click.IntRange(1),
    metavar="N",
    help="How many classes a named model tells apart.  [default: as many as its weights]",
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
@click.option(
    "--output-layout",
    type=click.Choice([item.value for item in OutputLayout]),
    default="nhwc",
    help="Order of the axes of outputs of rank 4.  [default: nhwc]",
)
@force_option
@json_option
def command(**values: Any) -> None:
    """Make a .tflite from a PyTorch model or an ONNX file.

    \b
    evit-mobile convert --model base-r224 --out model.tflite
    evit-mobile convert --model base-r224 --weights trained.pth --resolution 288 --out model.tflite
    evit-mobile convert --model base-r224 --resolution 192 --resolution 224 --resolution 288 --out model.tflite
    evit-mobile convert --model base-r224 --precision fp16 --out model.tflite
    evit-mobile convert --model base-r224 --precision int8 --calibration photos/ --out model.tflite
    evit-mobile convert --model base-r224 --precision auto --core armv8.2 --calibration photos/ --out model.tflite
    evit-mobile convert --model det-r416 --out detector.tflite
    evit-mobile convert --model timm:mobilenetv3_large_100 --out mobilenet.tflite
    evit-mobile convert --model timm:resnet18 --weights flowers.pth --labels flowers.txt --out flowers.tflite
    evit-mobile convert --model mypackage.nets:make_net --scale 255 --task classification --out net.tflite
    evit-mobile convert --model base-r224 --input uint8 --softmax --out pixels.tflite
    evit-mobile convert --model exported.onnx --input-shape image:1x3x320x320 --out net.tflite
    """
    labels, card = values["labels"], card_of(values)
    request = ConvertRequest(card=card, **values)
    from evit_mobile.files import check_distinct, check_output
    from evit_mobile.models.registry import check_name, with_variants

    model = with_variants(request.model, request.variants)
    check_name(model)
    check_distinct((request.out, request.keep_onnx))
    for path in filter(None, (request.out, request.keep_onnx)):
        check_output(path, force=request.force, inputs=(model, request.weights, request.calibration, labels))
    from evit_mobile.api import convert

    with progress(f"converting {model}"):
        conversion = convert(model, request.options(), resolution=list(request.resolutions) or None)
        conversion.save(request.out)
    report = conversion.report
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    if request.as_json:
        print_json({"out": str(request.out), **report.to_json()})
    else:
        _print(report, request.out)


@dataclass(frozen=True)
class ConvertRequest:
    """The command line, parsed."""

    card: ModelCard
    model: str
    out: Path
    resolutions: tuple[Resolution, ...]
    weights: Path | None
    seed: int
    attention: str
    raw_heads: bool
    upsample: bool
    argmax: bool
    pretrained: bool
    no_rewrite: bool
    attention_form: str
    core: str
    precision: str | None
    min_sqnr_db: float | None
    calibration: str | None
    io_type: str
    normalise: bool | None
    pixels: str | None
    softmax: bool
    sigmoid: bool
    postprocess: str | None
    shapes: tuple[str, ...]
    channels: int | None
    exporter: str
    keep_onnx: Path | None
    no_check: bool
    output_layout: str
    force: bool
    as_json: bool

    @property
    def variants(self) -> list[str]:
        """Names of the variants that were asked for by options of their own."""
        chosen = {
            "softmax": self.attention == "softmax",
            "raw-heads": self.raw_heads,
            "upsample": self.upsample,
            "argmax": self.argmax,
            "pretrained": self.pretrained,
        }
        return [variant for variant, is_chosen in chosen.items() if is_chosen]

    def options(self) -> ConvertOptions:
        """What the conversion is asked for.

        Raises:
            RequestError: an input shape cannot be read, or options contradict each other.
        """
        from converters.options import ConvertOptions
        from converters.source.inputs import InputRequest, parse_shapes
        from converters.source.torch_export import Exporter

        return ConvertOptions(
            weights=self.weights,
            precision=None if self.precision in (None, AUTO) else Precision(self.precision),
            min_sqnr_db=self._bound_db(),
            seed=self.seed,
            rewrite=not self.no_rewrite,
            attention_form=self.attention_form,
            core=Core(self.core),
            calibration=self.calibration,
            io_type=IoType(self.io_type),
            inputs=InputRequest(parse_shapes(self.shapes), self.channels, Exporter(self.exporter)),
            keep_onnx=self.keep_onnx,
            check=not self.no_check,
            output_layout=OutputLayout(self.output_layout),
            card=self.card,
            ends=self._ends(),
        )

    def _bound_db(self) -> float | None:
        if self.precision == AUTO:
            return self.min_sqnr_db or DEFAULT_MIN_SQNR_DB
        if self.min_sqnr_db is not None:
            raise RequestError("--min-sqnr is for --precision auto", hint="verify says what a file keeps")
        return None

    def _ends(self) -> Ends:
        behind = {"softmax": self.softmax, "sigmoid": self.sigmoid, "nms": self.postprocess == "nms"}
        return Ends.of(
            self.normalise, self.pixels, self.io_type, tuple(name for name, asked in behind.items() if asked)
        )


def _print(report: ConversionReport, out: Path) -> None:
    spent = "from the cache" if report.cached else f"{sum(report.seconds.values()):.1f} s"
    click.echo(
        f"{out}: {report.model} at {report.resolution}, {report.precision}, {report.bytes_tflite / 1e6:.1f} MB, {spent}"
    )
    if report.choice is not None:
        click.echo(report.choice)
    for signature, one in (report.signatures or {"": report}).items():
        before, after, lowered = (
            sum(ops.values()) for ops in (one.onnx_ops_before, one.onnx_ops_after, one.tflite_ops)
        )
        name = f"signature {signature}, " if signature else ""
        click.echo(f"{name}ops: {before} exported, {after} after the passes, {lowered} in the .tflite")
    for item in report.passes:
        _print_pass(item)
    click.echo(f"next: evit-mobile verify {out}")


def _print_pass(item: PassReport) -> None:
    """What a pass changed and why; and what it left as it was, places with the same reason in one line."""
    if item.fired:
        times = "once" if item.fired == 1 else f"{item.fired} times"
        click.echo(f"  {item.name}: applied {times}, because {item.reason}")
    places: dict[str, list[str]] = {}
    for declined in item.declined:
        places.setdefault(declined.reason, []).append(declined.where)
    for reason, where in places.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        click.echo(f"  {item.name}: did not apply at {where[0]}{more}: {reason}")
