"""The .tflite that a conversion writes: metadata, costs, delegate partitions and their reasons."""
