"""Seeded weights that are calibrated: their batch normalisations have the statistics of photographs, as training leaves
them.

The seeded weights of a conversion are settled on noise, and off on purpose, so that a conversion which folds a
statistic wrongly is seen. A photograph then drives some channels many standard deviations away from where the
normalisation put them, which no trained network's data do, and which int8 with one scale for all channels of a map pays
for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.photos import crops
from converters.source.load import load_source

#: Photographs whose statistics the normalisations get, all from the halves that nothing is tested on.
PHOTOS = 16


def calibrated_weights(model: str, side: int, seed: int, out: Path) -> Path:
    """Write ``out`` (.safetensors), the weights of ``model`` seeded by ``seed`` and calibrated at ``side`` x ``side``
    pixels.
    """
    import torch
    from safetensors.torch import save_model
    from torch.nn.modules.batchnorm import _BatchNorm

    source = load_source(model, seed=seed)
    module = source.module
    assert module is not None
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # the plain average over batches
            layer.train()
    images = np.concatenate(list(crops(side, PHOTOS, held_out=False, preprocessing=source.preprocessing)))
    with torch.no_grad():
        module(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
    save_model(module, str(out))
    return out
