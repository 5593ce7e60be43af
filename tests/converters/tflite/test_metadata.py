"""What a converted model says of itself, read back by other means than it was written with."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters.tflite.compact import compact
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.description import read_description
from evit_mobile.tflite.flatbuffer import pack, unpack


def _flatbuffer(path: Path) -> tuple[bytes, schema.Model]:
    content = path.read_bytes()
    return content, schema.Model.GetRootAs(content, 0)


def _entries(path: Path) -> dict[str, bytes]:
    _, model = _flatbuffer(path)
    entries = (model.Metadata(index) for index in range(model.MetadataLength()))
    return {entry.Name().decode(): model.Buffers(entry.Buffer()).DataAsNumpy().tobytes() for entry in entries}


def test_entries(small_tflite: Path) -> None:
    entries = _entries(small_tflite)
    assert entries.keys() == {"EVIT_MOBILE", "TFLITE_METADATA", "min_runtime_version"}
    assert entries["TFLITE_METADATA"][4:8] == b"M001"
    # Normalisation on values of 0 to 255, as the metadata schema defines it.
    for values in (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])):
        assert (values * 255).astype("<f4").tobytes() in entries["TFLITE_METADATA"]
    # The oldest runtime is a version, padded to the 16 bytes that TensorFlow's own converter writes.
    assert len(entries["min_runtime_version"]) == 16
    assert entries["min_runtime_version"].rstrip(b"\0").count(b".") == 2


def test_fp32_does_not_give_leave_to_compute_in_half_precision(small_tflite: Path) -> None:
    assert "reduced_precision_support" not in _entries(small_tflite)


def test_labels_are_the_thousand_classes(small_tflite: Path) -> None:
    labels = zipfile.ZipFile(small_tflite).read("labels.txt").decode().splitlines()
    assert len(labels) == len(set(labels)) == 1000
    # Spot checks against the published list of the challenge.
    assert (labels[0], labels[207], labels[812], labels[999]) == (
        "tench",
        "golden retriever",
        "space shuttle",
        "toilet tissue",
    )


def test_weights_lie_at_multiples_of_16(small_tflite: Path) -> None:
    """``force_align: 16`` of the schema: kernels load vectors straight from the mapped file."""
    content, model = _flatbuffer(small_tflite)
    base = np.frombuffer(content, np.uint8)
    for index in range(model.BuffersLength()):
        data = model.Buffers(index).DataAsNumpy()
        if isinstance(data, np.ndarray):
            assert (data.__array_interface__["data"][0] - base.__array_interface__["data"][0]) % 16 == 0


@pytest.mark.parametrize("keep", [0, 7, 100, 100_000])
def test_a_cut_or_foreign_file_has_no_description(small_tflite: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(small_tflite.read_bytes()[:keep])
    with pytest.raises(RequestError, match="cut.tflite"):
        read_description(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(keep))
    with pytest.raises(RequestError, match="not a .tflite"):
        read_description(path)


def test_no_values_are_stored_twice(small_tflite: Path) -> None:
    """Its attention layers have equal tables, such as the one that divides by a number of tokens."""
    _, model = _flatbuffer(small_tflite)
    values = [model.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength())]
    stored = [value.tobytes() for value in values if isinstance(value, np.ndarray) and value.size]
    assert len(stored) == len(set(stored))
    assert len(values) - 1 == len(stored)  # the first is empty by the format


def _outputs(model: Any, path: Path) -> list[NDArray[Any]]:
    path.write_bytes(pack(model))
    with RUNTIMES["litert"].open(path) as session:
        image = np.random.default_rng(0).standard_normal(session.inputs[0].shape, np.float32)
        return session.run([image])


def test_constants_that_ops_have_to_themselves_are_shared(small_tflite: Path, tmp_path: Path) -> None:
    """Oracle: LiteRT, which computes the same to the bit."""
    model = unpack(small_tflite.read_bytes())
    editor, tensors = FlatbufferEditor(model), len(model.subgraphs[0].tensors)
    for operator in model.subgraphs[0].operators:
        sizes = editor.constant(operator.inputs[1]) if editor.kind(operator) == "RESHAPE" else None
        if sizes is not None:
            own = editor.add_constant(operator.outputs[0], sizes, "INT32", None, b"_own")
            operator.inputs = np.array([operator.inputs[0], own], np.int32)
    editor.add_constant(0, np.zeros(100_000, np.float32), "FLOAT32", None, b"_unread")
    before = _outputs(model, tmp_path / "before.tflite")
    assert len(model.subgraphs[0].tensors) > tensors + 1
    compact(model)
    after = _outputs(model, tmp_path / "after.tflite")
    assert len(model.subgraphs[0].tensors) == tensors
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
