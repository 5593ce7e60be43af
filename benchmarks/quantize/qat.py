"""Quantisation-aware training of ``digits-pair``, in PyTorch alone: ``python -m benchmarks.quantize.qat``.

The network is trained on with every value rounded as int8 rounds it, so that its logits stay those of the trained float
network (the teacher). PyTorch exports the roundings as QuantizeLinear and DequantizeLinear, and ``convert`` takes that
ONNX file with its scales. Beside it stands what calibration gives, and the same rounded network before the training.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from benchmarks.accuracy import digits
from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.accuracy.precisions import make_models
from benchmarks.accuracy.report import WEIGHTS
from benchmarks.accuracy.train_digits import batch
from benchmarks.results_files import out_option, write_results
from converters.pipeline import convert
from converters.source.load import load_source
from converters.tflite.inspection import inspect_model
from evit_mobile.arrays import Array
from evit_mobile.models.efficientvit import ConvBatchNorm
from evit_mobile.specs import Precision

RESULTS = Path(__file__).resolve().parents[1] / "results"
#: Training canvases from here on, none of which trained the teacher.
FIRST_SEED = 1_000_000
#: What rounds its weights, what rounds its result, and what leaves a rounded value rounded.
_WEIGHTED = frozenset({"conv2d", "linear"})
_ROUNDED = _WEIGHTED | {"hardswish", "layer_norm", "add", "__add__", "adaptive_avg_pool2d", "avg_pool2d"}
_CARRIERS = frozenset({"flatten", "reshape", "permute"})
_IS_ROUNDED = "is_rounded"


class Rounding(nn.Module):
    """One value's rounding to 8 bits: measures a range first, then keeps its scale and lets gradients through."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high, self.is_measuring = 0.0, 0.0, True

    def forward(self, value: Tensor) -> Tensor:
        if self.is_measuring:
            self.low, self.high = min(self.low, float(value.min())), max(self.high, float(value.max()))
            return value.clone()
        scale = (self.high - self.low) / 255
        return torch.fake_quantize_per_tensor_affine(value, scale, round(-128 - self.low / scale), -128, 127)


class RoundedNetwork(nn.Module):
    """A network of which the input, the weights and what ``_ROUNDED`` gives are rounded; attention's sums and products
    are not.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.roundings = nn.ModuleList()

    def forward(self, image: Tensor) -> Tensor:
        with _Mode(self.roundings) as mode:
            logits: Tensor = self.network(mode.rounded(image))
        return logits

    @torch.no_grad()
    def calibrate(self, images: list[Tensor]) -> None:
        """Measure the ranges on ``images`` [B, 3, H, W]; they stay as they are from then on."""
        for image in images:
            self(image)
        for rounding in self.roundings:
            rounding.is_measuring = False  # type: ignore[assignment]


class _Mode(TorchFunctionMode):
    """Rounds, call by call, in the order in which the network computes."""

    def __init__(self, roundings: nn.ModuleList) -> None:
        super().__init__()
        self._roundings, self._next = roundings, 0

    def rounded(self, value: Tensor) -> Tensor:
        """``value`` by the next rounding."""
        if self._next == len(self._roundings):
            self._roundings.append(Rounding())
        result: Tensor = self._roundings[self._next](value)
        self._next += 1
        setattr(result, _IS_ROUNDED, True)
        return result

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in _WEIGHTED:
            value = args[0] if hasattr(args[0], _IS_ROUNDED) else self.rounded(args[0])
            args = (value, _rounded_weights(args[1]), *args[2:])
        result = func(*args, **kwargs)
        if name in _CARRIERS and hasattr(args[0], _IS_ROUNDED):
            setattr(result, _IS_ROUNDED, True)
        # A sum with a number is the attention's denominator, which loses most of itself in 8 bits.
        is_value = name not in ("add", "__add__") or isinstance(args[1], Tensor)
        return self.rounded(result) if name in _ROUNDED and is_value else result


def _rounded_weights(weights: Tensor) -> Tensor:
    """[O, …] in steps of each output's own."""
    largest = weights.detach().flatten(1).abs().amax(1).clamp(min=1e-8)
    scales = torch.tensor((largest / 127).tolist())  # a constant of the export, not a graph that computes it
    zeros = torch.tensor([0] * len(scales), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -128, 127)


def folded(network: nn.Module) -> nn.Module:
    """``network`` with its batch normalisations in the convolutions before them."""
    for layer in network.modules():
        if isinstance(layer, ConvBatchNorm):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()  # type: ignore[assignment]
    return network


