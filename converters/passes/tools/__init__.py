"""Tools that the passes share: reading, tracing and rewriting an ONNX graph."""
