"""LiteRT without any code of ours."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray


def bare_outputs(content: bytes, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs [N, …] of a file of one input for ``images`` [N, H, W, C]."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    outputs = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(outputs).astype(np.float64)