def train(student: nn.Module, teacher: nn.Module, steps: int, size: int, rate: float) -> None:
    """Make the student's logits the teacher's on training canvases."""
    optimiser = torch.optim.AdamW(student.parameters(), rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    start = time.monotonic()
    for step in range(steps):
        seeds = range(FIRST_SEED + step * size, FIRST_SEED + (step + 1) * size)
        images, _ = batch([digits.draw(seed, "train") for seed in seeds])
        with torch.no_grad():
            expected = teacher(images)
        loss = F.mse_loss(student(images), expected)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1} of {steps}: loss {loss.item():.4f}, {time.monotonic() - start:.0f} s", flush=True)


def export(student: nn.Module, out: Path) -> None:
    """Write ``student`` as an ONNX file with its roundings."""
    example = torch.zeros(1, 3, digits.SIDE, digits.SIDE)
    torch.onnx.export(student, (example,), str(out), dynamo=False, opset_version=17,
                      input_names=["image"], output_names=["logits"])  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One file on the test canvases; shares, and dB against the float network's logits."""

    name: str
    accuracy: float
    agreement: float
    logits_sqnr_db: float
    kilobytes: float
    partitions: int | None
    undelegated: int
    int8_ops: int
    ops: int


def judge(name: str, model: Path, images: Array, labels: NDArray[np.int64], expected: Array) -> Row:
    """``model`` on canvases [N, H, W, 3]."""
    logits = answers(model, (image[np.newaxis] for image in images))
    inspection = inspect_model(model, explain=False)
    chosen = logits.argmax(1)
    return Row(
        name=name,
        accuracy=float((chosen == labels).mean()),
        agreement=float((chosen == expected.argmax(1)).mean()),
        logits_sqnr_db=sqnr_db([expected], [logits]),
        kilobytes=model.stat().st_size / 1e3,
        partitions=inspection.partitions,
        undelegated=len(inspection.undelegated),
        int8_ops=sum(op.precision == "int8" for op in inspection.ops),
        ops=inspection.op_total,
    )


def render(rows: list[Row], steps: int, size: int, seconds: float) -> str:
    """Markdown."""
    lines = [
        "# Quantisation-aware training beside calibration\n",
        f"`digits-pair`, {digits.TEST_CANVASES:,} test canvases, on the host. Calibration has 128 canvases. "
        f"The training has {steps} steps of {size} canvases, {seconds:.0f} s on two cores.\n",
        "| file | accuracy | agrees with fp32 | SQNR of logits (dB) | kB | partitions | ops outside | int8 ops |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        sqnr = f"{row.logits_sqnr_db:.1f}" if row.logits_sqnr_db != float("inf") else ""
        lines.append(
            f"| {row.name} | {row.accuracy:.2%} | {row.agreement:.2%} | {sqnr} | {row.kilobytes:.0f} "
            f"| {row.partitions} | {row.undelegated} | {row.int8_ops} of {row.ops} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--steps", type=int, default=600)
@click.option("--batch", "size", type=int, default=32)
@click.option("--rate", type=float, default=3e-4)
@out_option(RESULTS / "qat.md")
def main(steps: int, size: int, rate: float, out: Path) -> None:
    """Train, convert, judge, and write the table."""
    torch.manual_seed(0)
    teacher, network = (load_source("digits-pair", weights=WEIGHTS).module for _ in range(2))
    assert teacher is not None and network is not None
    canvases = list(digits.test_canvases())
    images, labels = digits.inputs(canvases), np.array([canvas.label for canvas in canvases])
    student = RoundedNetwork(folded(network))
    student.requires_grad_(True)  # a loaded network is frozen
    student.calibrate([torch.from_numpy(image).permute(0, 3, 1, 2) for image in digits.calibration()])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = make_models(WEIGHTS, folder, (Precision.FP32, Precision.INT8))
        expected = answers(models["fp32"], (image[np.newaxis] for image in images))
        files = {"fp32": models["fp32"], "int8, calibrated": models["int8"]}
        start = time.monotonic()
        for label, count in (("int8, rounded network before training", 0), ("int8, trained with rounding", steps)):
            if count:
                train(student, teacher, count, size, rate)
            export(student, folder / f"{count}.onnx")
            files[label] = folder / f"{count}.tflite"
            convert(str(folder / f"{count}.onnx"), files[label])
        seconds = time.monotonic() - start
        rows = [judge(label, file, images, labels, expected) for label, file in files.items()]
    markdown = render(rows, steps, size, seconds)
    write_results(out, markdown, [asdict(row) for row in rows])
    click.echo(markdown)


if __name__ == "__main__":
    main()
