"""From a PyTorch module or an ONNX file to a .tflite, and the proof that both compute the same."""
