"""evit-mobile: EfficientViT from PyTorch to one XNNPACK partition, with the proof and the latency curve."""

__version__ = "0.1.0"
