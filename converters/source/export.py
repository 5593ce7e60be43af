"""PyTorch to ONNX: fixed [1, C, H, W] float32 input (C is 3 for images) called ``image``, opset 17, outputs flattened and named."""

from __future__ import annotations

import os
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

from converters.source.load import Source
from evit_mobile.errors import MachineError, RequestError, first_line

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

OPSET = 17
INPUT_NAME = "image"


def export_onnx(source: Source) -> onnx.ModelProto:
    """The stock ONNX graph of ``source``, before any pass.

    The TorchScript exporter is used: it takes 1 s for EfficientViT-Base where the torch.export one takes 11 s, and its node names
    carry the module's path, which is how layers are named when results part.

    Raises:
        RequestError: an ONNX file that cannot be used, or a module that cannot run at this resolution.
        MachineError: the exporter failed.
    """
    if source.onnx_path is not None:
        return read_onnx(source.onnx_path.as_posix())
    assert source.module is not None and source.resolution is not None
    shape = (1, source.channels, source.resolution.height, source.resolution.width)
    return _export_module(source.module, shape, source.outputs, source.name)


def _export_module(
    module: nn.Module, shape: tuple[int, int, int, int], outputs: tuple[str, ...], name: str
) -> onnx.ModelProto:
    import onnx
    import torch

    image = torch.zeros(shape)
    try:
        with torch.no_grad():
            flat = flatten_outputs(module(image), outputs)
    except (RuntimeError, ValueError, TypeError) as error:
        raise RequestError(f"{name} cannot run on a {list(shape)} image: {first_line(error)}") from error
    with tempfile.TemporaryDirectory(prefix="evit-mobile-") as folder, warnings.catch_warnings(action="ignore"):
        path = os.path.join(folder, "model.onnx")
        try:
            torch.onnx.export(
                _flat_module(module, outputs),
                (image,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=list(flat),
                do_constant_folding=True,
            )
        except OSError:
            raise
        except Exception as error:  # the exporter raises whatever an operator's lowering raises
            raise MachineError(
                f"PyTorch could not export {name} to ONNX: {type(error).__name__}: {first_line(error)}"
            ) from error
        return onnx.load(path)


def _flat_module(module: nn.Module, outputs: tuple[str, ...]) -> nn.Module:
    """``module`` itself where it returns a tensor or a tuple of them; else the same with its outputs in a tuple."""
    from torch import nn

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, image: Tensor) -> Any:
            return tuple(flatten_outputs(self.model(image), outputs).values())

    return Flat().eval()


def flatten_outputs(value: Any, names: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Output tensors by name, from a tensor, a sequence or a mapping of tensors.

    Raises:
        TypeError: there is something else among them, or their number is not that of ``names``.
    """
    from torch import Tensor

    if isinstance(value, Tensor):
        flat = {"output": value}
    elif isinstance(value, dict):
        flat = {str(key): item for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        flat = {f"output_{index}": item for index, item in enumerate(value)}
    else:
        raise TypeError(f"the model returns a {type(value).__name__}, expected tensors")
    for key, item in flat.items():
        if not isinstance(item, Tensor):
            raise TypeError(f"output {key} is a {type(item).__name__}, expected a tensor")
    if names:
        if len(names) != len(flat):
            raise TypeError(f"the model returns {len(flat)} outputs, expected {', '.join(names)}")
        flat = dict(zip(names, flat.values()))
    return flat


def read_onnx(path: str) -> onnx.ModelProto:
    """An ONNX file, checked: whole, valid, one float32 image input with a fixed shape of batch 1.

    Raises:
        RequestError: it is not.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, FileNotFoundError) as error:
        raise RequestError(f"{path} is not a whole, valid ONNX file: {first_line(error)}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise RequestError(f"{path} has {len(inputs)} inputs, expected one image")
    kind = inputs[0].type.tensor_type
    shape = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4 or shape[0] != 1 or not all(shape):
        raise RequestError(
            f"{path} takes {inputs[0].name} of shape {shape}, expected float32 [1, C, H, W] with every size fixed",
            hint="export it with batch 1 and no dynamic axes",
        )
    return model
