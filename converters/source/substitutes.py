"""PyTorch functions that its exporters write wrongly, or not at all, in terms of others.

Both exporters drop ``divisor_override`` and ``antialias``, and ONNX Runtime counts the padding of a pool with
``ceil_mode`` otherwise than PyTorch. The TorchScript one refuses adaptive pools whose sizes do not divide and
``mode="nearest-exact"``, for which the other one writes an op for each window. What is linear along an axis becomes a
constant matrix, which PyTorch itself computes.

To add a substitute: one function under ``@_for(FUNCTION)`` with the arguments of what it stands for. It returns None
where the exporters are right. A test compares each with the function itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_Sizes = int | Sequence[int | None]
_Substitute = Callable[..., Tensor | None]
_SUBSTITUTES: dict[Callable[..., Any], _Substitute] = {}


class Substitutes(TorchFunctionMode):
    """While it is entered, those functions compute the same by operators that both exporters write."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        substitute = _SUBSTITUTES.get(func)
        value = None if substitute is None else substitute(*args, **kwargs)
        return func(*args, **kwargs) if value is None else value


def _for(function: Callable[..., Any]) -> Callable[[_Substitute], _Substitute]:
    def register(substitute: _Substitute) -> _Substitute:
        _SUBSTITUTES[function] = substitute
        return substitute

    return register


