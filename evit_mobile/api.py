"""The public Python functions: convert, verify, inspect, load and bench. Import them as ``import evit_mobile as em``.

They print nothing and never end the process; what goes wrong is an exception of ``evit_mobile.errors``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from converters.options import ConvertOptions
from converters.report import Conversion
from evit_mobile.errors import RequestError
from evit_mobile.models.registry import check_name
from evit_mobile.runtimes import find_runtime
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.file import Tflite

if TYPE_CHECKING:
    from torch import Tensor, nn

    from android_bench.device import DeviceOptions
    from converters.parity.reference import Request
    from converters.parity.verify import ParityReport
    from converters.tflite.inspection import Inspection
    from evit_mobile.results.record import ResultSet, RunSettings
    from evit_mobile.runtimes import Runtime, Session

__all__ = ["Model", "bench", "convert", "inspect", "load", "verify"]

Array = NDArray[Any]


def convert(
    model: nn.Module | str | Path,
    options: ConvertOptions = ConvertOptions(),
    *,
    resolution: Resolution | int | str | tuple[int, int] | None = None,
    precision: Precision | str | None = None,
    calibration: str | Path | Array | Sequence[Array] | None = None,
    example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None = None,
) -> Conversion:
    """Convert a network to a .tflite that XNNPACK runs as one partition.

    Args:
        model: a ``torch.nn.Module`` in evaluation mode, the name of a registered model, ``timm:NAME``, ``package.module:factory``, or the
            path of an ONNX file. A conversion from a name or a file is kept in the cache, one of a module is not.
        options: everything that a conversion can be asked for; the arguments below replace its fields.
        resolution: of the input image: a side, ``"HxW"``, or (height, width), in pixels.
        precision: ``"fp32"``, ``"fp16"``, ``"dynamic"`` or ``"int8"``.
        calibration: int8: a folder of pictures, an .npz file, ``package.module:function``, or an array [N, H, W, C] or a sequence of
            [H, W, C]: uint8 RGB pictures at the model's resolution, or float32 model inputs.
        example_inputs: for a module whose input is not one RGB image: a float32 tensor for each argument of its ``forward``, in order
            or by name. Only their shapes matter.

    Returns:
        The .tflite's bytes and the report; ``save(path)`` writes it.

    Raises:
        RequestError: there is no such model, or an option, the calibration data or the network cannot be used.
        ClaimError: the file does not compute what the network does (``options.check`` is False: no such check).
        MachineError: the converter failed.

    Examples:
        >>> import evit_mobile as em
        >>> conversion = em.convert("base-r192", resolution=96)
        >>> conversion.report.precision, conversion.report.onnx_ops_before["Gather"], conversion.report.onnx_ops_after.get("Gather")
        (<Precision.FP32: 'fp32'>, 21, None)
    """
    from converters.pipeline import convert_in_memory

    if isinstance(model, (str, Path)):
        check_name(str(model))
    with contextlib.ExitStack() as stack:
        replaced: dict[str, Any] = {}
        if resolution is not None:
            replaced["resolution"] = _resolution(resolution)
        if precision is not None:
            replaced["precision"] = _precision(precision)
        if calibration is not None:
            replaced["calibration"] = stack.enter_context(_calibration_source(calibration))
        options = dataclasses.replace(options, **replaced)
        if isinstance(model, (str, Path)):
            if example_inputs is not None:
                raise RequestError("example_inputs are for a module", hint="give the shapes by options.inputs")
            return convert_in_memory(str(model), options)
        return _convert_module(model, options, example_inputs)


def verify(
    model: Conversion | Path | str,
    source: nn.Module | str | Path | None = None,
    *,
    weights: Path | str | None = None,
    runtimes: Sequence[str] = ("litert",),
    image: Path | str | None = None,
    layers: bool = False,
) -> ParityReport:
    """Compare a .tflite with the network that it was made from, on seven inputs in every configuration of the runtimes.

    Args:
        model: a conversion, or the path of a .tflite.
        source: what the file was made from, where it cannot say that itself: the module, or the path of the ONNX file. A conversion
            knows its source.
        weights: the checkpoint that the file was made with; a conversion knows that too.
        runtimes: names of TFLite runtimes; one that is not installed is listed as such.
        image: a photograph that takes the place of the bundled one.
        layers: also find the first layer where the file parts from its source.

    Returns:
        Every comparison, and whether all passed (``passed``). No parity is a result, not an exception.

    Raises:
        RequestError: the file, its source or the image cannot be used.

    Examples:
        >>> import evit_mobile as em
        >>> report = em.verify(em.convert("base-r192", resolution=96))
        >>> report.passed, report.reference
        (True, 'pytorch')
    """
    from converters.parity.verify import verify_model

    chosen = [find_runtime(name) for name in runtimes]
    request = _request(model, source, None if weights is None else Path(weights))
    file = _tflite(model)
    with file.on_disk() as path:
        report = verify_model(
            path, request, runtimes=chosen, image=None if image is None else Path(image), layers=layers
        )
    return dataclasses.replace(report, file=file.name)


def inspect(model: Conversion | Path | str, runtime: str = "litert") -> Inspection:
    """Ops with their costs, delegate partitions, and which ops were not delegated, and why.

    Args:
        model: a conversion, or the path of a .tflite.
        runtime: name of the TFLite runtime to ask.

    Returns:
        The file under that runtime.

    Raises:
        RequestError: the file cannot be used, or there is no such runtime.
        MachineError: the runtime is not installed, or crashed.

    Examples:
        >>> import evit_mobile as em
        >>> inspection = em.inspect(em.convert("base-r192", resolution=96))
        >>> inspection.partitions, inspection.undelegated
        (1, [])
    """
    from converters.tflite.inspection import inspect_model

    return inspect_model(_tflite(model), find_runtime(runtime))


def load(model: Conversion | Path | str, *, runtime: str = "litert", threads: int = 1) -> Model:
    """Load a .tflite to run it.

    Args:
        model: a conversion, or the path of a .tflite.
        runtime: name of the TFLite runtime, with XNNPACK.
        threads: of the kernels.

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
    return Model(_tflite(model), chosen, threads)


