"""What a module returns, as named tensors in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from evit_mobile.errors import RequestError
from evit_mobile.text import visible

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn


def constant_output(output: str, network: str) -> RequestError:
    """The refusal of an output that no input reaches: LiteRT has no data for a tensor that no op writes."""
    hint = "leave it out of what the model returns; an app can hold its value"
    return RequestError(f"output {visible(output)} of {network} is a constant", hint=hint)


def flatten_outputs(value: object, names: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Output tensors by name, from a tensor or any nesting of sequences, named tuples and mappings.

    A single tensor is ``output``, the items of a sequence ``output_0``, ``output_1``, …, those of a mapping or a named
    tuple have their own names; what lies deeper has its container's name in front (``output_1_boxes``). Places that
    hold None are left out.

    Args:
        value: what a module returned.
        names: names to give instead, in order; empty to derive them.

    Raises:
        TypeError: there is something else among them or a complex tensor, two have the same name, there is none, or
            their number is not that of ``names``.
    """
    flat: dict[str, Tensor] = {}
    for name, tensor in _leaves("", value):
        if name in flat:
            raise TypeError(f"the model returns two outputs called {name}")
        flat[name] = tensor
    if not flat:
        raise TypeError("the model returns no tensor")
    if names:
        if len(names) != len(flat):
            raise TypeError(f"the model returns {len(flat)} outputs, expected {', '.join(names)}")
        flat = dict(zip(names, flat.values()))
    return flat


def _leaves(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    from torch import Tensor

    if value is None:
        return
    if isinstance(value, Tensor):
        if value.is_complex():
            raise TypeError(f"{name or 'output'} is complex, which an output of a .tflite cannot be")
        yield name or "output", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}_{key}" if name else str(key), item)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from _leaves(name, dict(zip(value._fields, value)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(f"{name or 'output'}_{index}", item)
    elif name:
        raise TypeError(f"output {name} is a {type(value).__name__}, expected a tensor")
    else:
        raise TypeError(f"the model returns a {type(value).__name__}, expected tensors")


def flat_module(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """``module`` with its outputs in a flat tuple, in the order of ``flatten_outputs``."""
    from torch import nn

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
            return tuple(flatten_outputs(self.model(*inputs), names).values())

    return Flat().eval()


def run_once(module: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, ...], what: str) -> dict[str, Tensor]:
    """The outputs of ``module`` for ``inputs``, by name.

    Raises:
        RequestError: the module's own code failed; the message has its line.
    """
    import torch

    from converters.source.blame import user_line

    try:
        with torch.no_grad():
            return flatten_outputs(module(*inputs), names)
    except (Exception, SystemExit) as error:  # the module is the user's code, and raises what it likes
        shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
        raise RequestError(f"{what} cannot run on an input of {shapes}: {user_line(error)}") from error


def set_shape(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    """Give an input or output of a graph a fixed shape."""
    kind = value.type.tensor_type
    kind.ClearField("shape")
    kind.shape.SetInParent()
    for size in shape:
        kind.shape.dim.add().dim_value = size