def _average_pool(function: Callable[..., Any], axes: int) -> None:
    """Averages of a zero-padded map times the window's size, over what PyTorch divides by."""

    @_for(function)
    def pool(
        input: Tensor,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor | None:
        if divisor_override is None and not (ceil_mode and count_include_pad):
            return None
        kernel, padded = _each(kernel_size, axes), _each(padding, axes)
        steps = _each(stride, axes) if stride else kernel
        sizes = _sizes(input)[-axes:]
        # Past the end of the map: what the last window covers.
        after = [_covered(*axis, ceil_mode) for axis in zip(sizes, kernel, steps, padded)]
        total: Tensor = function(_padded(input, padded, after), kernel, steps) * math.prod(kernel)
        if divisor_override is not None:
            return total / divisor_override
        # Padding counts; what only ceil_mode adds to a window does not.
        beyond = [max(0, covered - border) for covered, border in zip(after, padded)]

        def counts() -> Tensor:
            counted = torch.ones(1, 1, *(size + 2 * border for size, border in zip(sizes, padded)))
            means: Tensor = function(_padded(counted, [0] * axes, beyond), kernel, steps)
            return means * math.prod(kernel)

        return total / _constant(counts)


_average_pool(F.avg_pool1d, 1)
_average_pool(F.avg_pool2d, 2)
_average_pool(F.avg_pool3d, 3)


def _covered(size: int, kernel: int, step: int, border: int, ceil_mode: bool) -> int:
    """Places past the end of an axis that its last window covers."""
    rest = size + 2 * border - kernel
    windows = (-(-rest // step) if ceil_mode else rest // step) + 1
    if ceil_mode and (windows - 1) * step >= size + border:  # it would begin past the map
        windows -= 1
    return max(0, (windows - 1) * step + kernel - border - size)


def _padded(value: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    return F.pad(value, [size for border in zip(reversed(before), reversed(after)) for size in border])


@_for(F.adaptive_avg_pool1d)
def _adaptive_average_1d(input: Tensor, output_size: _Sizes) -> Tensor | None:
    return _adaptive_average(input, output_size, 1)


@_for(F.adaptive_avg_pool2d)
def _adaptive_average_2d(input: Tensor, output_size: _Sizes) -> Tensor | None:
    return _adaptive_average(input, output_size, 2)


def _adaptive_average(value: Tensor, output_size: _Sizes, axes: int) -> Tensor | None:
    sizes = _uneven_sizes(value, output_size, axes)
    return None if sizes is None else _through(value, axes, lambda unit, axis: F.adaptive_avg_pool1d(unit, sizes[axis]))


@_for(F.adaptive_max_pool1d)
def _adaptive_max_1d(input: Tensor, output_size: _Sizes, return_indices: bool = False) -> Tensor | None:
    return None if return_indices else _adaptive_max(input, output_size, 1)


@_for(F.adaptive_max_pool2d)
def _adaptive_max_2d(input: Tensor, output_size: _Sizes, return_indices: bool = False) -> Tensor | None:
    return None if return_indices else _adaptive_max(input, output_size, 2)


def _adaptive_max(value: Tensor, output_size: _Sizes, axes: int) -> Tensor | None:
    """The largest value of each row of windows, then of each column."""
    sizes = _uneven_sizes(value, output_size, axes)
    if sizes is None:
        return None
    for axis, after in zip(range(-axes, 0), sizes):
        before = _sizes(value)[axis]
        windows = [(place * before // after, -(-(place + 1) * before // after)) for place in range(after)]
        value = torch.cat([value.narrow(axis, low, high - low).amax(axis, True) for low, high in windows], axis)
    return value


def _uneven_sizes(value: Tensor, output_size: _Sizes, axes: int) -> list[int] | None:
    """Of the last axes after an adaptive pool; None where each divides the one before: the exporters write that."""
    asked = [output_size] * axes if isinstance(output_size, int) else list(output_size) * (axes // len(output_size))
    before = _sizes(value)[-axes:]
    after = [size if size is not None else old for old, size in zip(before, asked)]
    return None if all(old % new == 0 for old, new in zip(before, after)) else after


@_for(F.interpolate)
def _interpolate(
    input: Tensor,
    size: _Sizes | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor | None:
    if mode not in ("nearest-exact", "area") and not antialias or input.dim() > 4:
        return None

    def along(unit: Tensor, axis: int) -> Tensor:
        """``unit`` [1, n, n], resized in its last axis as ``axis`` of the map is."""
        factor = scale_factor if scale_factor is None or isinstance(scale_factor, int | float) else scale_factor[axis]
        extent = size if size is None or isinstance(size, int) else size[axis]
        if not antialias:
            return F.interpolate(unit, extent, factor, mode, None, recompute_scale_factor)
        # These have no form in one dimension. A row beside it stays as it is.
        sides = None if extent is None else (unit.shape[1], extent)
        factors = None if factor is None else (1.0, factor)
        return F.interpolate(unit[None], sides, factors, mode, align_corners, recompute_scale_factor, True)[0]

    return _through(input, input.dim() - 2, along)


@_for(torch.hypot)
def _hypot(input: Tensor, other: Tensor) -> Tensor:
    return (input * input + other * other).sqrt()


@_for(torch.copysign)
def _copysign(input: Tensor, other: Tensor | float) -> Tensor | None:
    if not isinstance(other, Tensor):
        return input.abs() if math.copysign(1, other) > 0 else -input.abs()
    # A zero is taken as positive: no op of either exporter reads its sign.
    return torch.where(other < 0, -input.abs(), input.abs())


@_for(torch.isinf)
def _isinf(input: Tensor) -> Tensor:
    return input.abs() == math.inf


@_for(torch.isfinite)
def _isfinite(input: Tensor) -> Tensor:
    return input.abs() < math.inf


@_for(torch.nan_to_num)
def _nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    limits = torch.finfo(input.dtype)
    low, high = limits.min if neginf is None else neginf, limits.max if posinf is None else posinf
    number = torch.where(input == math.inf, high, torch.where(input == -math.inf, low, input))
    return torch.where(input != input, nan or 0.0, number)


def _through(value: Tensor, axes: int, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A map after a linear function along each of its last axes: ``function`` gives it for the unit vectors [1, n, n],
    and the number of the axis among them.
    """
    for axis in range(axes):
        units = _sizes(value)[axis - axes]
        value = _times(value, _constant(lambda: function(torch.eye(units)[None], axis)[0]), axis - axes)
    return value


def _times(value: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A map whose places along ``axis`` are weighted by the columns of ``matrix`` [places before, places after]."""
    return (value.transpose(axis, -1) @ matrix.to(value.dtype)).transpose(axis, -1)


def _constant(compute: Callable[[], Tensor]) -> Tensor:
    """``compute()`` in a thread of its own, which no exporter watches: the graph has the value alone."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(compute).result()


def _sizes(value: Tensor) -> list[int]:
    """Of each axis; tensors while the TorchScript exporter traces, and numbers here."""
    return [int(size) for size in value.shape]


def _each(size: _Sizes, axes: int) -> list[int]:
    values = [size] if isinstance(size, int) else [value for value in size if value is not None]
    return values * (axes // len(values))