class Model:
    """A loaded .tflite. Call it with the inputs; it gives the outputs by name.

    An input is an array in the file's own layout (NHWC for images), by position or by name. Where the file says how pictures become its
    input, a picture [h, w, 3] of uint8 RGB, of any size, is taken too, and is resized, cropped and normalised. Outputs are float32
    (integers of a quantised output are dequantised), or class numbers.

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

        if self._description is None:
            raise RequestError(
                "the file does not say how a picture becomes its input", hint=f"give float32 {list(shape)}"
            )
        image = Image.fromarray(pixels)
        return to_input(image, Resolution(shape[1], shape[2]), self._description.preprocessing)[0]


def bench(
    models: Sequence[Conversion | Path | str],
    device: str = "host",
    *,
    settings: RunSettings | None = None,
    options: DeviceOptions | None = None,
) -> ResultSet:
    """Measure models in turn on one device.

    Args:
        models: conversions, paths of .tflite files, or names of models, which are converted. Ratios are to the first.
        device: ``"host"``, ``"adb"``, ``"adb:SERIAL"`` or ``"qemu:CPU"``.
        settings: threads, cores, rounds and runs; None takes the device's own.
        options: what else the device can be told.

    Returns:
        Every sample; ``evit_mobile.results.record.save`` writes it as a result file.

    Raises:
        RequestError: a model, the device's name or a setting cannot be used.
        DeviceError: the device is absent or went away. A model whose run failed has its error in its point.

    Examples:
        >>> import evit_mobile as em
        >>> conversion = em.convert("base-r192", resolution=96)
        >>> results = em.bench([conversion], settings=em.RunSettings(runs=4, rounds=2, min_time_s=0))
        >>> [(point.name, len(point.rounds)) for point in results.points]
        [('base-r192', 2)]
    """
    from datetime import UTC, datetime

    from android_bench.device import DeviceOptions, default_settings, open_device
    from android_bench.suites.resume import begin, sweep

    if isinstance(models, (str, Path, Conversion)) or not models:
        raise RequestError("there is no model to measure", hint="give a list of conversions, paths or names")
    options = options or DeviceOptions()
    opened = open_device(device, options)
    results = begin(opened, datetime.now(UTC), ("evit_mobile.bench", device), None)
    with contextlib.ExitStack() as stack:
        candidates = [_candidate(model, options.runtime, stack) for model in models]
        names = [candidate.name for candidate in candidates]
        candidates = [
            candidate
            if names.count(candidate.name) == 1
            else dataclasses.replace(candidate, name=f"{candidate.name} ({number})")
            for number, candidate in enumerate(candidates, 1)
        ]
        for points in sweep(opened, candidates, [settings or default_settings(device)]):
            results = results.with_points(points)
    return results


def _candidate(model: Conversion | Path | str, runtime: str, stack: contextlib.ExitStack) -> Any:
    from android_bench.suites.rounds import Candidate
    from converters.tflite.inspection import inspect_model

    if isinstance(model, str) and not model.endswith(".tflite"):
        model = convert(model)
    file = _tflite(model)
    name = model.report.model if isinstance(model, Conversion) else Path(model).stem
    inspection = inspect_model(file, find_runtime(runtime), explain=False)
    description = inspection.description
    return Candidate(
        name,
        stack.enter_context(file.on_disk()),
        resolution=description.resolution if description else None,
        precision=description.precision if description else None,
        ops=inspection.op_total,
        partitions=inspection.partitions,
        undelegated_ops=len(inspection.undelegated),
    )


def _tflite(model: Conversion | Path | str) -> Tflite:
    if isinstance(model, Conversion):
        return Tflite(model.content, f"the conversion of {model.report.model}")
    return Tflite.read(Path(model))


def _convert_module(
    module: nn.Module,
    options: ConvertOptions,
    example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None,
) -> Conversion:
    from torch import nn

    from converters.pipeline import convert_in_memory
    from converters.source.inputs import example_request
    from converters.source.load import module_source

    if not isinstance(module, nn.Module):
        raise RequestError(
            f"a {type(module).__name__} cannot be converted", hint="give a torch.nn.Module, a name or a path"
        )
    if options.weights is not None:
        raise RequestError("a module has its weights in it", hint="load them into the module")
    request = options.inputs if example_inputs is None else example_request(module, example_inputs, options.inputs)
    return convert_in_memory(
        module_source(module, options.resolution, request), dataclasses.replace(options, inputs=request)
    )


def _request(model: Conversion | Path | str, source: nn.Module | str | Path | None, weights: Path | None) -> Request:
    """What ``verify`` has to know of a model beyond the file."""
    from converters.parity.reference import Request
    from evit_mobile.specs import ModelName

    if isinstance(model, Conversion) and source is None:
        if model.source is not None:
            return Request(source=model.source)
        own = ModelName.parse(model.report.model).kind in ("onnx", "factory")
        return Request(model.report.model if own else None, weights=weights or model.weights)
    if source is None or isinstance(source, (str, Path)):
        return Request(None if source is None else str(source), weights=weights)
    return Request(module=source)


def _resolution(value: Resolution | int | str | tuple[int, int]) -> Resolution:
    if isinstance(value, Resolution):
        return value
    if isinstance(value, tuple):
        return Resolution.parse("x".join(map(str, value)))
    return Resolution.parse(str(value))


def _precision(value: Precision | str) -> Precision:
    try:
        return Precision(value)
    except ValueError as error:
        raise RequestError(f"there is no precision {value!r}", hint=f"one of {', '.join(Precision)}") from error


@contextlib.contextmanager
def _calibration_source(calibration: str | Path | Array | Sequence[Array]) -> Iterator[str]:
    """``calibration`` as options name it: arrays are put into a file for as long as the body runs."""
    if isinstance(calibration, (str, Path)):
        yield str(calibration)
        return
    try:
        images = np.stack([np.asarray(image) for image in calibration])
    except ValueError as error:
        raise RequestError(f"the calibration inputs cannot be one array: {error}") from error
    with tempfile.TemporaryDirectory(prefix="evit-mobile-") as folder:
        path = Path(folder) / "calibration.npz"
        np.savez(path, images)
        yield str(path)
