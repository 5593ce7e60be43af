"""What a conversion gives: the bytes of the .tflite, and a report of how they came about."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.passes.base import PassReport
from converters.quantize.attention_ranges import AttentionRange
from converters.quantize.plan import OpPlan
from evit_mobile.files import whole_file
from evit_mobile.specs import Precision

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from converters.source.load import Source


@dataclass(frozen=True)
class ConversionReport:
    """What happened on the way.

    Attributes:
        model: what was converted, by the name that was given.
        resolution: HxW of the input, or its whole shape where it is not an image.
        cached: an earlier, identical conversion was served again.
        sha256: of the .tflite.
        bytes_onnx, bytes_tflite: sizes of the exported graph and of the file.
        onnx_ops_before, onnx_ops_after: ops of the ONNX graph before and after the passes, by type.
        tflite_ops: ops of the .tflite by type.
        passes: what each graph pass did, in order; empty where none ran.
        plan: for each op of a quantised model its precision and why.
        attention: of an fp16 model, what each linear attention divides by.
        choice: why the file is in its precision, where that was left to the conversion.
        warnings: what the user should know, one line each.
        versions: of the packages that took part.
        seconds: time by stage.
        signatures: of a file of several resolutions the report of each, by its signature. What is above is then of the
            first, but for ``resolution`` (all of them), size, hash, warnings and time.
    """

    model: str
    resolution: str
    precision: Precision
    cached: bool
    sha256: str
    bytes_onnx: int
    bytes_tflite: int
    onnx_ops_before: dict[str, int]
    onnx_ops_after: dict[str, int]
    tflite_ops: dict[str, int]
    passes: list[PassReport]
    plan: list[OpPlan]
    attention: list[AttentionRange]
    warnings: list[str]
    versions: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    signatures: dict[str, ConversionReport] = field(default_factory=dict)
    choice: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, text: str) -> ConversionReport:
        """The report whose ``to_json`` was written as ``text``.

        Raises:
            ValueError: the text is not such a report.
        """
        return _reader().validate_json(text)


@functools.cache
def _reader() -> TypeAdapter[ConversionReport]:
    from pydantic import TypeAdapter

    return TypeAdapter(ConversionReport)


@dataclass(frozen=True)
class Conversion:
    """A converted model, in memory.

    Attributes:
        content: the bytes of the .tflite.
        report: how it was made.
        source: the network, where it was given as a module; ``verify`` compares with it.
        weights: the checkpoint that it was made with.
        parts: of a file of several resolutions the conversion of each, by its signature.

    Examples:
        >>> import evit_mobile as em
        >>> conversion = em.convert("base-r192", resolution=96)
        >>> conversion.report.resolution, len(conversion.content) == conversion.report.bytes_tflite
        ('96', True)
    """

    content: bytes = field(repr=False)
    report: ConversionReport
    source: Source | None = field(default=None, repr=False, compare=False)
    weights: Path | None = None
    parts: Mapping[str, Conversion] = field(default_factory=dict, repr=False, compare=False)

    def save(self, path: Path | str) -> Path:
        """Write the .tflite to ``path``, whole or not at all; an existing file is replaced.

        Args:
            path: where to; its folder must exist.

        Returns:
            ``path``.

        Raises:
            OSError: it cannot be written.

        Examples:
            >>> import evit_mobile as em
            >>> em.convert("base-r192", resolution=96).save("model.tflite").name
            'model.tflite'
        """
        target = Path(path)
        with whole_file(target) as temporary:
            temporary.write_bytes(self.content)
        return target
