"""Reading and writing .tflite files, without a runtime."""
