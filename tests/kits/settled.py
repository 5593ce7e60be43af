"""Seeded networks are settled once in each process: it takes two seconds of float64, and many tests build the same."""

from __future__ import annotations

import hashlib
import sys
from typing import Any


def settle_once() -> None:
    """Let ``settle_batch_norms`` remember what it made of the same weights by the same random state, once its module is
    there: importing it imports PyTorch.
    """
    seeding: Any = sys.modules.get("evit_mobile.models.seeding")
    if seeding is None or seeding.settle_batch_norms.__module__ == __name__:
        return
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    settle, known = seeding.settle_batch_norms, {}

    def remembering(module: nn.Module, generator: torch.Generator, *where: Any) -> None:
        digest = hashlib.blake2b(repr((module, where)).encode())
        for values in (generator.get_state(), *module.state_dict().values()):
            digest.update(values.numpy())
        key = digest.digest()
        norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        if key in known:
            state, statistics = known[key]
            generator.set_state(state)
            for layer, values in zip(norms, statistics, strict=True):
                layer.load_state_dict(values)
            module.eval()
            return
        settle(module, generator, *where)
        known[key] = (
            generator.get_state(),
            [{name: values.clone() for name, values in layer.state_dict().items()} for layer in norms],
        )

    seeding.settle_batch_norms = remembering
