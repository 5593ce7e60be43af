"""What ``--model`` names: a registered model, a timm model, a user's own factory, or an ONNX file. Each becomes one ``Source``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converters.source.importing import import_named
from evit_mobile.errors import RequestError
from evit_mobile.models import find_model, released, zoo
from evit_mobile.specs import ModelName, Preprocessing, Resolution

if TYPE_CHECKING:
    from torch import nn

    from evit_mobile.weights import Rename

#: Input size of a factory's module where none is asked for.
DEFAULT_RESOLUTION = Resolution(224, 224)
#: Input size at which seeded weights are settled: the same weights at any resolution, in a second.
SETTLING_RESOLUTION = Resolution(128, 128)


@dataclass(frozen=True)
class Source:
    """A network ready for export.

    Attributes:
        name: what the user called it.
        module: in evaluation mode, [1, channels, H, W] float32 in; None where the source is an ONNX file.
        onnx_path: the ONNX file, or None.
        resolution: input height and width; of an ONNX file, None until it is read.
        outputs: output names, empty where the module decides.
        seeded: the weights are random, so predictions mean nothing.
    """

    name: str
    module: nn.Module | None
    onnx_path: Path | None
    resolution: Resolution | None
    outputs: tuple[str, ...]
    preprocessing: Preprocessing
    task: str | None
    seeded: bool
    channels: int = 3


def load_source(model: str, resolution: Resolution | None = None, weights: Path | None = None, seed: int = 0) -> Source:
    """Find and build what ``model`` names.

    Raises:
        RequestError: no such model, factory or file; a resolution or weights that do not fit it.
    """
    kind = ModelName.parse(model).kind
    if kind == "onnx":
        return _onnx_source(model, resolution, weights)
    if kind == "zoo":
        return _zoo_source(model, resolution, weights, seed)
    if kind == "factory":
        return _factory_source(model, resolution, weights, seed)
    return _registered_source(model, resolution, weights, seed)


def _registered_source(model: str, resolution: Resolution | None, weights: Path | None, seed: int) -> Source:
    spec = find_model(model)
    resolution = resolution or spec.resolution
    resolution.check_multiple_of(spec.divisor)
    import torch

    from evit_mobile.models.efficientvit import initialise
    from evit_mobile.models.seeding import settle_batch_norms

    module = spec.build(resolution)
    initialise(module, seed)
    if weights is None:
        # Else the sum of the residual branches grows until what an attention adds, and any fault in it, drowns in rounding.
        settle_batch_norms(module, torch.Generator().manual_seed(seed + 1), SETTLING_RESOLUTION)
    _finish(module, weights)
    return Source(
        spec.name, module, None, resolution, spec.outputs, spec.preprocessing, spec.task, weights is None, spec.channels
    )


def _zoo_source(model: str, resolution: Resolution | None, weights: Path | None, seed: int) -> Source:
    found = zoo.load_zoo_model(model, resolution, seed)
    _finish(found.module, weights, released.to_timm)
    seeded = weights is None and not found.pretrained
    return Source(model, found.module, None, found.resolution, ("logits",), found.preprocessing, found.task, seeded)


def _factory_source(model: str, resolution: Resolution | None, weights: Path | None, seed: int) -> Source:
    import torch
    from torch import nn

    factory = import_named(model, "factory")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory()
    if not isinstance(module, nn.Module):
        raise RequestError(f"{model} gave a {type(module).__name__}, expected a torch.nn.Module")
    _finish(module, weights)
    return Source(model, module, None, resolution or DEFAULT_RESOLUTION, (), Preprocessing(), None, False)


def _onnx_source(model: str, resolution: Resolution | None, weights: Path | None) -> Source:
    path = Path(model)
    if not path.is_file():
        raise RequestError(f"{model} does not exist")
    if resolution is not None or weights is not None:
        raise RequestError(
            "an ONNX file has its resolution and weights in it", hint="leave out --resolution and --weights"
        )
    return Source(model, None, path, None, (), Preprocessing(), None, False)


def _finish(module: nn.Module, weights: Path | None, rename: Rename | None = None) -> None:
    from evit_mobile.weights import load_weights

    if weights is not None:
        load_weights(module, weights, rename)
    module.eval().requires_grad_(False)
