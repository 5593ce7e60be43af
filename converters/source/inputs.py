"""What a user says of a network's inputs, and which exporter is to read it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from converters.source.torch_export import Exporter
from evit_mobile.errors import RequestError
from evit_mobile.specs import MAX_INPUT_ELEMENTS

if TYPE_CHECKING:
    from torch import Tensor, nn

_AS_FLOAT = "call its float(); a network of integers can come as an ONNX file"


@dataclass(frozen=True)
class InputRequest:
    """Shapes by input name, in the order of the network's arguments; channels of the one image, where no shapes are
    given.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    channels: int | None = None
    exporter: Exporter = Exporter.AUTO


def check_python(module: nn.Module, name: str) -> None:
    """``module`` has code in Python, whose arguments have names and which both exporters can follow.

    Raises:
        RequestError: it was compiled to TorchScript.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise RequestError(f"{name} is a TorchScript module", hint="give the nn.Module that it was made from")


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Read ``name:1x3x224x224``, one text an input.

    Raises:
        RequestError: a text is not of that form, a size is out of range, or a name comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition(":")
        if not name or re.fullmatch(r"\d{1,9}(x\d{1,9}){0,7}", sizes) is None:
            raise RequestError(
                f"input shape {text!r} cannot be read", hint="write NAME:SIZExSIZE…, e.g. image:1x3x224x224"
            )
        shape = tuple(int(size) for size in sizes.split("x"))
        elements = math.prod(shape)
        if not 1 <= elements <= MAX_INPUT_ELEMENTS:
            raise RequestError(f"input shape {text} has {elements} elements", hint=f"from 1 to {MAX_INPUT_ELEMENTS}")
        if name in shapes:
            raise RequestError(f"input {name} is given two shapes")
        shapes[name] = shape
    return shapes


def example_request(
    module: nn.Module, examples: Tensor | Sequence[Tensor] | Mapping[str, Tensor], request: InputRequest
) -> InputRequest:
    """``request`` with the shapes of example inputs, named as the arguments of the module's ``forward``.

    Raises:
        RequestError: they are not float32 tensors, or not as many as ``forward`` takes.
    """
    import inspect

    from torch import Tensor, float32

    check_python(module, type(module).__name__)
    parameters = list(inspect.signature(module.forward).parameters.values())
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    names = [item.name for item in positional]
    if isinstance(examples, Tensor):
        examples = [examples]
    if isinstance(examples, Mapping):
        if list(examples) != names[: len(examples)]:
            raise RequestError(f"the example inputs are {', '.join(examples)}, forward takes {', '.join(names)}")
        examples = list(examples.values())
    required = sum(item.default is item.empty for item in positional)
    variadic = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    if not required <= len(examples) <= (len(examples) if variadic else len(names)):
        raise RequestError(f"there are {len(examples)} example inputs, forward takes {', '.join(names)}")
    names += [f"input_{number}" for number in range(len(names), len(examples))]
    for name, example in zip(names, examples):
        if not isinstance(example, Tensor) or example.dtype != float32:
            what = str(example.dtype) if isinstance(example, Tensor) else type(example).__name__
            raise RequestError(f"the example input {name} is {what}, expected a float32 tensor", hint=_AS_FLOAT)
    return replace(request, shapes={name: tuple(example.shape) for name, example in zip(names, examples)})
