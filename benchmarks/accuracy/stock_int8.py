"""Full int8 as a stock quantiser makes it, for comparison: ai-edge-quantizer's static int8 recipe for every op of the
stock graph.

Run under the interpreter of ``benchmarks/peers`` (litert-torch brings ai-edge-quantizer), which has none of this
project: ``python stock_int8.py FLOAT.tflite IMAGES.npy OUT.tflite``. onnx2tf 2.6.7 has a full-integer quantiser too,
which refuses every EfficientViT: "Unsupported op for strict full integer quantization: op_type=SQRT".
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    """Quantise; ``IMAGES.npy`` is [N, H, W, 3] float32, preprocessed."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    source, images, out = sys.argv[1:]
    quantiser = quantizer.Quantizer(source, recipe.static_wi8_ai8())
    key, signature = next(iter(Interpreter(source).get_signature_list().items()))
    data = {key: [{signature["inputs"][0]: image[np.newaxis]} for image in np.load(images)]}
    quantiser.quantize(quantiser.calibrate(data)).export_model(out, overwrite=True)


if __name__ == "__main__":
    main()
