"""The list of models. A decorator registers a model; commands and tests find it here.

This module is light: a model's builder imports torch when it is called.
"""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping

from evit_mobile.errors import RequestError
from evit_mobile.specs import VARIANT, ModelName, Preprocessing, Resolution

if TYPE_CHECKING:
    from torch import nn

#: From the resolution that is asked for and the variants to a module.
Builder = Callable[[Resolution, frozenset[str]], "nn.Module"]


@dataclass(frozen=True)
class PaperFigures:
    """The paper's figures for a model: millions of parameters, millions of multiply-accumulates, ImageNet top-1 in
    percent.
    """

    params_m: float
    macs_m: float
    source: str
    top1: float | None = None


@dataclass(frozen=True)
class Trained:
    """Weights that come with the package, and the names of the classes that they tell apart."""

    weights: Path
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A registered model, or a variant of one.

    Attributes:
        name: ``NAME``, or ``NAME+variant+variant``.
        task: ``classification``, ``detection``, ``segmentation`` or ``attention``; determines which outputs to expect.
        resolution: the input size it is meant for; any other that divides by ``divisor`` works too.
        outputs: names of the outputs, in the order that the module returns them.
        builder: makes the module with PyTorch's own initialisation, in training mode.
        variants: what can follow the name, with the outputs that it gives if they differ.
        chosen: the variants in this spec's own name.
        channels: of the input; 3 is an RGB image.
        trained: bundled weights, used unless others are given; None for a model that has none.
        class_layers: linear layers or convolutions with an output a class; empty where their number is fixed.
    """

    name: str
    task: str
    resolution: Resolution
    builder: Builder
    outputs: tuple[str, ...]
    paper: PaperFigures | None = None
    divisor: int = 32
    preprocessing: Preprocessing = Preprocessing()
    variants: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    channels: int = 3
    trained: Trained | None = None
    class_layers: tuple[str, ...] = ()

    def build(self, resolution: Resolution | None = None, classes: int | None = None) -> nn.Module:
        """The module, for an input of ``resolution`` (only a few models depend on it), with another number of
        ``classes`` than its own where one is given.

        Raises:
            RequestError: the number of its classes is fixed.
        """
        module = self.builder(resolution or self.resolution, self.chosen)
        if classes is not None:
            if not self.class_layers:
                raise RequestError(f"{self.name} has a fixed number of classes", hint="leave out --classes")
            _set_classes(module, self.class_layers, classes)
        return module


def _set_classes(module: nn.Module, layers: tuple[str, ...], classes: int) -> None:
    from torch import nn

    for name in layers:
        layer = module.get_submodule(name)
        new: nn.Module
        if isinstance(layer, nn.Linear):
            new = nn.Linear(layer.in_features, classes)
        else:
            assert isinstance(layer, nn.Conv2d)
            new = nn.Conv2d(layer.in_channels, classes, 1)
        module.set_submodule(name, new)


_MODELS: dict[str, ModelSpec] = {}


def register_model(
    name: str,
    *,
    task: str,
    resolution: int | tuple[int, int],
    outputs: tuple[str, ...],
    paper: PaperFigures | None = None,
    variants: Mapping[str, tuple[str, ...] | None] | None = None,
    divisor: int = 32,
    channels: int = 3,
    preprocessing: Preprocessing = Preprocessing(),
    trained: Trained | None = None,
    class_layers: tuple[str, ...] = (),
) -> Callable[[Builder], Builder]:
    """Register the decorated builder under ``name``. ``resolution`` is a side, or (height, width), in pixels; see
    ``ModelSpec``.
    """
    height, width = resolution if isinstance(resolution, tuple) else (resolution, resolution)

    def add(builder: Builder) -> Builder:
        if name in _MODELS:
            raise ValueError(f"there are two models named {name}")
        _MODELS[name] = ModelSpec(
            name,
            task,
            Resolution(height, width),
            builder,
            outputs,
            paper,
            divisor,
            preprocessing,
            dict(variants or {}),
            channels=channels,
            trained=trained,
            class_layers=class_layers,
        )
        return builder

    return add


def with_variants(model: str, variants: list[str]) -> str:
    """The name of these variants of ``model``. ``find_model`` checks whether they exist.

    Raises:
        RequestError: ``model`` is an ONNX file or a factory, which has no variants.
    """
    if variants and not ModelName.parse(model).is_counted:
        raise RequestError(
            f"{model} has no variant {variants[0]!r}",
            hint=f"--{variants[0]} is for the models that evit-mobile models lists",
        )
    return VARIANT.join([model, *variants])


def check_name(model: str) -> None:
    """Refuse a name that does not exist, before anything heavy is imported.

    Raises:
        RequestError: there is no such registered model or ONNX file, or timm is not installed. Whether timm knows a
            name, and whether a factory exists, only their own code can say.
    """
    name = ModelName.parse(model)
    if name.kind == "registered":
        find_model(model)
    elif name.kind == "onnx" and not Path(model).is_file():
        raise RequestError(f"{model} does not exist")
    elif name.kind == "zoo" and importlib.util.find_spec("timm") is None:
        raise RequestError(f"{model} needs timm, which is not installed", hint="pip install 'evit-mobile[timm]'")


def all_models() -> list[ModelSpec]:
    """Every registered model, in order of registration, without variants."""
    return list(_MODELS.values())


def trained_of(name: str) -> Trained | None:
    """The bundled weights of the model called ``name``; None for any other name, whether it exists or not."""
    spec = _MODELS.get(name)
    return spec.trained if spec is not None else None


def find_model(name: str) -> ModelSpec:
    """The model called ``name``, which may end in variants: ``base-r224+softmax``.

    Raises:
        RequestError: there is no such model, and the nearest names are suggested; or it has no such variant.
    """
    base, *chosen = name.split(VARIANT)
    if base not in _MODELS:
        near = difflib.get_close_matches(base, _MODELS, n=3, cutoff=0.5)
        known = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_MODELS)}"
        raise RequestError(
            f"there is no model {base!r}", hint=f"{known} Other forms: timm:NAME, package.module:factory, FILE.onnx"
        )
    spec = _MODELS[base]
    outputs = spec.outputs
    for variant in chosen:
        if variant not in spec.variants:
            known = ", ".join(base + VARIANT + other for other in spec.variants) or "none"
            raise RequestError(f"{base} has no variant {variant!r}", hint=f"its variants: {known}")
        outputs = spec.variants[variant] or outputs
    if not chosen:
        return spec
    # One name for one thing, in whatever order the variants were given.
    ordered = [variant for variant in spec.variants if variant in chosen]
    return replace(
        spec, name=VARIANT.join([base, *ordered]), outputs=outputs, paper=None, variants={}, chosen=frozenset(chosen)
    )
