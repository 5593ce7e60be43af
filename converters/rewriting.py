"""The graph passes on an ONNX graph, from protobuf to protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import PassReport
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx


def rewrite(
    stock: onnx.ModelProto, attention_form: str, target: Target, left_out: frozenset[str] = frozenset()
) -> tuple[onnx.ModelProto, list[PassReport]]:
    """``stock`` after the passes but those whose names are ``left_out``, and their reports.

    Raises:
        RequestError: there is no such attention form.
        ConversionError: a pass failed.
    """
    import onnx_ir as ir

    from converters.passes import default_passes, run_passes
    from converters.passes.functions import expand_functions

    model = ir.from_proto(expand_functions(stock))
    passes = [item for item in default_passes(attention_form) if item.name not in left_out]
    reports = run_passes(model, target, passes)
    return ir.to_proto(model), reports
