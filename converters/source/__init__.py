"""From ``--model`` to an ONNX graph."""
