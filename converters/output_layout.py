"""One layout for the outputs of every .tflite: rank 4 as it was asked for, NHWC by default, every other rank in the
graph's own order.

The lowering gives an output in the order in which its last op happens to have it: a convolution's channels last, a
matrix product's first. Given a lowered model, this puts a TRANSPOSE at the end where the order is another; where the
last op is the opposite TRANSPOSE, that one is dropped instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.parity.layout import arrays_for
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import OutputLayout
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.graph import Tensor

if TYPE_CHECKING:
    import onnx

    from converters.source.load import Source


def with_output_layout(model: Tflite, source: Source, stock: onnx.ModelProto, layout: OutputLayout) -> Tflite:
    """``model`` with its outputs in the order that ``layout`` says; itself where they are.

    Args:
        model: as it was lowered.
        source: the network.
        stock: its exported graph, whose outputs it has under the same names and in the same order.
        layout: of outputs of rank 4.
    """
    shapes = [_shape(value) for value in stock.graph.output]
    if len(shapes) != len(model.graph.outputs):
        return model  # the check says which output is missing
    wrong = []
    for position, (index, shape) in enumerate(zip(model.graph.outputs, shapes)):
        last = _channels_last(model, source, stock, position)
        if last is not None and last is not (layout is OutputLayout.NHWC and len(shape) == 4):
            wrong.append((position, index, last))
    if not wrong:
        return model
    editor = FlatbufferEditor(model.editable_tree())
    for position, index, last in wrong:
        _reorder(editor, model, (position, index), to_last=not last)
    return Tflite(pack(editor.model, len(model.content)), model.name)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _channels_last(model: Tflite, source: Source, stock: onnx.ModelProto, position: int) -> bool | None:
    """Whether an output [N, C, …] has its channels last in the file; None where that makes no difference."""
    shape = _shape(stock.graph.output[position])
    tensor = model.graph.tensors[model.graph.outputs[position]]
    if len(shape) < 3 or len(tensor.shape) != len(shape):
        return None
    moved = (shape[0], *shape[2:], shape[1])
    if shape != moved:
        return {shape: False, moved: True}.get(tensor.shape)
    return _measured(model, source, stock, position)


def _measured(model: Tflite, source: Source, stock: onnx.ModelProto, position: int) -> bool | None:
    """``_channels_last`` where all sizes are alike and the shape tells nothing: by the values for one input."""
    from converters.parity.reference import open_onnx_inputs
    from converters.parity.stimuli import plain_stimuli

    inputs = plain_stimuli(source, stock)[0].inputs
    expected = list(open_onnx_inputs(stock, source)(inputs).values())[position]
    try:
        with model.on_disk() as path, RUNTIMES["litert"].open(path, xnnpack=False) as session:
            values = session.run(arrays_for(session.inputs, inputs))
    except (RuntimeError, ValueError):
        return None  # the check says why it does not run
    if values[position].shape != expected.shape:
        return None  # the file says another shape than it gives, and the check says which
    as_is, moved = (
        float(np.abs(value.astype(np.float64) - expected).max())
        for value in (values[position], np.moveaxis(values[position], -1, 1))
    )
    return moved < as_is


def _reorder(editor: FlatbufferEditor, model: Tflite, output: tuple[int, int], *, to_last: bool) -> None:
    """Put a TRANSPOSE behind an output (its position and tensor), or drop the opposite one before it."""
    position, index = output
    tensor = model.graph.tensors[index]
    rank = len(tensor.shape)
    order = (0, *range(2, rank), 1) if to_last else (0, rank - 1, *range(1, rank - 1))
    before = _before_transpose(model, tensor, order)
    target = _transposed(editor, index, order) if before is None else before
    tensors = editor.subgraph.tensors
    tensors[index].name, tensors[target].name = tensors[index].name + b"_transposed", tensors[index].name
    outputs = np.array(editor.subgraph.outputs, np.int32)
    outputs[position] = target
    editor.subgraph.outputs = outputs
    for signature in editor.model.signatureDefs or []:
        for item in signature.outputs:
            if item.tensorIndex == index:
                item.tensorIndex = target
    if before is not None:
        operators = editor.subgraph.operators
        editor.subgraph.operators = [operator for operator in operators if index not in operator.outputs]
        editor.drop_unused_data()


def _before_transpose(model: Tflite, tensor: Tensor, order: tuple[int, ...]) -> int | None:
    """What ``tensor`` is a TRANSPOSE of, if that alone is to be undone by ``order`` and nothing else reads either."""
    graph = model.graph
    producer = next((op for op in graph.ops if tensor.index in op.outputs), None)
    if producer is None or producer.type != "TRANSPOSE" or tensor.index in graph.readers():
        return None
    source = producer.inputs[0]
    axes = graph.tensors[producer.inputs[1]].values()
    fixed = source in graph.inputs or source in graph.outputs or graph.tensors[source].constant
    shared = graph.outputs.count(tensor.index) > 1
    if axes is None or fixed or shared or [int(axes[axis]) for axis in order] != list(range(len(order))):
        return None
    return source


def _transposed(editor: FlatbufferEditor, index: int, order: tuple[int, ...]) -> int:
    source, tensor = editor.subgraph.tensors[index], editor.schema.TensorT()
    tensor.shape, tensor.type = np.array([source.shape[axis] for axis in order], np.int32), source.type
    tensor.buffer, tensor.name = 0, source.name
    target = editor.add_tensor(tensor)
    editor.subgraph.operators.append(editor.transpose(index, order, target))
    return target
