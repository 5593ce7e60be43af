"""What a file takes and gives, the names of its classes, and what it says of how it was made."""

from __future__ import annotations

from pathlib import Path

from converters.tflite.inspection import Inspection, TensorSummary
from evit_mobile.errors import RequestError
from evit_mobile.results.page.file_section import Part
from evit_mobile.specs import Ends, OutputLayout, Preprocessing
from evit_mobile.tflite.classes import class_output
from evit_mobile.tflite.description import ModelDescription
from evit_mobile.tflite.file import Tflite
from evit_mobile.vision.purpose import Purpose, purpose_of

#: Class names that the page lists.
MOST_NAMES = 2000


def about_file(file: Tflite) -> str:
    """What it is, in a line."""
    description = file.description
    if description is None:
        return f"{len(file.content) / 1e6:.2f} MB, SHA-256 {file.sha256}"
    task = f", for {description.task}" if description.task else ""
    return f"{description.model} at {description.resolution}, {description.precision}{task}"


def ends_part(file: Tflite, inspection: Inspection) -> Part:
    """Inputs and outputs, and how pictures become the one and answers the other."""
    cells = [
        (tensor.name, kind, tensor.dtype, "x".join(map(str, tensor.shape)), _quantisation(tensor))
        for kind, tensors in (("input", inspection.inputs), ("output", inspection.outputs))
        for tensor in tensors
    ]
    is_quantised = any(row[-1] for row in cells)
    header = ("name", "end", "type", "shape", "quantisation")
    return Part(
        "What it takes and gives",
        facts=_end_facts(file.description) if file.description is not None else (),
        header=header if is_quantised else header[:-1],
        cells=cells if is_quantised else [row[:-1] for row in cells],
    )


def _quantisation(tensor: TensorSummary) -> str:
    return f"scale {tensor.scale[0]:.6g}, zero point {tensor.zero_point[0]}" if tensor.scale else ""


def _end_facts(description: ModelDescription) -> list[tuple[str, str]]:
    pixels = description.preprocessing
    facts = [("Pixels", _pixels(pixels) if pixels is not None else "how a picture becomes the input is unknown")]
    if pixels is not None:
        facts.append(("Fit", _fit(pixels)))
    if description.ends != Ends():
        facts.append(("In the file", _ends(description.ends)))
    if description.output_layout is not None:
        order = "channels last" if description.output_layout is OutputLayout.NHWC else "channels first"
        facts.append(("Outputs of rank 4", f"{description.output_layout.upper()}, {order}"))
    return facts


def _pixels(pixels: Preprocessing) -> str:
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (pixels.mean, pixels.std))
    return f"RGB: (pixel / 255 − mean) / deviation, mean {mean}, deviation {std}"


def _fit(pixels: Preprocessing) -> str:
    if pixels.fit == "pad":
        return f"the whole picture, scaled ({pixels.interpolation}) to the top left; the rest is grey"
    share = f"{pixels.crop_fraction:.3g} of " if pixels.crop_fraction < 1 else ""
    return f"scaled ({pixels.interpolation}) so that the input is {share}the shorter side, and its centre cut out"


def _ends(ends: Ends) -> str:
    parts = [
        f"normalisation of {ends.pixels} pixels" if ends.pixels else "",
        str(ends.activation or ""),
        "non-maximum suppression" if ends.nms else "",
    ]
    return ", ".join(filter(None, parts))


def labels_part(file: Tflite) -> Part | None:
    """The names of the classes, folded; nothing of a file that does not say what it is for."""
    with file.on_disk() as path:
        names = _names(file, path)
    if not names:
        return None
    left = f"; the first {MOST_NAMES} are listed" if len(names) > MOST_NAMES else ""
    cells = [(str(number), name) for number, name in enumerate(names[:MOST_NAMES])]
    return Part(
        "Classes", f"{len(names)} classes, by number{left}.", header=("class", "name"), cells=cells, is_folded=True
    )


def _names(file: Tflite, path: Path) -> list[str]:
    try:
        purpose = purpose_of(path, signature=next(iter(file.alternatives), None))
        return purpose.names(_class_count(file, purpose))
    except RequestError:  # it is for nothing that has classes, or cannot say
        return []


def _class_count(file: Tflite, purpose: Purpose) -> int:
    shapes = {
        file.signature_names.get(index, file.graph.tensors[index].name): file.graph.tensors[index].shape
        for index in file.graph.outputs
    }
    output = class_output(purpose.task, shapes, channels_last=not purpose.planar)
    return (output.count if output is not None else None) or len(purpose.labels or ())


def card_part(file: Tflite) -> Part:
    """What the file says of how it was made."""
    facts = [("SHA-256", file.sha256), ("Signatures", ", ".join(file.signatures) or "none")]
    description = file.description
    if description is not None:
        facts += _origin(description)
        facts += [(name, version) for name, version in description.versions.items()]
    return Part("What the file says of itself", facts=facts, is_folded=True)


def _origin(description: ModelDescription) -> list[tuple[str, str]]:
    weights = f"SHA-256 {description.weights_sha256}" if description.weights_sha256 else f"seed {description.seed}"
    trained = "" if description.has_trained_weights else "; its predictions mean nothing"
    quantisation = description.quantisation
    facts = [
        ("Model", description.model),
        ("Weights", f"{weights}{trained}" if description.onnx_sha256 is None else "of the ONNX file"),
        ("ONNX file", f"SHA-256 {description.onnx_sha256}" if description.onnx_sha256 else ""),
        ("Graph passes", "run" if description.rewrite else "not run"),
        ("Attention form", description.attention_form),
        ("Exporter", description.exporter),
    ]
    if quantisation is not None:
        calibrated = (
            f"{quantisation.calibration_images} inputs, SHA-256 {quantisation.calibration_sha256}"
            if quantisation.calibration_images
            else "none"
        )
        facts.append(("Calibration", calibrated))
    return [(name, value) for name, value in facts if value]
