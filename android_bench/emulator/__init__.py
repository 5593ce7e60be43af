"""An Arm64 processor under user-mode QEMU: it runs the real Arm64 LiteRT and counts the instructions of an
inference.
"""
