"""What evit-mobile writes into a .tflite about the model: a JSON document that tells ``verify``, ``run`` and ``bench`` what the file is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from evit_mobile.errors import RequestError
from evit_mobile.specs import ModelName, Preprocessing
from evit_mobile.tflite.flatbuffer import read_bytes, unpack

#: The name of the metadata entry.
OWN_ENTRY = "EVIT_MOBILE"


class Quantisation(BaseModel):
    """How a model was quantised; without calibration, of a dynamic one, no image and no hash.

    ``op_reasons`` has for each op of the file the place in ``reasons`` of why it is in int8 or float.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    io_type: str
    calibration_images: int
    calibration_sha256: str | None
    reasons: list[str]
    op_reasons: list[int]


class ModelDescription(BaseModel):
    """Our own entry: enough to build the reference again.

    ``weights_sha256`` is None where the weights were seeded; ``onnx_sha256`` is None unless the source was an ONNX file.
    ``input_shapes``, ``channels`` and ``exporter`` are what was asked for, not what came of it.
    ``from_module`` marks a network that was given as an object: ``model`` is its class's name, which cannot build it again.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: int = 1
    model: str
    task: str | None
    resolution: str
    precision: str
    seed: int
    rewrite: bool
    attention_form: str = "auto"
    weights_sha256: str | None
    onnx_sha256: str | None
    preprocessing: Preprocessing
    versions: dict[str, str]
    quantisation: Quantisation | None = None
    input_shapes: dict[str, tuple[int, ...]] = {}
    channels: int | None = None
    exporter: str = "auto"
    from_module: bool = False

    @property
    def has_trained_weights(self) -> bool:
        """False where the weights came from the seed, and predictions mean nothing."""
        name = ModelName.parse(self.model)
        given = self.weights_sha256 is not None or self.onnx_sha256 is not None
        return given or self.from_module or name.kind == "factory" or name.pretrained


def description_in(model: Any, name: str = "this file") -> ModelDescription | None:
    """The entry in an object tree (``ModelT``), or None where it has none.

    Raises:
        RequestError: the entry is damaged.
    """
    for entry in model.metadata or []:
        if entry.name == OWN_ENTRY.encode():
            try:
                return ModelDescription.model_validate_json(bytes(model.buffers[entry.buffer].data))
            except (ValidationError, IndexError, TypeError) as error:
                raise RequestError(
                    f"{name}: its {OWN_ENTRY} entry is damaged", hint="convert the model again"
                ) from error
    return None


def read_description(path: Path) -> ModelDescription | None:
    """The entry in the .tflite at ``path``, or None where it has none.

    Raises:
        RequestError: the file cannot be read, is not a .tflite, or its entry is damaged.
    """
    return description_in(unpack(read_bytes(path), str(path)), str(path))
