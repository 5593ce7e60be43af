"""One row through litert-torch, in litert-torch's own environment: ``convert_litert_torch.py MODEL RESOLUTION
OUT.tflite``.

The module, its weights and its seed are those that our own converter gets; input is made NHWC by litert-torch's helper,
as ours is. Prints the seconds that the conversion took, without imports, as its last line.
"""

from __future__ import annotations

import sys
import time


def main() -> None:
    """Convert and save."""
    import litert_torch
    import torch

    from converters.source.load import load_source
    from evit_mobile.specs import Resolution

    model, resolution, out = sys.argv[1:]
    source = load_source(model, Resolution.parse(resolution))
    assert source.module is not None and source.resolution is not None
    start = time.perf_counter()
    module = litert_torch.to_channel_last_io(source.module, args=[0]).eval()
    image = torch.zeros(1, source.resolution.height, source.resolution.width, 3)
    litert_torch.convert(module, (image,)).export(out)
    print(f"{time.perf_counter() - start:.2f}")


if __name__ == "__main__":
    main()
