"""Image models from timm: ``timm:NAME``, ``timm:NAME.TAG`` and, with timm's trained weights, ``timm:NAME+pretrained``.

Without a download there are no trained weights. Weights then come from a seed, chosen so that a wrong conversion shows:
no layer scale is near zero, no normalisation is neutral, and activations keep their scale through any depth. See
``initialise``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evit_mobile.card import checked_labels
from evit_mobile.errors import RequestError, first_line
from evit_mobile.models.labels import IMAGENET_CLASSES
from evit_mobile.specs import PRETRAINED, VARIANT, ZOO_PREFIX, Interpolation, ModelName, Preprocessing, Resolution

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ZooModel:
    """A timm model in evaluation mode, and its input as timm's data configuration describes it."""

    module: nn.Module
    resolution: Resolution
    preprocessing: Preprocessing
    task: str | None
    pretrained: bool
    labels: tuple[str, ...] | None


def load_zoo_model(
    name: str, resolution: Resolution | None = None, seed: int = 0, classes: int | None = None
) -> ZooModel:
    """The timm model ``name`` (with the ``timm:`` before it), at its own resolution and with its own number of
    ``classes`` unless others are asked for.

    Raises:
        RequestError: timm is not installed, has no such model, cannot build it at this resolution, or cannot get its
            weights.
    """
    timm = _timm(name)
    parsed = ModelName.parse(name)
    architecture, pretrained = parsed.architecture, parsed.pretrained
    config = _config(timm, architecture)
    own = Resolution(*config.input_size[1:])
    # Models with position tables of a fixed size (vision transformers) are built for a resolution; the others take any.
    sized = config.fixed_input_size and resolution not in (None, own)
    arguments: dict[str, Any] = {"img_size": (resolution.height, resolution.width)} if sized and resolution else {}
    if classes is not None and classes != config.num_classes:
        if pretrained:
            raise RequestError(
                f"{name} has weights for {config.num_classes} classes, not for {classes}",
                hint="leave out --pretrained, and give the trained weights by --weights FILE",
            )
        arguments["num_classes"] = classes
    # exportable: plain operators instead of fused attention and of padding that is computed at run time.
    with timm.layers.set_layer_config(exportable=True):
        module = _create(timm, architecture, pretrained, seed, arguments)
        if not pretrained:
            initialise(module, seed, resolution or own if config.fixed_input_size else own)
    labels = _labels(timm, config) if "num_classes" not in arguments else None
    # The other ones of timm's give features, a CLIP encoder's among them.
    classifies = "num_classes" in arguments or labels is not None or config.num_classes == IMAGENET_CLASSES
    task = "classification" if classifies else None
    return ZooModel(module.eval(), resolution or own, _preprocessing(config), task, pretrained, labels)


def class_layers(name: str) -> tuple[str, ...]:
    """The layers of the timm model ``name`` that have an output a class.

    Raises:
        RequestError: see ``load_zoo_model``.
    """
    classifier = _config(_timm(name), ModelName.parse(name).architecture).classifier
    return (classifier,) if isinstance(classifier, str) else tuple(classifier or ())


def _labels(timm: Any, config: Any) -> tuple[str, ...] | None:
    """The names that timm has for the classes of a model that was trained for a larger ImageNet; None for any other."""
    subset = timm.data.infer_imagenet_subset(config.to_dict()) if config.num_classes != IMAGENET_CLASSES else None
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    return tuple(checked_labels(info.label_descriptions(), f"timm's names of {subset}"))


def build_shapes(name: str, resolution: Resolution) -> nn.Module:
    """The timm model ``name`` on the meta device: shapes and no values, for counting.

    Raises:
        RequestError: see ``load_zoo_model``.
    """
    import torch

    timm = _timm(name)
    architecture = ModelName.parse(name).architecture
    config = _config(timm, architecture)
    arguments = {"img_size": (resolution.height, resolution.width)} if config.fixed_input_size else {}
    with torch.device("meta"):
        return _create(timm, architecture, False, 0, arguments)


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise RequestError(
            f"{name} needs timm, which is not installed", hint="pip install 'evit-mobile[timm]'"
        ) from error
    return timm


def _config(timm: Any, name: str) -> Any:
    """timm's pretrained configuration of ``name``."""
    if VARIANT in name:
        raise RequestError(
            f"{ZOO_PREFIX}{name} has a variant that timm models do not have", hint=f"the only one is {PRETRAINED}"
        )
    if not name or not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.6)
        hint = (
            f"did you mean {' or '.join(ZOO_PREFIX + other for other in near)}?"
            if near
            else "timm.list_models() lists the names"
        )
        raise RequestError(f"timm {timm.__version__} has no model {name!r}", hint=hint)
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(other.partition(".")[2] for other in timm.list_pretrained(f"{name.partition('.')[0]}.*"))
        raise RequestError(
            f"timm {timm.__version__} has no {name!r}: {first_line(error)}", hint=f"tags of this model: {tags}"
        ) from error
    if config is None or config.input_size[0] != 3:
        raise RequestError(f"{ZOO_PREFIX}{name} is not a model of RGB images, by timm's own description")
    return config


def _create(timm: Any, name: str, pretrained: bool, seed: int, arguments: dict[str, Any]) -> nn.Module:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module: nn.Module = timm.create_model(name, pretrained=pretrained, exportable=True, **arguments)
        except Exception as error:  # timm and the hub's client raise anything from AssertionError to ConnectionError
            if pretrained:
                hint = "this needs the network; without it, download the file elsewhere and pass it as --weights FILE"
                raise RequestError(
                    f"timm could not get the weights of {name}: {first_line(error)}", hint=hint
                ) from error
            size = arguments.get("img_size")
            at = f" at {size[0]}x{size[1]}" if size else ""
            raise RequestError(f"timm could not build {name}{at}: {first_line(error)}") from error
    return module


def _preprocessing(config: Any) -> Preprocessing:
    """timm's evaluation transform: resize to the size over ``crop_pct``, centre crop, normalise."""
    interpolation: Interpolation = "bilinear" if config.interpolation == "bilinear" else "bicubic"
    mean, std = (tuple(float(value) for value in values) for values in (config.mean, config.std))
    return Preprocessing((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), float(config.crop_pct), interpolation)


def initialise(module: nn.Module, seed: int, resolution: Resolution) -> None:
    """Fill ``module`` from ``seed``: He initialisation, normalisations away from neutral, everything else nudged by
    N(0, 0.1).

    A layer scale of 1e-6 or a table of zeros would hide faults in what it is multiplied with. See also
    ``seeding.settle_batch_norms``.
    """
    import torch

    from evit_mobile.models.efficientvit import initialise as initialise_layers
    from evit_mobile.models.seeding import settle_batch_norms

    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    initialise_layers(module, seed)
    settle_batch_norms(module, generator, resolution)
