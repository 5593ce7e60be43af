"""What a conversion can be asked for."""

from __future__ import annotations

import importlib.metadata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from converters.source.inputs import InputRequest
from evit_mobile import __version__
from evit_mobile.card import ModelCard
from evit_mobile.specs import Core, Ends, IoType, OutputLayout, Precision, Resolution

#: Packages whose version can change what a conversion gives.
VERSIONED = ("torch", "onnx", "onnx-ir", "onnxscript", "onnx2tf", "numpy", "flatbuffers", "timm")


@dataclass(frozen=True)
class ConvertOptions:
    """What a conversion can be asked for.

    Attributes:
        resolution: input size; None takes the model's own, or 224x224.
        weights: a checkpoint (.pt, .pth, .safetensors); None draws weights from ``seed``, where the model has none.
        precision: of the .tflite; None takes fp32, and int8 of a network that is quantised already.
        seed: for the weights that are not given.
        rewrite: run the graph passes; False gives what the stock converter gives.
        attention_form: canonical form of linear attention; ``auto`` chooses by resolution, precision and core.
        core: class of the core that will run the .tflite.
        calibration: int8: a folder of pictures, an .npz file, or ``package.module:function``.
        hold_out: int8: leave each fourth calibration input out, to be tested on.
        min_sqnr_db: SQNR that the file keeps against fp32 on calibration inputs that are held out, in dB. Without a
            precision the fastest one that does; with fp16 or int8 the fastest mix of that with int8 weights.
        io_type: int8: type of the model's input and outputs.
        inputs: shapes of the inputs, and PyTorch's exporter.
        output_layout: order of the axes of outputs of rank 4.
        check: compare the .tflite with the exported graph, and refuse it where it differs.
        card: what the user says of the model.
        ends: the normalisation of pixels before the network, softmax or sigmoid behind it.
        token_ratio: as in ``Target``; see ``converters.several``.
        keep_onnx: gets the ONNX graph as it goes into the lowering; the conversion is then made anew.
    """

    resolution: Resolution | None = None
    weights: Path | None = None
    precision: Precision | None = None
    seed: int = 0
    rewrite: bool = True
    attention_form: str = "auto"
    core: Core = Core.ARMV8_2
    calibration: str | None = None
    hold_out: bool = False
    min_sqnr_db: float | None = None
    io_type: IoType = IoType.FLOAT32
    inputs: InputRequest = InputRequest()
    check: bool = True
    keep_onnx: Path | None = None
    output_layout: OutputLayout = OutputLayout.NHWC
    card: ModelCard = ModelCard()
    ends: Ends = Ends()
    token_ratio: float = 1.0

    @property
    def target(self) -> Precision:
        """The precision, as far as it is known without the network."""
        return self.precision or Precision.FP32


def versions() -> dict[str, str]:
    """Versions of what takes part in a conversion, by package; an optional one that is not installed is left out."""
    installed = {"evit-mobile": __version__}
    for name in VERSIONED:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed
