"""ONNX's own node tests through ``convert``: right, or refused."""
