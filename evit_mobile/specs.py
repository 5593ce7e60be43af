"""Plain values that travel between the stages: resolutions, precisions, targets, preprocessing.

Nothing here imports anything heavier than the standard library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from evit_mobile.errors import RequestError

#: Before a variant's name: ``base-r224+softmax``.
VARIANT = "+"
ZOO_PREFIX = "timm:"
PRETRAINED = VARIANT + "pretrained"
#: Above this many pixels a side a request is taken for a slip of the finger (the paper's largest is 2048).
MAX_SIDE = 8192

#: Bound on the mean and the standard deviation of pixels, which are in 0..1 or, in some models, 0..255.
LARGEST_SCALE = 1e6
#: An image is scaled by the inverse of this at most before it is cropped.
SMALLEST_CROP = 0.1
#: Pillow's resampling filters that preprocessing may name.
Interpolation = Literal["bilinear", "bicubic"]

#: Numbers that one input of a network may hold, 256 MB of float32: an image of 4096x4096 has 50 million.
MAX_INPUT_ELEMENTS = 2**26


class Precision(StrEnum):
    """Numeric format of a converted model."""

    FP32 = "fp32"
    FP16 = "fp16"
    DYNAMIC = "dynamic"
    INT8 = "int8"


#: In place of a precision: the fastest that keeps an SQNR.
AUTO = "auto"
#: SQNR that a file keeps where none is asked for.
DEFAULT_MIN_SQNR_DB = 30.0


class Core(StrEnum):
    """Class of the core that runs a model, by what XNNPACK's kernels ask of it."""

    #: Cortex-A53, A57, A72, A73: neither 8-bit dot products nor arithmetic in half precision.
    ARMV8_0 = "armv8.0"
    #: Cortex-A55, A75 to A78, X1: both.
    ARMV8_2 = "armv8.2"
    #: Cortex-A510, A710, A715, X2 and newer: 8-bit matrix products as well.
    ARMV9 = "armv9"
    X86_64 = "x86-64"

    @classmethod
    def of(cls, abi: str, instruction_sets: Collection[str]) -> Core:
        """The class of a core with these instruction sets, as Linux spells them; unknown ABIs count as the usual
        phone's.
        """
        if abi in ("x86_64", "AMD64"):
            return cls.X86_64
        if "i8mm" in instruction_sets:
            return cls.ARMV9
        return cls.ARMV8_0 if instruction_sets and "asimddp" not in instruction_sets else cls.ARMV8_2


class IoType(StrEnum):
    """Type of an int8 model's input and outputs; float32 is converted inside the model."""

    FLOAT32 = "float32"
    INT8 = "int8"
    UINT8 = "uint8"


class Pixels(StrEnum):
    """What a file that normalises in its graph takes: RGB in [0, 1], or of 0 to 255 as float32 or as uint8."""

    UNIT = "unit"
    RAW = "raw"
    UINT8 = "uint8"


class Activation(StrEnum):
    """What is put behind a network that gives logits."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


@dataclass(frozen=True)
class Ends:
    """What a conversion adds at both ends of a network.

    Attributes:
        pixels: what the file takes, the normalisation being in its graph; None: the input is normalised already.
        activation: of the output; None: as the network gives it.
        nms: of a detector: non-maximum suppression in the file.
    """

    pixels: Pixels | None = None
    activation: Activation | None = None
    nms: bool = False

    @classmethod
    def of(cls, normalise: bool | None, pixels: str | None, io_type: str, behind: tuple[str, ...] = ()) -> Ends:
        """What the options of ``convert`` ask for; ``behind`` names what is put behind the network: an activation, or
        ``nms``.

        Raises:
            RequestError: they contradict each other.
        """
        if normalise is False and pixels is not None:
            raise RequestError("--input says what pixels are normalised in the graph", hint="leave out one of the two")
        if {"softmax", "sigmoid"} <= {*behind}:
            raise RequestError("--softmax and --sigmoid exclude each other", hint="sigmoid is for classes that overlap")
        if pixels is None and normalise:
            pixels = Pixels.UINT8 if io_type == IoType.UINT8 else Pixels.UNIT
        activation = next((item for item in Activation if item in behind), None)
        return cls(None if pixels is None else Pixels(pixels), activation, "nms" in behind)


class OutputLayout(StrEnum):
    """Order of the axes of a .tflite's outputs of rank 4, images most of them; inputs of rank 4 are always NHWC."""

    NHWC = "nhwc"
    NCHW = "nchw"


