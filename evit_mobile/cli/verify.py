"""``evit-mobile verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import click

from evit_mobile.cli.options import (
    chosen_runtimes,
    chosen_signatures,
    json_option,
    print_json,
    progress,
    resolution_option,
    runtime_option,
    signature_option,
    table_console,
    weights_option,
)
from evit_mobile.cli.survey_table import print_survey
from evit_mobile.errors import ClaimError, RequestError

if TYPE_CHECKING:
    from converters.parity.layers import LayerReport
    from converters.parity.verify import ParityReport
    from converters.tflite.survey import SurveyRow
    from evit_mobile.runtimes import Runtime
    from evit_mobile.tflite.file import Tflite


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option("--model", metavar="NAME|package.module:factory|FILE.onnx", help="Its source, where the file cannot say.")
@resolution_option
@weights_option
@runtime_option
@signature_option
@click.option("--device", metavar="qemu:CPU", help="Verify on an emulated Arm64 processor, e.g. qemu:cortex-a76.")
@click.option("--image", type=click.Path(path_type=Path), help="A photograph of your own in place of the bundled one.")
@click.option("--layers", is_flag=True, help="Name the first layer where the file parts from its source.")
@json_option
def command(
    file: Path,
    runtimes: Sequence[str],
    device: str | None,
    image: Path | None,
    layers: bool,
    signature: str | None,
    as_json: bool,
    **source: Any,
) -> None:
    """Check a .tflite against PyTorch and ONNX Runtime.

    \b
    evit-mobile verify model.tflite
    evit-mobile verify model.tflite --weights trained.pth --image dog.jpg
    evit-mobile verify model.tflite --runtime all --layers
    evit-mobile verify model.tflite --signature r224
    evit-mobile verify model.tflite --device qemu:cortex-a76
    """
    from converters.parity.reference import SourceRequest
    from converters.quantize.encoded import remedy
    from evit_mobile.api.checks import verify
    from evit_mobile.tflite.file import Tflite

    chosen = chosen_runtimes(runtimes) if device is None else [_emulated(device, runtimes)]
    model, request, results = Tflite.read(file), SourceRequest(**source), []
    for name in chosen_signatures(model, signature):
        with progress(f"verifying {file} {name or ''}"):
            report = verify(file, request, runtimes=chosen, image=image, layers=layers, signature=name)
            rows = _survey(model.at(name), chosen) if len(chosen) > 1 else []
        results.append((report, rows))
        if not as_json:
            _print(report, rows)
    if as_json:
        print_json(_document(results))
    failed = [_reason(report) for report, _ in results if not report.passed]
    if failed:
        raise ClaimError("; ".join(failed), hint=remedy(model))


def _survey(model: Tflite, runtimes: Sequence[Runtime]) -> list[SurveyRow]:
    from converters.tflite.survey import survey

    with model.on_disk() as path:
        return survey(path, runtimes)


def _document(results: Sequence[tuple[ParityReport, list[SurveyRow]]]) -> dict[str, Any]:
    """One report, or those of several signatures by their names."""
    documents = [{**report.to_json(), "survey": [row.to_json() for row in rows]} for report, rows in results]
    if len(documents) == 1:
        return documents[0]
    passed = all(report.passed for report, _ in results)
    named = {str(document["signature"]): document for document in documents}
    return {"passed": passed, "file": results[0][0].file, "signatures": named}


def _emulated(device: str, runtimes: Sequence[str]) -> Runtime:
    """The emulated processor that ``--device`` names, with the LiteRT release that ``--runtime`` does."""
    from android_bench.device import open_runtime

    if len(runtimes) > 1:
        raise RequestError("an emulated processor runs one runtime", hint="name a single --runtime, or none")
    return open_runtime(device, *(runtimes or ("litert",)))


def _name(report: ParityReport) -> str:
    return f"{report.file}, signature {report.signature}" if report.signature else report.file


def _reason(report: ParityReport) -> str:
    """The worst of what failed, in one line."""
    broken = [f"{state.name} cannot run {report.file}: {state.error}" for state in report.runtimes if state.error]
    judged = report.judged()
    if all(row.passed for row in judged):
        coarse = (
            f"{report.file} cannot be judged: on most inputs float32 is too coarse for {', '.join(report.undecided())}"
        )
        return "; ".join(broken) or coarse
    worst = report.worst()
    figure = worst.difference.failure or report.criterion.figure(worst.difference)
    return f"{_name(report)} has no parity with {report.reference}: {worst.describe()}: {figure}"


def _print(report: ParityReport, survey_rows: Sequence[SurveyRow]) -> None:
    from rich.table import Table

    from converters.parity.summary import HEADER, remarks, settings

    title = f"{_name(report)}: {report.model} at {report.resolution}, {report.precision}, against {report.reference}"
    table = Table(*HEADER, title=title)
    for setting in settings(report):
        table.add_row(*setting.cells)
    console = table_console()
    console.print(table)
    console.print(f"inputs: {', '.join(report.inputs)}; passes with: {report.criterion}", soft_wrap=True)
    for text in remarks(report):
        console.print(text, soft_wrap=True)
    if survey_rows:
        print_survey(survey_rows, {state.name: _parity(report, state.name) for state in report.runtimes})
    if report.layers is not None:
        console.print(_layers_text(report.layers), soft_wrap=True)
    console.print("passed" if report.passed else "failed")


def _parity(report: ParityReport, runtime: str) -> str:
    rows = [row for row in report.judged() if row.runtime == runtime]
    if not rows:
        return ""
    worst = max(row.difference.relative_error or 0.0 for row in rows)
    return f"{'passed' if all(row.passed for row in rows) else 'failed'}, {worst:.1e}"


def _layers_text(layers: LayerReport) -> str:
    held = sum(layer.tensor is not None for layer in layers.layers)
    counted = f"{held} of {len(layers.layers)} layers have their output in the file"
    if layers.parted is None:
        return f"no layer parts on input {layers.input} ({counted})"
    after = f", after {layers.last_agreeing}" if layers.last_agreeing else ""
    return f"parts first at {layers.parted}{after}: {layers.op}; input {layers.input} ({counted})"
