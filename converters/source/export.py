"""A source's ONNX graph: exported from PyTorch or read from a file; every input and shape fixed, outputs flattened and
named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters import onnx_reader
from converters.source.ends import check_activation, graph_with_ends
from converters.source.load import Source
from converters.source.torch_export import Exportable, Exported, export_module

if TYPE_CHECKING:
    import onnx


def export_source(source: Source) -> Exported:
    """The stock ONNX graph of ``source``, before any pass, and what its user should know about it.

    Raises:
        RequestError: an ONNX file that cannot be used; a module that cannot run on such inputs, or that PyTorch cannot
            export.
    """
    if source.onnx_path is not None:
        return Exported(graph_with_ends(onnx_reader.read(source.onnx_path, source.inputs), source))
    if source.module is None:
        raise ValueError(f"{source.name} has neither a module nor a file")
    exported = export_module(Exportable(source.module, source.inputs, source.outputs, source.name), source.exporter)
    check_activation(source, exported.model)
    return exported


def export_onnx(source: Source) -> onnx.ModelProto:
    """``export_source`` without what its user should know."""
    return export_source(source).model
