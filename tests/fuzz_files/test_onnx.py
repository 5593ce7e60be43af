"""ONNX files, some fields of any of their messages changed: read, rewritten and run, or refused in one line.

A file that did more than that stands in ``corpus``, and is read in every run.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from converters import onnx_reader
from converters.lowering.boundary import plain
from converters.source.onnx_file import graph_inputs
from evit_mobile.errors import ConversionError
from evit_mobile.specs import Target
from tests.fuzz_files.harness import fuzz, refused_or_read
from tests.fuzz_files.mutate import TEXTS
from tests.fuzz_files.onnx_networks import networks

CORPUS = Path(__file__).with_name("corpus")
INTEGERS = [*range(-2, 13), 16, 31, 64, 127, 255, 1000, 2**16, 2**20, 2**28, 2**31 - 1, 2**31, 2**40, 2**63 - 1]
INTEGERS += [-(2**31), -(2**63), -1000]
FLOATS = [0.0, -0.0, 0.5, 1.0, -1.0, 1e-45, 1e30, float("inf"), float("-inf"), float("nan")]
CONTENTS = [b"", b"\0", b"\xff" * 4, b"\0" * 64, b"\xff" * 432]
#: What ONNX's own operators are called, a sample: some take subgraphs, sequences, texts or sizes.
OPS = [
    "Identity", "Conv", "ConvTranspose", "DeformConv", "MaxPool", "LpPool", "MaxUnpool", "MaxRoiPool", "RoiAlign",
    "LSTM", "GRU", "Resize", "Upsample", "GridSample", "AffineGrid", "Col2Im", "Range", "Expand", "Tile", "Reshape",
    "Slice", "ScatterND", "ScatterElements", "GatherND", "Compress", "NonZero", "Unique", "Einsum", "Det", "DFT",
    "STFT", "HannWindow", "MelWeightMatrix", "EyeLike", "RandomNormal", "Multinomial", "Bernoulli", "Dropout", "If",
    "Loop", "Scan", "SequenceAt", "SequenceMap", "SplitToSequence", "Optional", "OptionalGetElement",
    "StringNormalizer", "TfIdfVectorizer", "BitShift", "Div", "Mod", "Pow", "QLinearMatMul", "MatMulInteger",
    "Attention", "RotaryEmbedding", "CenterCropPad", "NonMaxSuppression", "GroupNormalization",
    "BatchNormalization", "LayerNormalization", "SpaceToDepth", "DepthToSpace",
]  # fmt: skip


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from _messages(item)


def _names(model: onnx.ModelProto) -> list[str]:
    names = {
        text for item in _messages(model) if isinstance(item, onnx.NodeProto) for text in (*item.input, *item.output)
    }
    return sorted(names)


def _scalar(draw: st.DrawFn, field: FieldDescriptor, model: onnx.ModelProto) -> Any:
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return draw(st.sampled_from(FLOATS))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(st.sampled_from(CONTENTS))
    if field.type == FieldDescriptor.TYPE_STRING:
        return draw(st.sampled_from([*_names(model), *OPS, *TEXTS, "own", "ai.onnx.ml", "to", "axis", "value"]))
    return draw(st.sampled_from(INTEGERS))


def _change(draw: st.DrawFn, model: onnx.ModelProto) -> None:
    """Change one field of one message in place; what the field cannot hold raises."""
    messages = list(_messages(model))
    message = draw(st.sampled_from(messages))
    field = draw(st.sampled_from(list(message.DESCRIPTOR.fields)))
    kind = draw(st.sampled_from(["change", "change", "change", "drop", "double", "turn"]))
    value = getattr(message, field.name)
    if kind == "drop" and not (field.is_repeated and value):
        message.ClearField(field.name)
    elif field.is_repeated:
        items = list(value)
        place = draw(st.integers(0, max(0, len(items) - 1)))
        if kind == "drop":
            del items[place]
        elif kind == "turn":
            items = items[place:] + items[:place]
        elif kind == "double" and items:
            items.insert(place, items[-1])
        elif field.message_type is None:
            items[place : place + 1] = [_scalar(draw, field, model)]
        else:
            others = [item for item in messages if item.DESCRIPTOR is field.message_type]
            items[place : place + 1] = (
                [draw(st.sampled_from(others))] if others else [field.message_type._concrete_class()]
            )
        copies = type(message)()
        getattr(copies, field.name).extend(items)
        message.ClearField(field.name)
        getattr(message, field.name).extend(getattr(copies, field.name))
    elif field.message_type is not None:
        others = [item for item in messages if item.DESCRIPTOR is field.message_type]
        copy = field.message_type._concrete_class()
        copy.CopyFrom(draw(st.sampled_from(others)) if others else copy)
        value.CopyFrom(copy)
    else:
        setattr(message, field.name, _scalar(draw, field, model))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A network with one to four fields changed."""
    model = draw(st.sampled_from(networks()))
    for _ in range(draw(st.integers(1, 4))):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            _change(draw, model)
    content: bytes = model.SerializePartialToString()
    return content


def _inputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Noise for inputs of floats, and zeros for all others."""
    values = {}
    for value in graph_inputs(model):
        kind = value.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        noise = np.random.default_rng(0).standard_normal(shape)
        values[value.name] = noise.astype(dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
    return values


def _read(path: Path) -> None:
    """What ``convert`` does before the lowering."""
    with refused_or_read(), contextlib.suppress(ConversionError):
        stock = onnx_reader.read(path, {})
        graph, _ = onnx_reader.rewrite(stock, path.name, "auto", Target(), frozenset())
        plain(graph)
        inputs = _inputs(stock)
        for model in (stock, graph):
            outputs = onnx_reader.OnnxSession(model, path.name)(inputs)
            assert all(isinstance(value, np.ndarray) for value in outputs.values())


@pytest.mark.parametrize("number", range(len(networks())))
def test_the_networks_themselves_are_sound(tmp_path: Path, number: int) -> None:
    path = tmp_path / "sound.onnx"
    path.write_bytes(networks()[number].SerializeToString())
    stock = onnx_reader.read(path, {})
    onnx_reader.rewrite(stock, path.name, "auto", Target(), frozenset())


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.onnx")), ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    _read(path)


def test_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.onnx_reader.READ_TIMEOUT_S", 10.0)

    def read(content: bytes) -> None:
        path = tmp_path / f"{hashlib.sha256(content).hexdigest()[:12]}.onnx"
        path.write_bytes(content)
        _read(path)
        path.unlink()  # what stays in the folder is a find

    fuzz(files(), read, 200)
