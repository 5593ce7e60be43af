"""Non-maximum suppression in the file: TFLite's own op for detectors, TFLite_Detection_PostProcess.

It is a custom op of TFLite's, which every runtime has and no delegate takes: it runs behind the partition. It decodes a
box (y, x, h, w) of an anchor (0, 0, 1, 1) as centre (y, x) and size (exp h, exp w), each a share of the input's side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.tflite.editor import FlatbufferEditor
from evit_mobile.tflite.classes import ENCODINGS, SCORES, SELECTED
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack

OP = "TFLite_Detection_PostProcess"
REASON = "no delegate takes the op for detections"
#: At most so many boxes, from this score on; of two of a class that overlap by more, the better. See ``select_boxes``.
MOST, LOWEST_SCORE, LARGEST_OVERLAP = 100, 0.05, 0.65


def with_detections(tree: Any) -> None:
    """Put the op behind the two outputs of ``tree`` (``ModelT``, edited), encodings [1, M, 4] and scores [1, M,
    classes] in float32.
    """
    editor = FlatbufferEditor(tree)
    entries = {entry.name.decode(): entry for entry in tree.signatureDefs[0].outputs}
    encodings, scores = (int(entries[name].tensorIndex) for name in (ENCODINGS, SCORES))
    _, places, classes = editor.shape(scores)
    anchors = np.tile(np.array([0, 0, 1, 1], np.float32), (places, 1))
    operands = [encodings, scores, editor.add_constant(encodings, anchors, "FLOAT32", None, b"_anchors")]
    results = [
        _add_float(editor, name, shape)
        for name, shape in zip(SELECTED, ((1, MOST, 4), (1, MOST), (1, MOST), (1,)), strict=True)
    ]
    operator = editor.schema.OperatorT()
    operator.opcodeIndex = _custom_code(editor)
    operator.inputs, operator.outputs = np.array(operands, np.int32), np.array(results, np.int32)
    operator.customOptions = np.frombuffer(_options(classes), np.uint8)
    editor.subgraph.operators.append(operator)
    editor.subgraph.outputs = np.array(results, np.int32)
    tree.signatureDefs[0].outputs = editor.entries(dict(zip(SELECTED, results, strict=True)))


def without_detections(model: Tflite) -> Tflite:
    """The model up to the op, with the outputs that it had before, and without other signatures; itself where it has no
    such op.
    """
    if OP.encode() not in model.content:  # most files: to unpack one takes longer than to look for the op's name
        return model
    ops = model.graph.ops
    if not ops or ops[-1].type != OP:
        return model
    last = ops[-1]
    tree = model.editable_tree()
    # Other signatures select too, with anchors and codes that the first does not use.
    tree.subgraphs, tree.signatureDefs = (
        tree.subgraphs[:1],
        [item for item in tree.signatureDefs if item.subgraphIndex == 0],
    )
    editor = FlatbufferEditor(tree)
    before = dict(zip((ENCODINGS, SCORES), last.inputs))
    editor.subgraph.operators = editor.subgraph.operators[:-1]
    editor.subgraph.outputs = np.array(list(before.values()), np.int32)
    editor.model.signatureDefs[0].outputs = editor.entries(before)
    editor.drop_unused_data()
    return Tflite(pack(editor.model, len(model.content)), model.name)


def _add_float(editor: FlatbufferEditor, name: str, shape: tuple[int, ...]) -> int:
    tensor = editor.schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), np.array(shape, np.int32), 0
    tensor.type = editor.tensor_type("FLOAT32")
    return editor.add_tensor(tensor)


def _custom_code(editor: FlatbufferEditor) -> int:
    code = editor.schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = editor.schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = OP.encode(), 1
    editor.model.operatorCodes.append(code)
    return len(editor.model.operatorCodes) - 1


def _options(classes: int) -> bytes:
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Map():
        for name, number in (
            ("max_detections", MOST),
            ("max_classes_per_detection", 1),
            ("detections_per_class", MOST),
            ("num_classes", classes),
        ):
            builder.Int(name, number)
        for name, value in (
            ("nms_score_threshold", LOWEST_SCORE),
            ("nms_iou_threshold", LARGEST_OVERLAP),
            *((f"{side}_scale", 1.0) for side in "yxhw"),
        ):
            builder.Float(name, value)
        builder.Bool("use_regular_nms", True)
    return bytes(builder.Finish())
