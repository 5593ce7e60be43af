"""What evit-mobile writes into a .tflite about the model: a JSON document that tells ``verify``, ``run`` and ``bench``
what the file is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from evit_mobile.card import LONGEST_LABEL, MOST_LABELS
from evit_mobile.errors import RequestError
from evit_mobile.specs import Core, Ends, IoType, ModelName, OutputLayout, Precision, Preprocessing
from evit_mobile.text import visible
from evit_mobile.tflite.flatbuffer import read_bytes, unpack

#: The name of the metadata entry.
OWN_ENTRY = "EVIT_MOBILE"


def _printable(text: str) -> str:
    if visible(text) != text:
        raise ValueError("it has control characters")
    return text


#: Text that messages and tables quote.
Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
#: A class's name.
Label = Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL), AfterValidator(_printable)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
#: The key of a signature; ``signature_of`` makes it.
Signature = Annotated[str, Field(pattern=r"^r\d{1,5}(x\d{1,5})?$")]
#: Resolutions that one file may have.
MOST_SIGNATURES = 16
#: ``224``, ``224x448``, or the whole shape of an input that is not an image.
Shape = Annotated[str, Field(pattern=r"^(\d{1,5}(x\d{1,5})?|\[\d{0,10}(, \d{1,10}){0,7}\])$")]


class Quantisation(BaseModel):
    """How a model was quantised; without calibration, of a dynamic one, no image and no hash.

    ``op_reasons`` has for each op of the file the place in ``reasons`` of why it is in int8 or float.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    io_type: IoType
    calibration_images: Count
    calibration_sha256: Sha256 | None
    reasons: list[Text]
    op_reasons: list[Count]

    @model_validator(mode="after")
    def _each_reason_exists(self) -> Self:
        if max(self.op_reasons, default=-1) >= len(self.reasons):
            raise ValueError("an op has a reason that is not listed")
        return self


class ModelDescription(BaseModel):
    """Our own entry: enough to build the reference again.

    ``weights_sha256`` is None where the weights were seeded; ``onnx_sha256`` is None unless the source was an ONNX
    file. ``input_shapes``, ``channels`` and ``exporter`` are what was asked for, not what came of it.
    ``output_layout`` is of the outputs of rank 4; None in files of before it was fixed, whose outputs have either.
    ``preprocessing`` is None where it is not known how a picture becomes the input. ``classes`` is how many were asked
    for; ``labels`` are their names, where they are not those of the task's own data set.
    ``half``: what is float may be computed in half precision, which fp16 says by itself.
    ``ends`` are what the conversion put at both ends of the network, which by itself takes what
    ``network_preprocessing`` gives.
    ``from_module`` marks a network that was given as an object: ``model`` is its class's name, which cannot build it
    again.
    ``signatures`` has an entry for each resolution of a file that has several, by its signature: what differs there
    from the other fields, which are those of the first.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: Count = 1
    model: Annotated[Text, Field(min_length=1)]
    task: Text | None
    resolution: Shape
    precision: Precision
    half: bool = False
    seed: Seed
    rewrite: bool
    attention_form: Text = "auto"
    core: Core = Core.ARMV8_2
    weights_sha256: Sha256 | None
    onnx_sha256: Sha256 | None
    preprocessing: Preprocessing | None
    versions: dict[Text, Text]
    quantisation: Quantisation | None = None
    input_shapes: dict[str, Annotated[tuple[Size, ...], Field(max_length=8)]] = {}
    channels: Size | None = None
    exporter: Annotated[str, Field(pattern=r"^(auto|torchscript|dynamo)$")] = "auto"
    from_module: bool = False
    output_layout: OutputLayout | None = None
    classes: Size | None = None
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_LABELS)] | None = None
    ends: Ends = Ends()
    network_preprocessing: Preprocessing | None = None
    signatures: Annotated[dict[Signature, dict[str, JsonValue]], Field(max_length=MOST_SIGNATURES)] = {}

    @model_validator(mode="after")
    def _each_signature_is_described(self) -> Self:
        for signature in self.signatures:
            self.of_signature(signature)
        return self

    def of_signature(self, signature: str) -> ModelDescription:
        """What a file with this signature alone would say."""
        fields = {**self.model_dump(mode="json", exclude={"signatures"}), **self.signatures[signature]}
        return ModelDescription.model_validate({**fields, "signatures": {}})

    @property
    def in_half(self) -> bool:
        """Whether what is float may be computed in half precision."""
        return self.half or self.precision is Precision.FP16

    @property
    def is_own_network(self) -> bool:
        """Whether it was made from a factory, a module or an ONNX file, of whose classes nothing is known."""
        return self.from_module or not ModelName.parse(self.model).is_counted

    @property
    def has_trained_weights(self) -> bool:
        """False where the weights came from the seed, and predictions mean nothing."""
        name = ModelName.parse(self.model)
        has_file = self.weights_sha256 is not None or self.onnx_sha256 is not None
        return has_file or self.from_module or name.kind == "factory" or name.pretrained


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
