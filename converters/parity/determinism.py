"""Whether a network is a function of its input: the same input gives the same output, and a call leaves nothing behind.

A network that counts its calls, or draws random numbers, has no .tflite that computes the same: the exporters write
down one of its calls, and a comparison with another call tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.onnx_session import Run
from converters.source.outputs import flatten_outputs
from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

Outputs = dict[str, NDArray[np.generic]]
#: Relative to the largest value: two calls may add in another order where threads share the work, and no more.
_SAME = 1e-5
#: Calls of a graph after the first: ONNX Runtime's first two draw the same numbers, since it counts up from the seed 0,
#: which its generator takes for 1.
_CALLS = 2


def run_repeatable(
    module: nn.Module,
    inputs: Sequence[NDArray[np.generic]],
    names: tuple[str, ...],
    what: str,
    *,
    again: bool = True,
) -> Outputs:
    """The outputs of ``module``, by name, which two calls on the same input agree on.

    Args:
        module: in evaluation mode.
        inputs: in the order of its arguments, in PyTorch's layout.
        names: of its outputs; empty: its own.
        what: the network's name, for messages.
        again: make the second call. Without it, only a call that changes a buffer or draws random numbers is found.

    Raises:
        RequestError: it is not a function of its input; the message says what it does.
    """
    import torch

    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    generator = torch.get_rng_state()
    first = _run(module, inputs, names)
    changed = [name for name, buffer in module.named_buffers() if name in buffers and _differ(buffers[name], buffer)]
    if changed:
        raise _refusal(what, f"{'buffer' if len(changed) == 1 else 'buffers'} {', '.join(changed)} {_changes(changed)}")
    if not torch.equal(generator, torch.get_rng_state()):
        raise _refusal(what, "it draws random numbers")
    second = _run(module, inputs, names) if again else first
    for name, value in first.items():
        if value.shape != second[name].shape or not _same(value, second[name]):
            raise _refusal(what, f"output {name} differs between two calls")
    return first


def check_repeats(run: Run, inputs: Mapping[str, Array], outputs: Mapping[str, Array], what: str) -> None:
    """A graph gives ``outputs`` again. One that draws random numbers seems to have a large rounding of its own, which
    would excuse any file.

    Args:
        run: the graph.
        inputs: by name.
        outputs: what an earlier call gave for them.
        what: the network's name, for messages.

    Raises:
        RequestError: it gives others.
    """
    for _ in range(_CALLS):
        for name, value in run(inputs).items():
            if not _same(outputs[name], value):
                raise _refusal(what, f"output {name} differs between two calls")


def _changes(names: list[str]) -> str:
    return "changes" if len(names) == 1 else "change"


def _refusal(what: str, reason: str) -> RequestError:
    return RequestError(
        f"{what} is not a function of its input: {reason}",
        hint="a .tflite computes the same for the same input; take what changes from call to call as an input",
    )


def _run(module: nn.Module, inputs: Sequence[NDArray[np.generic]], names: tuple[str, ...]) -> Outputs:
    import torch

    with torch.no_grad():
        outputs = flatten_outputs(module(*(torch.from_numpy(value.copy()) for value in inputs)), names)
    # Copies: a network may return its own buffer and write to it in the next call.
    return {name: value.numpy().copy() for name, value in outputs.items()}


def _differ(before: Tensor, after: Tensor) -> bool:
    import torch

    return before.shape != after.shape or not torch.equal(torch.nan_to_num(before), torch.nan_to_num(after))


def _same(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    finite = np.abs(first[np.isfinite(first)])
    tolerance = _SAME * float(finite.max(initial=0))
    return bool(np.allclose(first, second, rtol=0, atol=tolerance, equal_nan=True))
