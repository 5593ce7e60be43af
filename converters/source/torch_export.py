"""PyTorch to ONNX by either of PyTorch's exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from converters.onnx_session import open_session
from converters.source.blame import value_reads
from converters.source.outputs import flat_module, run_once, set_shape
from evit_mobile.errors import RequestError, first_line
from evit_mobile.processes import temporary_folder

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

#: Of the TorchScript exporter, whose decompositions the passes know best.
OPSET = 17
#: Of the torch.export one: the oldest that it writes without a conversion.
_DYNAMO_OPSET = 18


#: The torch.export exporter colours its messages.
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class Exporter(StrEnum):
    """PyTorch's exporters; ``AUTO`` is the TorchScript one, and the other where that fails or errs."""

    AUTO = "auto"
    TORCHSCRIPT = "torchscript"
    DYNAMO = "dynamo"


@dataclass(frozen=True)
class Exported:
    """An ONNX graph as it was exported, and what its user should know."""

    model: onnx.ModelProto
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exportable:
    """A module in evaluation mode with its ``inputs`` by name, the names of its ``outputs`` (empty: the module's own),
    and its name.
    """

    module: nn.Module
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    name: str


def export_module(source: Exportable, exporter: Exporter = Exporter.AUTO) -> Exported:
    """The ONNX graph of a module for float32 inputs of fixed shapes.

    The other exporter is taken where a graph of the first has branches or loops, or ONNX Runtime refuses it. The
    TorchScript exporter comes first: it takes 1 s for EfficientViT-Base where the torch.export one takes 11 s, and
    its node names carry the module's path, which is how layers are named when results part.

    Raises:
        RequestError: the module cannot run on such inputs, or has what no chosen exporter can write.
    """
    import torch

    inputs = tuple(torch.zeros(shape) for shape in source.inputs.values())
    module = flat_module(source.module, source.outputs)
    with _plain_attention():
        with value_reads(*inputs) as reads:
            outputs = run_once(source.module, inputs, source.outputs, source.name)
        exporters = [Exporter.TORCHSCRIPT, Exporter.DYNAMO] if exporter is Exporter.AUTO else [exporter]
        failures: list[tuple[Exporter, Exception]] = []
        exported: list[Exported] = []
        for chosen in exporters:
            try:
                model = _export(module, inputs, (list(source.inputs), list(outputs)), chosen)
            except OSError:
                raise
            except Exception as error:  # an exporter raises whatever an operator's lowering raises
                failures.append((chosen, error))
            else:
                for value, output in zip(model.graph.output, outputs.values(), strict=True):
                    set_shape(value, tuple(output.shape))  # an exporter may leave it open
                exported.append(Exported(model, tuple(_frozen(place) for place in reads)))
                if chosen is exporters[-1] or _is_plain(model):
                    return exported[-1]
    if exported:
        return exported[0]
    reasons = "; ".join(f"{chosen}: {_reason(error)}" for chosen, error in failures)
    hint = "write the operator with others, or give an ONNX file"
    raise RequestError(f"PyTorch cannot export {source.name} to ONNX: {reasons}", hint=hint) from failures[0][1]


def _is_plain(model: onnx.ModelProto) -> bool:
    """Whether a graph has no branches and loops of its own, which cannot be lowered, and ONNX Runtime takes it."""
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return False
    try:
        open_session(model)
    except Exception:  # ONNX Runtime raises exceptions without a common class
        return False
    return True


def _frozen(place: str) -> str:
    return (
        f"{place} reads a tensor's value in Python: what it decides for a zero input is fixed in the file for every "
        "input. "
        "torch.where decides in the graph."
    )


def _reason(error: Exception) -> str:
    """The error's first sentence: what follows asks to report it to PyTorch."""
    sentence = first_line(error).partition(". Please")[0]
    return f"{type(error).__name__}: {_COLOUR.sub('', sentence)}"


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """PyTorch's fused attention has no ONNX form; its modules compute the same by plain operators where that is
    switched off.
    """
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], names: tuple[list[str], list[str]], exporter: Exporter
) -> onnx.ModelProto:
    import onnx
    import torch

    from converters.source.substitutes import Substitutes

    dynamo = exporter is Exporter.DYNAMO
    with (
        temporary_folder() as folder,
        warnings.catch_warnings(action="ignore"),
        _quiet(),
        Substitutes(),
    ):
        path = folder / "model.onnx"
        torch.onnx.export(
            module, inputs, path, dynamo=dynamo, opset_version=_DYNAMO_OPSET if dynamo else OPSET,
            input_names=names[0], output_names=names[1], external_data=False, verbose=False,
            optimize=False,  # the exporter's own rules drop x + 1e-8; fold-constants does the rest of their work
        )  # fmt: skip
        model = onnx.load(path)
    for position, (name, tensor) in enumerate(zip(names[0], inputs, strict=True)):
        if name not in {value.name for value in model.graph.input}:
            # Both exporters leave out an argument that nothing reads; a caller passes it all the same.
            unread = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(tensor.shape))
            model.graph.input.insert(position, unread)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of PyTorch's on standard output, where its C++ part writes a failed graph too, and none of its log:
    exceptions tell it.
    """
    before, stdout = logging.root.manager.disable, os.dup(1)
    sys.stdout.flush()
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        logging.disable(before)
