"""``load``: a .tflite as a function of arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from converters.report import Conversion
from evit_mobile.api.checks import tflite_of
from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import find_runtime
from evit_mobile.specs import Resolution
from evit_mobile.tflite.file import Tflite

if TYPE_CHECKING:
    from evit_mobile.runtimes import Runtime, Session


def load(
    model: Conversion | Path | str, *, runtime: str = "litert", threads: int = 1, signature: str | None = None
) -> Model:
    """Load a .tflite to run it.

    Args:
        model: a conversion, or the path of a .tflite.
        runtime: name of the TFLite runtime, with XNNPACK.
        threads: of the kernels.
        signature: which resolution to run, where the file has several.

    Returns:
        A callable; see ``Model``.

    Raises:
        RequestError: the file cannot be loaded, or there is no such runtime.
        MachineError: the runtime is not installed, or crashed.

    Examples:
        >>> import evit_mobile as em
        >>> import numpy as np
        >>> model = em.load(em.convert("base-r192", resolution=96))
        >>> model(np.zeros((1, 96, 96, 3), np.float32))["logits"].shape
        (1, 1000)
    """
    chosen = find_runtime(runtime)
    return Model(tflite_of(model).at(signature), chosen, threads)


class Model:
    """A loaded .tflite. Call it with the inputs; it gives the outputs by name.

    An input is an array in the file's own layout (NHWC for images), by position or by name. Where the file says how
    pictures become its input, a picture [h, w, 3] of uint8 RGB, of any size, is taken too, and is resized, cropped and
    normalised. Outputs are float32 (integers of a quantised output are dequantised), or class numbers.

    Attributes:
        inputs: shapes by name.
        outputs: shapes by name.

    Examples:
        >>> import evit_mobile as em
        >>> import numpy as np
        >>> with em.load(em.convert("base-r192", resolution=96)) as model:
        ...     photograph = np.zeros((480, 640, 3), np.uint8)
        ...     model(photograph)["logits"].shape
        (1, 1000)
    """

    def __init__(self, file: Tflite, runtime: Runtime, threads: int) -> None:
        self._description = file.description
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(file.on_disk())
            self._session: Session = stack.enter_context(runtime.open(path, threads=threads))
            self._stack = stack.pop_all()
        self._input_names = [file.signature_names.get(info.index, info.name) for info in self._session.inputs]

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        return {name: info.shape for name, info in zip(self._input_names, self._session.inputs)}

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        return dict(zip(self._session.output_names(), (info.shape for info in self._session.outputs)))

    def __call__(self, *inputs: Array, **named_inputs: Array) -> dict[str, Array]:
        """Run the model.

        Args:
            inputs: arrays in the order of ``self.inputs``.
            named_inputs: arrays by name, instead.

        Returns:
            The outputs by name.

        Raises:
            RequestError: an input is missing, or has another shape.
        """
        values = self._ordered(inputs, named_inputs)
        prepared = [
            info.quantise(self._prepared(np.asarray(value), name, info.shape))
            for value, name, info in zip(values, self._input_names, self._session.inputs, strict=True)
        ]
        results = self._session.run(prepared)
        infos = zip(self._session.output_names(), self._session.outputs, results)
        return {name: info.dequantise(value) for name, info, value in infos}

    def close(self) -> None:
        """Free the model; a runtime that has a process of its own ends it."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ordered(self, inputs: Sequence[Array], named: Mapping[str, Array]) -> list[Array]:
        expected = ", ".join(self._input_names)
        if named and not inputs:
            if named.keys() != set(self._input_names):
                raise RequestError(f"the model's inputs are {expected}, not {', '.join(named)}")
            return [named[name] for name in self._input_names]
        if named or len(inputs) != len(self._input_names):
            raise RequestError(f"expected {len(self._input_names)} input(s): {expected}")
        return list(inputs)

    def _prepared(self, value: Array, name: str, shape: tuple[int, ...]) -> Array:
        if value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3 and len(shape) == 4 and shape[3] == 3:
            return self._picture(value, shape)
        if value.shape != shape:
            raise RequestError(f"input {name} has shape {list(value.shape)}, expected {list(shape)}")
        return value

    def _picture(self, pixels: Array, shape: tuple[int, ...]) -> Array:
        from PIL import Image

        from evit_mobile.vision.images import to_input

        if self._description is None or self._description.preprocessing is None:
            raise RequestError(
                "the file does not say how a picture becomes its input", hint=f"give float32 {list(shape)}"
            )
        image = Image.fromarray(pixels)
        return to_input(image, Resolution(shape[1], shape[2]), self._description.preprocessing)[0]
