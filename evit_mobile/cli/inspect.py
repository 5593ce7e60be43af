"""``evit-mobile inspect``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Sequence

import click

from evit_mobile.cli.node_data import NodeDataFiles, how_to_open, node_data_options
from evit_mobile.cli.options import (
    chosen_runtimes,
    chosen_signatures,
    force_option,
    json_option,
    print_json,
    progress,
    runtime_option,
    signature_option,
    table_console,
)
from evit_mobile.cli.survey_table import print_survey
from evit_mobile.errors import EvitMobileError, RequestError
from evit_mobile.specs import Precision

if TYPE_CHECKING:
    from rich.console import Console

    from converters.tflite.inspection import Inspection, TensorSummary
    from converters.tflite.survey import SurveyRow
    from evit_mobile.runtimes import Runtime
    from evit_mobile.tflite.file import Tflite


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@runtime_option
@signature_option
@click.option("--ops", "list_ops", is_flag=True, help="List every op with its shapes, costs and partition.")
@node_data_options
@force_option
@json_option
def command(
    file: Path, runtimes: Sequence[str], signature: str | None, list_ops: bool, as_json: bool, **node_data: Any
) -> None:
    """Show ops, delegate partitions, and which ops were not delegated, and why.

    \b
    evit-mobile inspect model.tflite
    evit-mobile inspect model.tflite --runtime litert-latest --ops
    evit-mobile inspect model.tflite --runtime all --json
    evit-mobile inspect model.tflite --model-explorer nodes
    """
    from evit_mobile.tflite.file import Tflite

    chosen, files = chosen_runtimes(runtimes), NodeDataFiles(**node_data)
    if files.folder is not None and len(chosen) > 1:
        raise RequestError("node data are of one runtime", hint="name a single --runtime, or none")
    model = Tflite.read(file)
    documents = {}
    for name in chosen_signatures(model, signature):
        with progress(f"inspecting {file}"):
            chosen_part = model.at(name)
            shown = _inspect(chosen_part, chosen, list_ops)
            if shown.inspection is not None:
                files.add(chosen_part, name, shown.inspection)
        documents[name] = shown.document
        if not as_json:
            shown.show()
    paths = files.write()
    if as_json:
        document = (
            {"file": str(file), "signatures": documents} if len(documents) > 1 else next(iter(documents.values()))
        )
        print_json({**document, "node_data": [str(path) for path in paths]} if paths else document)
    elif paths:
        click.echo(f"open it with: {how_to_open(file, paths)}")


@dataclass(frozen=True)
class _Shown:
    """What was found, as plain values and for people to read; of one runtime also as it is."""

    document: dict[str, Any]
    show: Callable[[], None]
    inspection: Inspection | None = None


def _inspect(model: Tflite, runtimes: Sequence[Runtime], list_ops: bool) -> _Shown:
    from converters.tflite.inspection import inspect_model
    from converters.tflite.survey import survey

    if len(runtimes) == 1:
        inspection = inspect_model(model, runtimes[0])
        return _Shown(inspection.to_json(), lambda: _print_one(inspection, list_ops), inspection)
    results = {runtime.name: _try(model, runtime) for runtime in runtimes}
    with model.on_disk() as path:
        rows = survey(path, runtimes)
    found = {row.runtime: {**_plain(results[row.runtime]), "survey": row.to_json()} for row in rows}
    return _Shown({"file": model.name, "runtimes": found}, lambda: _print_many(model.name, results, rows))


def _try(model: Tflite, runtime: Runtime) -> Inspection | str:
    """The model under ``runtime``, or why it cannot be inspected there."""
    from converters.tflite.inspection import inspect_model

    if runtime.version() is None:
        return "not installed"
    try:
        return inspect_model(model, runtime)
    except EvitMobileError as error:
        return str(error)


def _plain(result: Inspection | str) -> dict[str, Any]:
    return {"error": result} if isinstance(result, str) else {"error": None, **result.to_json()}


def _print_many(file: str, results: dict[str, Inspection | str], rows: Sequence[SurveyRow]) -> None:
    click.echo(file)
    print_survey(rows)
    inspections = [result for result in results.values() if not isinstance(result, str)]
    if inspections:
        first = inspections[0]
        needed = first.minimum_runtime or "of unknown version"
        click.echo(f"{first.op_total} ops; by their versions they need TFLite {needed} or newer")


def _print_one(inspection: Inspection, list_ops: bool) -> None:
    from rich import box
    from rich.table import Table

    console = table_console(soft_wrap=True)
    source = (
        f", {inspection.description.model} at {inspection.description.resolution}, {inspection.description.precision}"
        if inspection.description
        else ""
    )
    console.print(f"{inspection.file}: {inspection.size_bytes / 1e6:.1f} MB{source}", markup=False)
    for kind, tensors in (("input", inspection.inputs), ("output", inspection.outputs)):
        for tensor in tensors:
            console.print(f"{kind} {_tensor_text(tensor)}", markup=False)
    console.print(
        f"{inspection.op_total} ops, {inspection.macs / 1e6:.1f} M MACs, "
        f"{inspection.parameter_bytes / 1e6:.1f} MB of parameters; "
        f"needs TFLite {inspection.minimum_runtime or 'of unknown version'} or newer; signatures: "
        f"{', '.join(inspection.signatures) or 'none'}"
    )
    console.print(f"{inspection.runtime} ({inspection.runtime_version}): {_division(inspection)}")
    kinds = Table(box=box.SIMPLE)
    for heading in ("op", "count", "undelegated", "M MACs", "weights MB", "values MB"):
        kinds.add_column(heading, no_wrap=True, justify="left" if heading == "op" else "right")
    outside = Counter(op.type for op in inspection.undelegated)
    for kind, count in inspection.op_counts.items():
        ops = [op for op in inspection.ops if op.type == kind]
        kinds.add_row(
            kind,
            str(count),
            str(outside[kind] or ""),
            _number(sum(op.macs for op in ops)),
            _number(sum(op.weight_bytes for op in ops)),
            _number(sum(op.activation_bytes for op in ops)),
        )
    console.print(kinds)
    for (kind, reason), count in Counter((op.type, op.reason) for op in inspection.undelegated).most_common():
        console.print(f"undelegated: {count} {kind}: {reason}", markup=False)
    _print_plan(inspection, console)
    if list_ops:
        _print_ops(inspection)


def _division(inspection: Inspection) -> str:
    if inspection.partitions is not None:
        return f"{inspection.partitions} partition(s), {len(inspection.undelegated)} undelegated op(s)"
    known = {
        True: "fully accelerated, that is 0 undelegated op(s); it does not tell partitions",
        False: "not fully accelerated; it does not tell which op(s) are undelegated",
        None: "it tells neither partitions nor undelegated ops",
    }
    return known[inspection.fully_accelerated]


def _print_plan(inspection: Inspection, console: Console) -> None:
    """The quantisation plan, ops that share type, precision and reason in one line."""
    description = inspection.description
    quantisation = description.quantisation if description else None
    if description is None or quantisation is None:
        return
    if quantisation.calibration_images:
        measured = f"ranges from {quantisation.calibration_images} calibration input(s)"
    elif description.precision is Precision.INT8:
        measured = "ranges of its source"
    else:
        measured = "ranges taken at run time"
    console.print(f"quantised, {measured}, {quantisation.io_type} input and output:")
    groups = Counter((op.precision, op.type, op.reason) for op in inspection.ops)
    for (precision, kind, reason), count in sorted(groups.items(), key=lambda item: (item[0][0], -item[1])):
        console.print(f"  {precision}: {count} {kind}: {reason}", markup=False)


def _print_ops(inspection: Inspection) -> None:
    console = table_console(soft_wrap=True)
    outside = {op.index for op in inspection.undelegated}
    for op in inspection.ops:
        place = _place(op.partition, op.index in outside, inspection.partitions is not None)
        why = f" ({op.reason})" if op.reason else ""
        shapes = (
            " ".join(_shape(shape) for shape in op.input_shapes)
            + " -> "
            + " ".join(_shape(shape) for shape in op.output_shapes)
        )
        console.print(
            f"{op.index:4} {op.type} v{op.version} {shapes} {op.macs} MACs, {place}{op.precision}: {op.name}{why}"
        )


def _place(partition: int | None, is_undelegated: bool, known: bool) -> str:
    if not known:
        return ""
    return f"partition {partition}, " if partition is not None else "undelegated, " if is_undelegated else "idle, "


def _tensor_text(tensor: TensorSummary) -> str:
    scale = f", scale {tensor.scale[0]:.6g}, zero point {tensor.zero_point[0]}" if tensor.scale else ""
    return f"{tensor.name}: {tensor.dtype} {_shape(tensor.shape)}{scale}"


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{'x'.join(map(str, shape))}]"


def _number(value: int) -> str:
    return f"{value / 1e6:.2f}" if value else ""
