"""The order of axes in a .tflite and in the graph that it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.runtimes.session import TensorInfo
from evit_mobile.specs import OutputLayout


def to_file(value: Array, shape: tuple[int, ...]) -> Array:
    """An input as a file with an input of ``shape`` takes it: images [N, C, H, W] -> [N, H, W, C], others as they are
    where they fit; a number is one place.
    """
    if value.ndim == 0:
        return value.reshape(shape)
    if value.ndim > 2:
        moved = np.moveaxis(value, 1, -1)
        if moved.shape == shape and (value.ndim == 4 or value.shape != shape):
            return np.ascontiguousarray(moved)
    return value


def in_file_order(infos: Sequence[TensorInfo], inputs: Mapping[str, Array]) -> list[Array]:
    """The ``inputs`` of a graph, by name, in the order of a file's; a file that has other names has the graph's
    order.
    """
    names = [info.name for info in infos]
    return [inputs[name] for name in names] if inputs.keys() == set(names) else list(inputs.values())


def arrays_for(infos: Sequence[TensorInfo], inputs: Mapping[str, Array]) -> list[Array]:
    """What a file is fed: an array for each of its inputs, in their order, layout and type.

    Args:
        infos: the file's inputs, in order.
        inputs: as many arrays in the graph's layout, by the graph's names.
    """
    values = in_file_order(infos, inputs)
    return [info.quantise(to_file(value, info.shape)) for info, value in zip(infos, values, strict=True)]


def in_source_terms[T: OutputLayout | None](layout: T, *, channels_last: bool) -> T | OutputLayout:
    """``layout`` of a file as if its source were NCHW: a source that is NHWC itself keeps its own order."""
    return OutputLayout.NCHW if channels_last else layout


def from_file(value: Array, shape: tuple[int, ...], layout: OutputLayout | None) -> Array:
    """An output in the graph's order; one place is a number where the graph gives a number.

    Args:
        value: as the file gives it.
        shape: in the graph.
        layout: of the file's outputs of rank 4; None where the file does not say it: then NHWC, if it fits ``shape``.
    """
    if shape == () and value.shape == (1,):
        return value.reshape(())
    if value.ndim != 4 or len(shape) != 4 or layout is OutputLayout.NCHW:
        return value
    moved = np.moveaxis(value, -1, 1)
    return moved if moved.shape == shape or layout is OutputLayout.NHWC else value
