"""What a .tflite says of itself: the signature, the standard TFLite metadata, and our own entry.

The standard metadata (``TFLITE_METADATA``: normalisation, labels; ``min_runtime_version``) is what Android tooling
reads; its schema is TensorFlow Lite Support's ``metadata_schema.fbs``, file identifier M001. Our own entry
(``EVIT_MOBILE``) is a JSON document that lets ``verify`` and ``bench`` know what the file is.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.tflite.compact import compact
from evit_mobile.specs import Preprocessing
from evit_mobile.tflite.classes import SELECTED
from evit_mobile.tflite.description import OWN_ENTRY, ModelDescription
from evit_mobile.tflite.flatbuffer import pack

if TYPE_CHECKING:
    from converters.source.labels import Labels

STANDARD_ENTRY = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
RUNTIME_ENTRY = "min_runtime_version"
#: The schema's AssociatedFileType of names by place on an axis, and of names by value.
_AXIS_LABELS, _VALUE_LABELS = 2, 3
#: Leave for XNNPACK to compute in half precision where the processor can.
HALF_ENTRY = "reduced_precision_support"
#: XNNPACK wants leave to accumulate in half precision too, or it stays with fp32.
HALF_CONTENT = b"fp16accfp16"


def describe(model: Any, description: ModelDescription, labels: Labels | None, minimum_runtime: str | None) -> bytes:
    """The .tflite of an object tree (``ModelT``, which is edited) with its metadata.

    Args:
        model: the object tree.
        description: our own entry.
        labels: of the classes; None where they have no names.
        minimum_runtime: the oldest TFLite release that has the ops; None where no release is known that has.
    """
    from ai_edge_litert import schema_py_generated as schema

    model.description = f"evit-mobile {description.versions.get('evit-mobile', '')}: {description.model}".encode()
    entries = {
        OWN_ENTRY: description.model_dump_json().encode(),
        STANDARD_ENTRY: _standard_metadata(model, description, labels),
    }
    if minimum_runtime is not None:
        entries[RUNTIME_ENTRY] = runtime_content(minimum_runtime)
    if description.in_half:
        entries[HALF_ENTRY] = HALF_CONTENT
    # onnx2tf writes this entry into every model: a model that was asked for in fp32 must not say so.
    kept = [entry for entry in model.metadata or [] if entry.name.decode() not in {*entries, HALF_ENTRY}]
    for name, data in entries.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = name.encode(), len(model.buffers) - 1
        kept.append(entry)
    model.metadata = kept
    compact(model)
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    return with_labels(pack(model, size), labels.names if labels is not None else None)


def runtime_content(version: str) -> bytes:
    """The entry for the oldest runtime, as TFLite's own converter pads it."""
    return version.encode().ljust(16, b"\0")


def labels_in(content: bytes) -> list[str] | None:
    """What ``with_labels`` put behind a flatbuffer; None without."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(LABELS_FILE).decode().splitlines()


def with_labels(content: bytes, labels: list[str] | None) -> bytes:
    """Labels travel as a zip archive behind the flatbuffer: the form that the metadata library reads."""
    if labels is None:
        return content
    archive = io.BytesIO(content)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as file:
        # A fixed date, so that the same model gives the same bytes.
        file.writestr(zipfile.ZipInfo(LABELS_FILE, (1980, 1, 1, 0, 0, 0)), "\n".join(labels) + "\n")
    return archive.getvalue()


def _standard_metadata(model: Any, description: ModelDescription, labels: Labels | None) -> bytes:
    """ModelMetadata with one SubGraphMetadata: an image input with its normalisation, outputs with their names and
    labels.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    graph = model.subgraphs[0]
    signature = (model.signatureDefs or [None])[0]
    names = (
        {item.tensorIndex: item.name.decode() for item in [*signature.inputs, *signature.outputs]} if signature else {}
    )

    def name_of(index: int) -> str:
        return names.get(index) or str(graph.tensors[index].name.decode())

    inputs = [_input_tensor(builder, name_of(index), description.preprocessing) for index in graph.inputs]
    outputs = [_output_tensor(builder, name_of(index), labels) for index in graph.outputs]
    subgraph = _table(builder, 10, {2: _vector(builder, inputs), 3: _vector(builder, outputs)})
    root = _table(
        builder,
        8,
        {
            0: builder.CreateString(description.model),
            1: builder.CreateString(f"{description.model}, {description.precision}"),
            3: _vector(builder, [subgraph]),
            7: builder.CreateString("1.0.0"),
        },
    )
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def _input_tensor(builder: Any, name: str, preprocessing: Preprocessing | None) -> int:
    """TensorMetadata of an RGB image; the schema's normalisation is (value - mean) / std on values of 0 to 255. Of an
    input that is not known to be a picture, the name alone.
    """
    if preprocessing is None:
        return _table(builder, 7, {0: builder.CreateString(name)})
    mean, std = (
        builder.CreateNumpyVector((np.array(values) * 255).astype(np.float32))
        for values in _as_short_as_fits(preprocessing)
    )
    options = _table(builder, 2, {0: mean, 1: std})
    unit = _table(builder, 2, {1: options}, {0: 1})  # 1: NormalizationOptions
    image = _table(builder, 2, {}, {0: 1})  # 1: ColorSpaceType.RGB
    content = _table(builder, 3, {1: image}, {0: 2})  # 2: ImageProperties
    return _table(builder, 7, {0: builder.CreateString(name), 3: content, 4: _vector(builder, [unit])})


def _as_short_as_fits(preprocessing: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation: one each where all channels have the same, since MediaPipe takes no other; else three."""
    mean, std = preprocessing.mean, preprocessing.std
    return (mean[:1], std[:1]) if len({*mean}) == len({*std}) == 1 else (mean, std)


def _output_tensor(builder: Any, name: str, labels: Labels | None) -> int:
    slots = {0: builder.CreateString(name)}
    if labels is not None and labels.output == name:
        kind = _VALUE_LABELS if labels.by_value else _AXIS_LABELS
        file = _table(builder, 5, {0: builder.CreateString(LABELS_FILE)}, {2: kind})
        slots[6] = _vector(builder, [file])
    if name == SELECTED[0]:
        slots[3] = _box_content(builder)
    return _table(builder, 7, slots)


def _box_content(builder: Any) -> int:
    """BoundingBoxProperties of (ymin, xmin, ymax, xmax): where left, top, right and bottom stand; the boundaries' type
    is 1, the coordinates' type of ratios 0, the default.
    """
    index = builder.CreateNumpyVector(np.array([1, 0, 3, 2], np.uint32))
    properties = _table(builder, 3, {0: index}, {1: 1})
    return _table(builder, 3, {1: properties}, {0: 3})  # 3: BoundingBoxProperties


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _table(builder: Any, slots: int, offsets: dict[int, int], bytes_: dict[int, int] | None = None) -> int:
    """A table with ``slots`` fields: ``offsets`` to other objects, and one-byte enumerations."""
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (bytes_ or {}).items():
        builder.PrependUint8Slot(slot, value, 0)
    return int(builder.EndObject())
