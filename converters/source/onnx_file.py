"""An ONNX file as a source: inputs given fixed shapes, half precision and bfloat16 widened to float32."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.onnx_session import open_session
from converters.source.onnx_gate import MAX_ELEMENTS, check_structure
from converters.source.outputs import set_shape
from evit_mobile.errors import RequestError, first_line
from evit_mobile.specs import MAX_INPUT_ELEMENTS, Resolution

if TYPE_CHECKING:
    import onnx

#: float16 and bfloat16, by ONNX's numbers, which are widened; every one of them is a float32.
_HALF = (10, 16)
#: Types of inputs: float32, uint8, int32, int64, bool.
_INPUT_TYPES = (1, 2, 6, 7, 9, *_HALF)


def read_onnx(path: Path, shapes: Mapping[str, tuple[int, ...]], name: str | None = None) -> onnx.ModelProto:
    """An ONNX file, checked, with every input of a fixed shape: as the file says, or ``shapes`` by name, or batch 1.

    The checks of onnx and ONNX Runtime, which a file may crash, run in this process: ``converters.onnx_reader`` calls
    it in another.

    Args:
        path: of the file.
        shapes: of inputs by name.
        name: what messages call the file; None: its path.

    Raises:
        RequestError: the file is not a whole, valid ONNX file or describes no network that can be converted; an input's
            shape is neither fixed nor given; an input's type is none that is converted.
    """
    import onnx
    from google.protobuf.message import DecodeError

    name = name or path.as_posix()
    try:
        model = onnx.load(path)
        check_structure(model, name)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
        raise RequestError(f"{name} is not a whole, valid ONNX file: {first_line(error)}") from error
    _fix_shapes(model, shapes, name)
    _widen(model)
    _check_runs(model, name)
    return model


def graph_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that have to be fed: old files list constants among their inputs too."""
    constants = {tensor.name for tensor in model.graph.initializer} | {
        item.values.name for item in model.graph.sparse_initializer
    }
    return [value for value in model.graph.input if value.name not in constants]


def input_size(model: onnx.ModelProto) -> str:
    """``HxW`` of the first input, or its whole shape where it is no image."""
    shape = tuple(dim.dim_value for dim in graph_inputs(model)[0].type.tensor_type.shape.dim)
    if len(shape) != 4:
        return str(list(shape))
    return str(Resolution(*(shape[1:3] if channel_axis(shape) == 3 else shape[2:])))


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """1 of an image [N, 3, H, W], 3 of [N, H, W, 3], None of any other shape."""
    return next((axis for axis in (1, 3) if shape[axis] == 3), None) if len(shape) == 4 else None


def _fix_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    inputs = graph_inputs(model)
    if not inputs:
        raise RequestError(f"{name} has no input: it computes the same for everybody")
    known = [value.name for value in inputs]
    for other in shapes:
        if other not in known:
            raise RequestError(f"{name} has no input {other!r}", hint=f"its inputs: {', '.join(known)}")
    fixed = False
    for value in inputs:
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type") or kind.elem_type not in _INPUT_TYPES:
            raise RequestError(
                f"input {value.name} of {name} is {_type_name(value)}",
                hint="float32, float16, bfloat16, uint8, int32, int64 and bool are converted",
            )
        fixed |= _fix_shape(value, shapes.get(value.name), name)
    if fixed:
        # Shapes that the file derived from its free sizes are no longer true.
        del model.graph.value_info[:]


def _type_name(value: onnx.ValueInfoProto) -> str:
    import onnx

    if not value.type.HasField("tensor_type"):
        return f"of the type {(value.type.WhichOneof('value') or 'undefined').removesuffix('_type')}"
    kind = value.type.tensor_type.elem_type
    if kind not in onnx.TensorProto.DataType.values():
        return f"of the unknown type {kind}"
    name: str = onnx.TensorProto.DataType.Name(kind)
    return name.lower()


def _fix_shape(value: onnx.ValueInfoProto, shape: tuple[int, ...] | None, name: str) -> bool:
    """Write a shape into ``value``; whether it differs from what was there.

    Raises:
        RequestError: the shape contradicts the file's, or a size is left free.
    """
    kind = value.type.tensor_type
    written = (
        [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
        if kind.HasField("shape")
        else None
    )
    spelled = "?" if written is None else "x".join(str(size) if size > 0 else "?" for size in written)
    if shape is None:
        shape = tuple(written) if written is not None else (0,)
        if len(shape) > 1 and shape[0] <= 0:
            shape = (1, *shape[1:])
        if not all(size > 0 for size in shape):
            example = "x".join(str(size) if size > 0 else "224" for size in shape)
            hint = f"--input-shape {value.name}:{example}"
            raise RequestError(
                f"input {value.name} of {name} has free sizes: {spelled}", hint=f"fix them, for example {hint}"
            )
    if written is not None and (
        len(written) != len(shape) or any(old > 0 and old != new for old, new in zip(written, shape))
    ):
        raise RequestError(f"input {value.name} of {name} is {spelled}, not {'x'.join(map(str, shape))}")
    if math.prod(shape) > MAX_INPUT_ELEMENTS:
        limit = f"the limit is {MAX_INPUT_ELEMENTS}"
        raise RequestError(f"input {value.name} of {name} has {math.prod(shape)} elements, {limit}")
    if written == list(shape):
        return False
    set_shape(value, shape)
    return True


def _widen(model: onnx.ModelProto) -> None:
    """Half precision becomes float32 everywhere: in types, weights and casts, so that no weight changes."""
    import onnx

    single = onnx.TensorProto.FLOAT
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type in _HALF:
            value.type.tensor_type.elem_type = single
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            if node.op_type in ("Cast", "EyeLike") and attribute.name in ("to", "dtype") and attribute.i in _HALF:
                attribute.i = single
    for tensor in tensors:
        if tensor.data_type in _HALF:
            wide = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            tensor.CopyFrom(wide)


def _check_runs(model: onnx.ModelProto, name: str) -> None:
    """Operators, types and the shapes of weights and operands fit each other: by onnx's inference, then by a run on
    zeros, from which the outputs get the shapes that the file leaves free.

    Raises:
        RequestError: they do not.
    """
    import onnx

    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        run = open_session(model)
        zeros = {}
        for value in graph_inputs(model):
            kind = value.type.tensor_type
            shape = [dim.dim_value for dim in kind.shape.dim]
            zeros[value.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        outputs = run(zeros)
    except (
        Exception
    ) as error:  # onnx and ONNX Runtime raise classes of their own, derived from RuntimeError or from Exception
        lines = [line for line in str(error).splitlines() if line.strip()]
        words = lines[-1].strip() if lines else type(error).__name__
        if "NOT_IMPLEMENTED" in words:  # a valid graph, of an operator or a type that the checks cannot be made with
            what = f"ONNX Runtime cannot run {name}: {words.partition('NOT_IMPLEMENTED : ')[2]}"
            raise RequestError(what, hint="export it with an older opset, or with other operators") from error
        raise RequestError(f"{name} contradicts itself: {words}") from error
    for value in model.graph.output:
        dims = outputs[value.name].shape
        if not all(dims):
            raise RequestError(f"output {value.name} of {name} is empty: {'x'.join(map(str, dims))}")
        set_shape(value, dims)
    elements = sum(array.size for array in outputs.values())
    if elements > MAX_ELEMENTS:
        raise RequestError(f"the outputs of {name} have {elements} elements, the limit is {MAX_ELEMENTS}")
