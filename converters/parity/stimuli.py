"""What a network is run on where its outputs are compared: noise, constants, extremes and a photograph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.parity.reference import open_onnx_inputs
from converters.source.onnx_file import channel_axis, graph_inputs
from evit_mobile.arrays import Array, Float32Array
from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution
from evit_mobile.vision.images import load_image, normalise

if TYPE_CHECKING:
    import onnx

    from converters.source.load import Source

#: An integer input may be an index into a table of any length: noise is drawn below the first of these that runs.
_INDEX_BOUNDS = (256, 64, 16, 8, 4, 2)


@dataclass(frozen=True)
class Stimulus:
    """Named inputs of a network: an array for each of its inputs, by name, in the exported graph's layout and type."""

    name: str
    inputs: Mapping[str, Array]


@dataclass(frozen=True)
class ImageStimulus:
    """A named image: ``image`` is [1, H, W, C] float32, NHWC."""

    name: str
    image: Float32Array


def verification_stimuli(
    resolution: Resolution,
    channels: int,
    preprocessing: Preprocessing | None,
    *,
    image: Path | None = None,
    seed: int = 0,
) -> list[ImageStimulus]:
    """The images of ``verify``; the first is seeded noise.

    * ``noise``: standard normal.
    * ``zeros``, ``ones``: constant; every position is alike, so layer normalisation and attention see degenerate
      statistics.

    These three are inputs of ImageNet's normalisation. A model that takes pixels in another way gets the same pixels
    in its own way, and one that takes pixels themselves gets none that are not of 0 to 255.

    * ``black``, ``white``: the normalised images of 0 and 255, the largest values that a picture can give.
    * ``hot_pixel``: black but for one pixel of 255: everything that spreads, spreads from a known place.
    * ``photograph``: ``image``, or a portrait that matplotlib bundles, preprocessed as the model wants.

    A model whose input has not 3 channels takes no pictures: it gets the first three.

    Raises:
        RequestError: ``image`` is no image.
    """
    stimuli = _plain((1, resolution.height, resolution.width, channels), seed)
    if channels == 3:
        stimuli = {name: _as_pixels(value, preprocessing) for name, value in stimuli.items()}
        stimuli.update(_pictures(resolution, preprocessing, image))
    return [ImageStimulus(name, value) for name, value in stimuli.items()]


def graph_stimuli(source: Source, stock: onnx.ModelProto, *, image: Path | None = None) -> list[Stimulus]:
    """The stimuli of any network: ``plain_stimuli``, ``ones``, and, where an input is an image of 3 channels, the
    pictures of ``verification_stimuli``, beside which every other input is noise.

    Args:
        source: the network.
        stock: its exported graph.
        image: takes the place of the bundled photograph.

    Raises:
        RequestError: ``image`` is no image, or no input is one.
    """
    inputs = [_Input.of(value) for value in graph_inputs(stock)]
    values = _plain_values(source, stock)
    images = [item for item in inputs if item.is_image]
    if image is not None and not images:
        raise RequestError(f"{source.name} takes no image of 3 channels", hint="leave out --image")
    for item in images:
        pictures = _pictures(item.resolution, source.preprocessing, image)
        values[item.name] |= {name: item.from_nhwc(picture) for name, picture in pictures.items()}
    names = dict.fromkeys(name for stimuli in values.values() for name in stimuli)
    return [
        Stimulus(name, {item: stimuli.get(name, stimuli["noise"]) for item, stimuli in values.items()})
        for name in names
    ]


def plain_stimuli(source: Source, stock: onnx.ModelProto) -> list[Stimulus]:
    """``noise`` and ``zeros`` for any network: seeded standard normal values, and 0.

    Noise of integers is not negative and small enough for an index: ONNX Runtime says how small.
    """
    values = _plain_values(source, stock)
    return [Stimulus(name, {item: stimuli[name] for item, stimuli in values.items()}) for name in ("noise", "zeros")]


def bundled_photograph() -> Path:
    """A portrait of Grace Hopper (public domain) that matplotlib installs with its sample data."""
    from matplotlib import cbook

    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@dataclass(frozen=True)
