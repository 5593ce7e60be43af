"""A source's ONNX graph: exported from PyTorch or read from a file; every input and shape fixed, outputs flattened and
named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters import onnx_reader
from converters.source.ends import check_activation, graph_with_ends
from converters.source.load import Source
from converters.source.outputs import constant_output
from converters.source.torch_export import Exportable, Exported, export_module

if TYPE_CHECKING:
    import onnx


def export_source(source: Source) -> Exported:
    """The stock ONNX graph of ``source``, before any pass, and what its user should know about it.

    Raises:
        RequestError: an ONNX file that cannot be used; a module that cannot run on such inputs, or that PyTorch cannot
            export; an output that is a constant.
    """
    if source.onnx_path is not None:
        exported = Exported(graph_with_ends(onnx_reader.read(source.onnx_path, source.inputs), source))
    elif source.module is not None:
        module = Exportable(source.module, source.inputs, source.outputs, source.name)
        exported = export_module(module, source.exporter)
        check_activation(source, exported.model)
    else:
        raise ValueError(f"{source.name} has neither a module nor a file")
    constant = _constant_outputs(exported.model)
    if constant:
        raise constant_output(constant[0], source.name)
    return exported


def _constant_outputs(model: onnx.ModelProto) -> list[str]:
    """Names of the outputs that no input's values reach; every shape is fixed."""
    masks = {name for node in model.graph.node if node.op_type == "Dropout" for name in node.output[1:]}
    reached = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        has_body = any(attribute.HasField("g") for attribute in node.attribute)  # may read a value of the graph around
        if node.op_type not in ("Shape", "Size") and (has_body or reached.intersection(node.input)):
            reached.update(set(node.output) - masks)  # outside training all is kept
    return [value.name for value in model.graph.output if value.name not in reached]


def export_onnx(source: Source) -> onnx.ModelProto:
    """``export_source`` without what its user should know."""
    return export_source(source).model
