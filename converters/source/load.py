"""What ``--model`` names: a registered model, a timm model, a user's own factory, or an ONNX file. Each becomes one
``Source``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.source.blame import user_line
from converters.source.importing import import_named
from converters.source.inputs import InputRequest, check_python
from converters.source.torch_export import Exporter
from evit_mobile.card import ModelCard
from evit_mobile.errors import RequestError
from evit_mobile.models import find_model, released, zoo
from evit_mobile.specs import Ends, ModelName, Preprocessing, Resolution

if TYPE_CHECKING:
    from torch import nn

    from evit_mobile.weights import Rename

#: What a module's only input is called.
INPUT_NAME = "image"
#: Input size of a factory's module where none is asked for.
DEFAULT_RESOLUTION = Resolution(224, 224)
#: Input size at which seeded weights are settled: the same weights at any resolution, in a second.
SETTLING_RESOLUTION = Resolution(128, 128)


@dataclass(frozen=True)
class Source:
    """A network ready for export.

    Attributes:
        name: what the user called it.
        module: in evaluation mode, float32 in; None where the source is an ONNX file.
        onnx_path: the ONNX file, or None.
        resolution: input height and width; None of an ONNX file, until it is read, and where ``shapes`` say more.
        outputs: output names, empty where the module decides.
        preprocessing: from a picture to the input; None where it is not known.
        task: what the network is for; None where that is not known.
        seeded: the weights are random, so predictions mean nothing.
        channels: of the image.
        shapes: of the inputs by name, where they were asked for; else a module takes one [1, channels, H, W] image.
        exporter: what makes a module's ONNX graph.
        from_module: the caller gave the module itself, so that ``name`` cannot build it again.
        channels_last: outputs of rank 4 are NHWC in PyTorch already: those of our detectors and segmenters are.
        labels: names of the classes, where they are not those of the task's own data set.
        ends: what was put at both ends of the network; see ``with_ends``.
        network_preprocessing: ``preprocessing`` of the network without its ends.
    """

    name: str
    module: nn.Module | None
    onnx_path: Path | None
    resolution: Resolution | None
    outputs: tuple[str, ...]
    preprocessing: Preprocessing | None
    task: str | None
    seeded: bool
    channels: int = 3
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    exporter: Exporter = Exporter.AUTO
    from_module: bool = False
    channels_last: bool = False
    labels: tuple[str, ...] | None = None
    ends: Ends = Ends()
    network_preprocessing: Preprocessing | None = None

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs by name: those that were asked for, or the image; empty for an ONNX file that says its
        own.
        """
        if self.shapes or self.resolution is None:
            return self.shapes
        return {INPUT_NAME: (1, self.channels, self.resolution.height, self.resolution.width)}


def module_source(
    module: nn.Module,
    resolution: Resolution | None = None,
    request: InputRequest = InputRequest(),
    card: ModelCard = ModelCard(),
) -> Source:
    """A module that the caller holds, as a source; it is copied, so that later changes to it do not reach the copy.

    Raises:
        RequestError: the module is in training mode or cannot be copied, or its resolution and input shapes contradict
            each other; see also ``with_card``.
    """
    name = type(module).__name__
    _check_usable(module, name)
    if request.shapes and resolution is not None:
        raise RequestError("the example inputs say the resolution", hint="leave out resolution")
    if module.training:
        raise RequestError(f"{name} is in training mode", hint="call its eval() first")
    try:
        copied = copy.deepcopy(module).cpu().float()
    except (Exception, SystemExit) as error:  # the module is the user's code, and raises what it likes
        raise RequestError(f"{name} cannot be copied: {user_line(error)}") from error
    copied.requires_grad_(False)
    size = None if request.shapes else resolution or DEFAULT_RESOLUTION
    source = Source(
        name,
        copied,
        None,
        size,
        (),
        None,
        None,
        False,
        request.channels or 3,
        request.shapes,
        request.exporter,
        from_module=True,
    )
    return with_card(source, card)


def load_source(
    model: str,
    resolution: Resolution | None = None,
    weights: Path | None = None,
    seed: int = 0,
    request: InputRequest = InputRequest(),
    card: ModelCard = ModelCard(),
) -> Source:
    """Find and build what ``model`` names.

    Raises:
        RequestError: no such model, factory or file; a resolution, input shapes or weights that do not fit it; see also
            ``with_card``.
    """
    kind = ModelName.parse(model).kind
    if card.classes is not None and kind in ("onnx", "factory"):
        raise RequestError(f"{model} has its number of classes in it", hint="leave out --classes")
    if kind == "onnx":
        source = _onnx_source(model, resolution, weights, request)
    elif kind == "factory":
        source = _factory_source(model, resolution, weights, seed, request)
    elif request.shapes or request.channels is not None:
        raise RequestError(
            f"{model} takes an image of its own kind",
            hint="leave out --input-shape and --channels; --resolution sets its size",
        )
    elif kind == "zoo":
        source = _zoo_source(model, resolution, weights, seed, card.classes)
    else:
        source = _registered_source(model, resolution, weights, seed, card.classes)
    return with_card(replace(source, exporter=request.exporter), card)