class _Input:
    """An input of a graph."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @classmethod
    def of(cls, value: onnx.ValueInfoProto) -> _Input:
        import onnx

        kind = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        return cls(value.name, shape, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))

    @property
    def _channel_axis(self) -> int | None:
        return channel_axis(self.shape) if self.dtype == np.float32 else None

    @property
    def is_image(self) -> bool:
        return self._channel_axis is not None

    @property
    def resolution(self) -> Resolution:
        """Of an image."""
        return Resolution(*(self.shape[2:] if self._channel_axis == 1 else self.shape[1:3]))

    def from_nhwc(self, image: Float32Array) -> Array:
        """[1, H, W, C] in this image's own layout and batch."""
        batch = np.repeat(image, self.shape[0], axis=0)
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if self._channel_axis == 1 else batch

    def plain(self, seed: int, preprocessing: Preprocessing | None) -> dict[str, Array]:
        """``noise``, ``zeros`` and ``ones`` of a float or a bool; of an integer the last two."""
        if self.dtype == np.float32 and len(self.shape) == 4:
            # As images, which are drawn in NHWC: one noise for a network and for its file.
            batch, channels, height, width = self.shape
            drawn = _plain((batch, height, width, channels), seed)
            if self._channel_axis == 1:
                drawn = {name: _as_pixels(value, preprocessing) for name, value in drawn.items()}
            return {name: np.ascontiguousarray(value.transpose(0, 3, 1, 2)) for name, value in drawn.items()}
        if self.dtype == np.float32:
            return dict(_plain(self.shape, seed))
        constants: dict[str, Array] = {
            name: np.full(self.shape, value, self.dtype) for name, value in (("zeros", 0), ("ones", 1))
        }
        if self.dtype == np.bool_:
            constants["noise"] = np.random.default_rng(seed).random(self.shape) < 0.5
        return constants


def _plain(shape: tuple[int, ...], seed: int) -> dict[str, Float32Array]:
    return {
        "noise": np.random.default_rng(seed).standard_normal(shape, np.float32),
        "zeros": np.zeros(shape, np.float32),
        "ones": np.ones(shape, np.float32),
    }


def _as_pixels(value: Float32Array, preprocessing: Preprocessing | None) -> Float32Array:
    """[N, H, W, 3] of ImageNet's normalisation as ``preprocessing`` gives the same pixels."""
    if preprocessing is None:
        return value
    usual = Preprocessing()
    if not any(preprocessing.mean):
        pixels = (value * np.array(usual.std) + np.array(usual.mean)).clip(0, 1)
        return normalise(((pixels * 255).round() / 255).astype(np.float32), preprocessing)
    std = np.array(preprocessing.std)
    factor, shift = np.array(usual.std) / std, (np.array(usual.mean) - np.array(preprocessing.mean)) / std
    return np.asarray(value * factor.astype(np.float32) + shift.astype(np.float32))


def _pictures(
    resolution: Resolution, preprocessing: Preprocessing | None, image: Path | None
) -> dict[str, Float32Array]:
    # Where it is not known how pictures become the input, ImageNet's normalisation gives numbers like any others.
    preprocessing = preprocessing or Preprocessing()
    shape = (1, resolution.height, resolution.width, 3)
    black, white = (np.full(shape, value, np.float32) for value in (0, 1))
    hot = black.copy()
    hot[0, resolution.height // 2, resolution.width // 2] = 1
    pictures = {
        name: normalise(pixels, preprocessing)
        for name, pixels in (("black", black), ("white", white), ("hot_pixel", hot))
    }
    return {**pictures, "photograph": load_image(image or bundled_photograph(), resolution, preprocessing)}


def _plain_values(source: Source, stock: onnx.ModelProto) -> dict[str, dict[str, Array]]:
    """``noise``, ``zeros`` and ``ones`` of each input of ``stock``, by the input's name."""
    inputs = [_Input.of(value) for value in graph_inputs(stock)]
    values = {item.name: item.plain(seed, source.preprocessing) for seed, item in enumerate(inputs)}
    if any("noise" not in stimuli for stimuli in values.values()):
        _add_indices(values, inputs, source, stock)
    order = ("noise", "zeros", "ones")
    return {name: {key: stimuli[key] for key in order if key in stimuli} for name, stimuli in values.items()}


def _add_indices(
    values: dict[str, dict[str, Array]], inputs: list[_Input], source: Source, stock: onnx.ModelProto
) -> None:
    """Give every integer input noise on which the graph runs, and take its ``ones`` away where it has no index 1."""
    run = open_onnx_inputs(stock, source)
    zeros = {name: stimuli["zeros"] for name, stimuli in values.items()}

    def runs(name: str, value: Array) -> bool:
        try:
            run({**zeros, name: value})
        except Exception:  # ONNX Runtime raises classes of its own, derived from RuntimeError or from Exception
            return False
        return True

    for seed, item in enumerate(inputs):
        stimuli = values[item.name]
        if "noise" in stimuli:
            continue
        fraction = np.random.default_rng(seed).random(item.shape)
        drawn = (np.floor(fraction * bound).astype(item.dtype) for bound in _INDEX_BOUNDS)
        stimuli["noise"] = next((value for value in drawn if runs(item.name, value)), zeros[item.name])
        if not runs(item.name, stimuli["ones"]):
            del stimuli["ones"]
