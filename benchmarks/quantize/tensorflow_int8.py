"""TensorFlow's own int8, by an interpreter with tensorflow 2.21, onnx2tf 2.6.7 and tf-keras, which has none of this
project: ``python tensorflow_int8.py MODEL.onnx INPUTS.npz OUT.tflite``. onnx2tf makes the SavedModel,
``TFLiteConverter`` quantises it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf


def main() -> None:
    """Full int8: every op that TensorFlow has an int8 kernel for; float ends, as ours."""
    source, inputs, out = sys.argv[1:]
    images = np.load(inputs)["inputs"]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("onnx2tf")),
            "-i",
            source,
            "-o",
            folder,
            "-osd",
            "-n",
            "-tb",
            "tf_converter",
        ]
        subprocess.run(command, check=True, capture_output=True)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        Path(out).write_bytes(converter.convert())


if __name__ == "__main__":
    main()
