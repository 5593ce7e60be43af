"""Run under ai-edge-quantizer's own interpreter: ``python ai_edge.py full|selective IN.tflite OUT.tflite INPUTS.npz``.

``full``: its static recipe for every op that it knows. ``selective``: the same for the ops that our plan has in int8,
by type and by the names of the scopes that stay float; what a recipe can say of single ops is a regular expression over
output names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe
from numpy.typing import NDArray

#: Ops that stay in int8, and scopes (normalisations, attention cores) in which the arithmetic among them does not.
INT8_OPS = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "ADD",
    "PAD",
    "HARD_SWISH",
    "RESHAPE",
    "TRANSPOSE",
    "INPUT",
    "OUTPUT",
)
FLOAT_SCOPES = (".*LayerNormalization.*", ".*Div.*")


def quantise(mode: str, source: str, images: NDArray[np.float32]) -> bytes:
    """The quantised model."""
    quantiser = quantizer.Quantizer(source)
    if mode == "full":
        quantiser.load_quantization_recipe(recipe.static_wi8_ai8())
    else:
        tensor = qtyping.TensorQuantizationConfig
        config = qtyping.OpQuantizationConfig(
            activation_tensor_config=tensor(num_bits=8, symmetric=False),
            weight_tensor_config=tensor(num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE),
            compute_precision=qtyping.ComputePrecision.INTEGER,
        )
        names = [getattr(qtyping.TFLOperationName, name) for name in INT8_OPS]
        for name in names:
            quantiser.update_quantization_recipe(regex=".*", operation_name=name, op_config=config)
        for scope in FLOAT_SCOPES:
            for name in names:
                if name not in (
                    qtyping.TFLOperationName.CONV_2D,
                    qtyping.TFLOperationName.INPUT,
                    qtyping.TFLOperationName.OUTPUT,
                ):
                    quantiser.update_quantization_recipe(
                        regex=scope, operation_name=name, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE
                    )
    name, entry = _signature(source)
    calibrated = quantiser.calibrate({name: [{entry: image[None]} for image in images]})
    return bytes(quantiser.quantize(calibrated).quantized_model)


def _signature(source: str) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(source).get_signature_list()
    name = next(iter(signatures))
    return name, signatures[name]["inputs"][0]


if __name__ == "__main__":
    mode, source, out, inputs = sys.argv[1:]
    Path(out).write_bytes(quantise(mode, source, np.load(inputs)["inputs"]))
