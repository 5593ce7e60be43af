"""The list of models: one decorator registers one, and commands and tests find it here.

This module is light: a model's builder imports torch when it is called.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution

if TYPE_CHECKING:
    from torch import nn

Builder = Callable[[], "nn.Module"]


@dataclass(frozen=True)
class PaperFigures:
    """What the paper states of a model: millions of parameters, millions of multiply-accumulates, ImageNet top-1 in percent."""

    params_m: float
    macs_m: float
    source: str
    top1: float | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A registered model.

    Attributes:
        task: ``classification``; tells which outputs to expect.
        resolution: the input size it is meant for; any other that divides by ``divisor`` works too.
        outputs: names of the outputs, in the order that the module returns them.
        build: makes the module with PyTorch's own initialisation, in training mode.
    """

    name: str
    task: str
    resolution: Resolution
    build: Builder
    outputs: tuple[str, ...]
    paper: PaperFigures | None = None
    divisor: int = 32
    preprocessing: Preprocessing = Preprocessing()


_MODELS: dict[str, ModelSpec] = {}


def register_model(
    name: str, *, task: str, resolution: int | tuple[int, int], outputs: tuple[str, ...], paper: PaperFigures | None = None
) -> Callable[[Builder], Builder]:
    """Register the decorated builder under ``name``. ``resolution`` is a side, or (height, width), in pixels."""
    height, width = resolution if isinstance(resolution, tuple) else (resolution, resolution)

    def add(build: Builder) -> Builder:
        if name in _MODELS:
            raise ValueError(f"two models are called {name}")
        _MODELS[name] = ModelSpec(name, task, Resolution(height, width), build, outputs, paper)
        return build

    return add


def all_models() -> list[ModelSpec]:
    """Every registered model, in order of registration."""
    return list(_MODELS.values())


def find_model(name: str) -> ModelSpec:
    """The model called ``name``.

    Raises:
        RequestError: there is none; the nearest names are suggested.
    """
    if name in _MODELS:
        return _MODELS[name]
    near = difflib.get_close_matches(name, _MODELS, n=3, cutoff=0.5)
    known = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_MODELS)}"
    raise RequestError(f"no model is called {name!r}", hint=f"{known} Also taken: package.module:factory, or FILE.onnx")