@dataclass(frozen=True, order=True)
class Resolution:
    """Input height and width in pixels."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Resolution:
        """Read ``288`` (square) or ``704x1408`` (height x width).

        Raises:
            RequestError: the text is neither, or a side is not in 1..MAX_SIDE.
        """
        match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text.strip())
        if match is None:
            raise RequestError(f"resolution {text!r} is not a size", hint="write 288 or HEIGHTxWIDTH, e.g. 704x1408")
        height = int(match[1])
        resolution = cls(height, int(match[2]) if match[2] else height)
        for side in (resolution.height, resolution.width):
            if not 1 <= side <= MAX_SIDE:
                raise RequestError(
                    f"resolution {text} is out of range", hint=f"each side must be 1 to {MAX_SIDE} pixels"
                )
        return resolution

    def check_multiple_of(self, divisor: int) -> None:
        """Raise RequestError, naming the nearest sizes that fit, unless both sides divide by ``divisor``."""
        for side in (self.height, self.width):
            if side % divisor:
                below, above = side // divisor * divisor, (side // divisor + 1) * divisor
                near = f"{below} or {above}" if below else f"{above}"
                raise RequestError(f"resolution {self} does not divide by {divisor}", hint=f"nearest to {side}: {near}")

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


@dataclass(frozen=True)
class ModelName:
    """What ``--model`` names, parsed once.

    Attributes:
        text: the name as it was given.
        kind: ``registered`` (one of ours, perhaps with variants: ``base-r224+softmax``), ``zoo`` (``timm:NAME``),
            ``onnx`` (a path that ends in .onnx) or ``factory`` (``package.module:function``).
    """

    text: str
    kind: Literal["registered", "zoo", "onnx", "factory"]

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name; whether the model exists, its kind's own loader says."""
        if text.endswith(".onnx"):
            return cls(text, "onnx")
        if text.startswith(ZOO_PREFIX):
            return cls(text, "zoo")
        return cls(text, "factory" if ":" in text else "registered")

    @property
    def pretrained(self) -> bool:
        """Whether the zoo's own trained weights are asked for: ``timm:NAME+pretrained``."""
        return self.kind == "zoo" and self.text.endswith(PRETRAINED)

    @property
    def architecture(self) -> str:
        """The name without ``timm:`` and ``+pretrained``: what the zoo itself calls the model."""
        return self.text.removeprefix(ZOO_PREFIX).removesuffix(PRETRAINED) if self.kind == "zoo" else self.text

    @property
    def is_counted(self) -> bool:
        """Whether its multiply-accumulates can be counted before it is built: not so for an ONNX file or a factory."""
        return self.kind in ("registered", "zoo")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Target:
    """What a graph is made for; every pass may read it.

    ``runtime`` is a name from ``evit_mobile.runtimes``; ``core`` is the class of the core that will run the model.
    ``token_ratio`` is set where one file has the network at several resolutions: what is scaled by the number of tokens
    is scaled by so many times this graph's, which is the same number at each of them.
    """

    precision: Precision = Precision.FP32
    runtime: str = "litert"
    core: Core = Core.ARMV8_2
    token_ratio: float = 1.0


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB image to a model's input: fit to its size, scale to [0, 1], subtract ``mean``, divide by ``std``.

    ``fit`` says what becomes of an image of other proportions. ``crop``: it is scaled until it covers the input over
    ``crop_fraction``, and its centre is taken. ``pad``: it is scaled until all of it lies in the input, at the top
    left, and the rest is grey, as in YOLOX.

    Raises:
        ValueError: ``mean`` or ``std`` is not finite or far from any image's, ``std`` or ``crop_fraction`` is not
            positive.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop_fraction: float = 0.875
    interpolation: Interpolation = "bicubic"
    fit: Literal["crop", "pad"] = "crop"

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and abs(value) <= LARGEST_SCALE for value in self.mean):
            raise ValueError(f"mean {self.mean} is out of range")
        if not all(1 / LARGEST_SCALE <= value <= LARGEST_SCALE for value in self.std):
            raise ValueError(f"std {self.std} is out of range")
        if not SMALLEST_CROP <= self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction {self.crop_fraction} is not in {SMALLEST_CROP}..1")


#: Of detectors and segmenters: nothing is cut off.
WHOLE_IMAGE = Preprocessing(crop_fraction=1.0, interpolation="bilinear", fit="pad")
