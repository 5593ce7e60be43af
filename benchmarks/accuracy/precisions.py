"""What each precision keeps of trained models; ``benchmarks.accuracy.report`` writes it down.

The classifier answers its whole test split in every precision; detector and segmenter are judged by overlap. Host
figures are of XNNPACK's kernels for this machine, where fp16 files are computed in float32; fp16 arithmetic is judged
on an emulated Cortex-A76.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import digits
from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.accuracy.overlap import box_overlap, mask_overlap
from converters.options import ConvertOptions
from converters.parity.activations import tflite_values
from converters.parity.stimuli import ImageStimulus, verification_stimuli
from converters.pipeline import convert
from converters.tflite.survey import survey
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.runtimes.session import Array
from evit_mobile.specs import WHOLE_IMAGE, Precision, Resolution
from evit_mobile.tflite.file import Tflite

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "tests" / "data"
STOCK = "stock int8"
#: Ops whose outputs are compared layer by layer.
COMPARED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "DIV"})
#: Overlaps are of this many drawings, layers of so many canvases.
DRAWINGS, LAYER_CANVASES = 200, 4


@dataclass(frozen=True)
class Row:
    """One precision on the test split. ``accuracy`` and ``agreement`` (with fp32's answers) are shares; None where it
    cannot run.
    """

    precision: str
    ran_on: str
    canvases: int
    accuracy: float | None
    agreement: float | None
    logits_sqnr_db: float | None
    kilobytes: float
    partitions: int | None
    undelegated: int | None
    extremes_finite: bool | None
    error: str | None = None


def make_models(weights: Path, folder: Path, precisions: Iterable[Precision] = tuple(Precision)) -> dict[str, Path]:
    """``digits-pair`` in each precision, calibrated on canvases of training digits."""
    models = {}
    for precision in precisions:
        models[str(precision)] = folder / f"{precision}.tflite"
        calibrated = "benchmarks.accuracy.digits:calibration" if precision is Precision.INT8 else None
        convert(
            "digits-pair",
            models[str(precision)],
            ConvertOptions(weights=weights, precision=precision, calibration=calibrated),
        )
    return models


def make_stock(weights: Path, folder: Path, python: Path) -> Path:
    """The stock graph in full int8 by the stock quantiser, which ``python`` has; see ``stock_int8``."""
    convert("digits-pair", folder / "stock.tflite", ConvertOptions(weights=weights, rewrite=False, check=False))
    np.save(folder / "images.npy", np.concatenate(list(digits.calibration())))
    out = folder / "stock-int8.tflite"
    script = Path(__file__).with_name("stock_int8.py")
    subprocess.run(
        [python, script, folder / "stock.tflite", folder / "images.npy", out], check=True, capture_output=True
    )
    return out


def extremes() -> list[ImageStimulus]:
    """Constant and extreme inputs: zeros, all 0, all 255, one hot pixel, noise times 100."""
    side = Resolution(digits.SIDE, digits.SIDE)
    stimuli = {item.name: item for item in verification_stimuli(side, 3, WHOLE_IMAGE)}
    chosen = [stimuli[name] for name in ("zeros", "black", "white", "hot_pixel")]
    return [*chosen, ImageStimulus("noise_x100", stimuli["noise"].image * 100)]


def judge(precision: str, model: Path, images: Array, labels: NDArray[np.int64], expected: Array) -> Row:
    """``model`` on the host; ``images`` [N, H, W, 3], ``expected`` fp32's logits [N, classes]."""
    (place,) = survey(model, [RUNTIMES["litert"]])
    size = model.stat().st_size / 1000
    try:
        logits = answers(model, (image[np.newaxis] for image in images))
        finite = bool(np.isfinite(answers(model, (item.image for item in extremes()))).all())
    except RuntimeError as error:
        return Row(
            precision, "host", 0, None, None, None, size, place.partitions, None, None, str(error).splitlines()[0]
        )
    figures, undelegated = _figures(labels, expected, logits), sum(place.undelegated.values())
    return Row(precision, "host", len(labels), *figures, size, place.partitions, undelegated, finite)


def judge_emulated(
    precision: str, model: Path, images: Array, labels: NDArray[np.int64], expected: Array, cpu: str
) -> Row:
    """As ``judge``, on an emulated processor."""
    from android_bench.emulator.device import open_qemu
    from android_bench.emulator.runtime import EmulatedRuntime

    with EmulatedRuntime(open_qemu(cpu)).open(model) as session:
        logits = np.concatenate([session.run([image[np.newaxis]])[0] for image in images])
        finite = all(np.isfinite(session.run([item.image])[0]).all() for item in extremes())
    figures, size = _figures(labels, expected, logits), model.stat().st_size / 1000
    return Row(precision, f"emulated {cpu}", len(labels), *figures, size, None, None, finite)


def _figures(labels: NDArray[np.int64], expected: Array, logits: Array) -> tuple[float, float, float]:
    """Accuracy, agreement with fp32's answers, and SQNR in dB of ``logits`` [N, classes]."""
    classes = logits.argmax(1)
    accuracy, agreement = float((classes == labels).mean()), float((classes == expected.argmax(1)).mean())
    return accuracy, agreement, sqnr_db([expected], [logits])


def layer_sqnr(reference: Path, model: Path, images: Array) -> dict[str, float]:
    """SQNR in dB of every layer that both files compute under the same name, over ``images``, by TFLite's own kernels.

    It is taken up to a constant factor: a precision's form may hold a value scaled, and undo that in what follows.
    """
    models = [Tflite.read(path) for path in (reference, model)]
    graphs = [file.graph for file in models]
    pairs: dict[str, list[tuple[Array, Array]]] = defaultdict(list)
    compared = {op.outputs[0] for op in graphs[0].ops if op.type in COMPARED and op.depends_on_input}
    for image in images:
        inputs = {"image": np.moveaxis(image[np.newaxis], -1, 1)}
        floats, others = (tflite_values(file, inputs) for file in models)
        by_name = {graphs[1].tensors[index].name: value for index, value in others.items()}
        for index in compared:
            name = graphs[0].tensors[index].name
            if name in by_name and by_name[name].shape == floats[index].shape:
                pairs[name].append((floats[index], by_name[name]))
    return {
        name: sqnr_db(wanted, _rescaled(wanted, given))
        for name, values in pairs.items()
        for wanted, given in [zip(*values)]
    }


def _rescaled(wanted: tuple[Array, ...], given: tuple[Array, ...]) -> list[Array]:
    """``given`` times the factor that brings it nearest to ``wanted``."""
    power = sum(float(np.sum(value.astype(np.float64) ** 2)) for value in given)
    common = sum(float(np.sum(one.astype(np.float64) * other)) for one, other in zip(wanted, given))
    return [value * (common / power if power else 1.0) for value in given]


def by_block(layers: dict[str, float]) -> dict[str, list[float]]:
    """Figures of layers by the block that their names hold: ``stem``, ``stages.2.1``, ``head``."""
    blocks: dict[str, list[float]] = defaultdict(list)
    for name, value in layers.items():
        found = re.findall(r"stages\.\d\.\d+|stem|head", name)
        blocks[found[0] if found else "other"].append(value)
    return dict(blocks)


def overlaps(folder: Path, precisions: Iterable[Precision], drawings: int = DRAWINGS) -> dict[str, dict[str, float]]:
    """Mean intersection over union of the trained detector and segmenter by precision."""
    table: dict[str, dict[str, float]] = {}
    for name, measure in (("shapes-det", box_overlap), ("shapes-seg", mask_overlap)):
        for precision in precisions:
            out = folder / f"{name}-{precision}.tflite"
            calibrated = "benchmarks.accuracy.shapes:calibration" if precision is Precision.INT8 else None
            weights = (
                DATA / f"{name}.safetensors" if name == "shapes-seg" else None
            )  # the detector's come with the package
            convert(name, out, ConvertOptions(weights=weights, precision=precision, calibration=calibrated))
            table.setdefault(name, {})[str(precision)] = measure(out, drawings)
    return table


@dataclass(frozen=True)
class Proof:
    """All that is written: rows, the accuracy without attention, SQNR by precision and layer, overlaps."""

    rows: list[Row]
    without_attention: float
    layers: dict[str, dict[str, float]]
    overlaps: dict[str, dict[str, float]]
    note: str


def prove(weights: Path, python: Path | None, emulated: int) -> Proof:
    """Convert and measure everything. ``emulated`` canvases are also run on the emulated processor; without ``python``
    no stock model.
    """
    from benchmarks.accuracy.train_digits import accuracy, without_attention
    from evit_mobile.models.registry import find_model
    from evit_mobile.weights import load_weights

    module = find_model("digits-pair").build().eval()
    load_weights(module, weights)
    bare = accuracy(without_attention(module))
    canvases = list(digits.test_canvases())
    images, labels = digits.inputs(canvases), np.array([canvas.label for canvas in canvases])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = make_models(weights, folder)
        if python is not None:
            models[STOCK] = make_stock(weights, folder, python)
        expected = answers(models["fp32"], (image[np.newaxis] for image in images))
        rows = [judge(precision, model, images, labels, expected) for precision, model in models.items()]
        part = slice(0, emulated)
        for precision in ("fp16", "int8") if emulated else ():
            rows.append(
                judge_emulated(precision, models[precision], images[part], labels[part], expected[part], "cortex-a76")
            )
        layers = {
            precision: layer_sqnr(models["fp32"], model, images[:LAYER_CANVASES])
            for precision, model in models.items()
            if precision not in ("fp32", STOCK)
        }
        found = overlaps(folder, (Precision.FP32, Precision.FP16, Precision.DYNAMIC, Precision.INT8))
    return Proof(rows, bare, layers, found, _note())


def _note() -> str:
    import time
    from importlib.metadata import version

    return f"Made {time.strftime('%Y-%m-%d')} with ai-edge-litert {version('ai-edge-litert')}"
