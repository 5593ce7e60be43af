"""ONNX to a .tflite flatbuffer, by onnx2tf in a process of its own."""