def with_card(source: Source, card: ModelCard) -> Source:
    """``source`` with what the user says of it.

    Raises:
        RequestError: the user says another task than the model has, or how pictures become an input that is none.
    """
    if None not in (card.task, source.task) and card.task != source.task:
        raise RequestError(f"{source.name} is for {source.task}, not for {card.task}", hint="leave out --task")
    if card.knows_pixels and source.channels != 3:
        raise RequestError(
            f"{source.name} takes {source.channels} channels, a picture has 3", hint="leave out --mean, --std, --scale"
        )
    task = card.task or source.task
    return replace(
        source,
        task=task,
        preprocessing=card.preprocessing(source.preprocessing, task),
        labels=card.labels or source.labels,
    )


def _registered_source(
    model: str, resolution: Resolution | None, weights: Path | None, seed: int, classes: int | None
) -> Source:
    spec = find_model(model)
    weights = weights or (spec.trained.weights if spec.trained is not None else None)
    resolution = resolution or spec.resolution
    resolution.check_multiple_of(spec.divisor)
    import torch

    from evit_mobile.models.efficientvit import initialise
    from evit_mobile.models.seeding import settle_batch_norms

    if weights is not None:
        classes = classes or _classes_of(weights, spec.class_layers)
    module = spec.build(resolution, classes)
    initialise(module, seed)
    if weights is None:
        # Else the sum of the residual branches grows until what an attention adds, and any fault in it, drowns in
        # rounding.
        settle_batch_norms(module, torch.Generator().manual_seed(seed + 1), SETTLING_RESOLUTION)
    _finish(module, weights)
    return Source(
        spec.name,
        module,
        None,
        resolution,
        spec.outputs,
        spec.preprocessing,
        spec.task,
        weights is None,
        spec.channels,
        channels_last=spec.task in ("detection", "segmentation"),
    )


def _classes_of(weights: Path, layers: Sequence[str], rename: Rename | None = None) -> int | None:
    from evit_mobile.weights import classes_in, read_checkpoint

    if not layers:
        return None
    tensors = read_checkpoint(weights)
    return classes_in(rename(tensors) if rename is not None else tensors, layers)


def _zoo_source(
    model: str, resolution: Resolution | None, weights: Path | None, seed: int, classes: int | None
) -> Source:
    if weights is not None:
        classes = classes or _classes_of(weights, zoo.class_layers(model), released.to_timm)
    zoo_model = zoo.load_zoo_model(model, resolution, seed, classes)
    _finish(zoo_model.module, weights, released.to_timm)
    seeded = weights is None and not zoo_model.pretrained
    return Source(
        model,
        zoo_model.module,
        None,
        zoo_model.resolution,
        ("logits",),
        zoo_model.preprocessing,
        zoo_model.task,
        seeded,
        labels=zoo_model.labels,
    )


def _factory_source(
    model: str, resolution: Resolution | None, weights: Path | None, seed: int, request: InputRequest
) -> Source:
    import torch
    from torch import nn

    if request.shapes and (resolution is not None or request.channels is not None):
        raise RequestError("--input-shape says the whole shape", hint="leave out --resolution and --channels")
    factory = import_named(model, "factory")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = factory()
        except (Exception, SystemExit) as error:  # the factory is the user's code, and raises what it likes
            raise RequestError(f"{model} failed: {user_line(error)}") from error
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else repr(type(module).__name__)
        raise RequestError(f"{model} returned {what}, expected a torch.nn.Module")
    _check_usable(module, model)
    module.cpu().float()
    _finish(module, weights)
    size = None if request.shapes else resolution or DEFAULT_RESOLUTION
    return Source(model, module, None, size, (), None, None, False, request.channels or 3, request.shapes)


def _check_usable(module: nn.Module, name: str) -> None:
    """It is a module of Python, and every weight has a value.

    Raises:
        RequestError: it was compiled to TorchScript, or a weight is on PyTorch's meta device.
    """
    check_python(module, name)
    for key, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_meta:
            raise RequestError(
                f"{name} has no values for {key}: it is on the meta device",
                hint="build the module on the CPU, or fill it by to_empty and load_state_dict",
            )


def _onnx_source(model: str, resolution: Resolution | None, weights: Path | None, request: InputRequest) -> Source:
    path = Path(model)
    if not path.is_file():
        raise RequestError(f"{model} does not exist")
    if resolution is not None or weights is not None or request.channels is not None:
        hint = "leave out --resolution, --channels and --weights; --input-shape fixes sizes that are free"
        raise RequestError("an ONNX file has its shapes and weights in it", hint=hint)
    return Source(model, None, path, None, (), None, None, False, shapes=request.shapes)


def _finish(module: nn.Module, weights: Path | None, rename: Rename | None = None) -> None:
    from evit_mobile.weights import load_weights

    if weights is not None:
        load_weights(module, weights, rename)
    module.eval().requires_grad_(False)
