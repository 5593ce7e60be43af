"""Whether a .tflite computes what its source computes."""
