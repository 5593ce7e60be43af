"""What onnx2tf does besides lowering op by op, switched off.

After the ops are lowered, each with the transpositions that it needs, onnx2tf runs some hundred rewrites that remove
transpositions. They know layouts by sizes, so they go wrong where sizes coincide. Without them a file has more
transpositions, and is right wherever its ops are.
"""

from __future__ import annotations

from typing import Any


class _Lowered(Exception):
    """Carries onnx2tf's model out of its lowering, before the rewrites."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


def without_fusion_of_fake_quantisation() -> None:
    """Keep ``onnx2tf`` from looking for quantisation that is spelled out: it fails where Round gives an output, and the
    graphs that come here have none.
    """
    from onnx2tf import onnx2tf

    onnx2tf.fuse_expanded_qdq_to_qdq = lambda graph: None


def without_rewrites() -> None:
    """Let ``onnx2tf`` end after lowering the ops, for the rest of this process."""
    from onnx2tf import tflite_builder
    from onnx2tf.tflite_builder import lower_from_onnx2tf as lowering

    def lowered(model: Any) -> None:
        raise _Lowered(model)

    whole = lowering.lower_onnx_to_ir

    def lower(*arguments: Any, **options: Any) -> Any:
        try:
            whole(*arguments, **options)
        except _Lowered as result:
            model = result.model
        lowering._prune_dead_operators(model)
        lowering._replace_unsupported_split_with_slice(model)
        lowering._replace_expand_dims_and_squeeze_with_reshape(model)
        lowering._topologically_sort_operators(model)
        return model

    # The first function that is called when all nodes are lowered and the outputs are named.
    lowering._get_protected_boundary_tensor_names = lowered
    tflite_builder.lower_onnx_to_ir = lower
