"""Networks quantised by ONNX Runtime, in the QDQ form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from evit_mobile.arrays import Float32Array


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, images: Iterable[Float32Array]) -> None:
        self._feeds: Iterator[dict[str, Float32Array]] = iter([{name: image} for image in images])

    def get_next(self) -> dict[str, Float32Array] | None:
        """The next input, None behind the last."""
        return next(self._feeds, None)


def quantised(
    model: onnx.ModelProto, out: Path, images: Iterable[Float32Array], *, unsigned: bool = False, **options: Any
) -> Path:
    """``out``: ``model``, of one input, by ONNX Runtime's quantiser.

    Args:
        images: its calibration inputs, [1, C, H, W].
        unsigned: activations are uint8, else int8.
        options: of ``quantize_static``.
    """
    before, prepared = out.with_suffix(".float.onnx"), out.with_suffix(".prepared.onnx")
    onnx.save(model, before)
    quant_pre_process(str(before), str(prepared), skip_symbolic_shape=True)
    arguments = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": QuantType.QUInt8 if unsigned else QuantType.QInt8,
        "weight_type": QuantType.QInt8,
    }
    reader = _Images(model.graph.input[0].name, images)
    quantize_static(str(prepared), str(out), reader, **(arguments | options))
    return out
