"""Multiply-accumulates and parameters, counted on the module itself."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evit_mobile.specs import Resolution

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Needs:
    """Multiply-accumulates per inference, and the peak bytes of parameters and activations alive at the same time."""

    macs: int
    memory_bytes: int


def count_needs(module: nn.Module, resolution: Resolution, channels: int = 3) -> Needs:
    """The needs of one [1, channels, H, W] inference of ``module`` in PyTorch. Nothing is computed; see
    ``count_macs``.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Adds a storage when an operator creates it, and subtracts it when its last tensor is gone."""

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """Nothing is compiled here, and saying so to the compiler would import it, which takes seconds."""
            return False

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.live = self.peak = 0
            self.users: Counter[int] = Counter()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    self.hold(tensor)
            return result

        def hold(self, tensor: torch.Tensor) -> None:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if not self.users[key]:
                self.live += size
                self.peak = max(self.peak, self.live)
            self.users[key] += 1
            weakref.finalize(tensor, self.drop, key, size)

        def drop(self, key: int, size: int) -> None:
            self.users[key] -= 1
            if not self.users[key]:
                self.live -= size

    macs = count_macs(module, resolution, channels)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    with torch.no_grad(), LiveBytes() as bytes_alive:
        module(torch.empty(1, channels, resolution.height, resolution.width, device="meta"))
    return Needs(macs, weights + bytes_alive.peak)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, resolution: Resolution, channels: int = 3) -> int:
    """Multiply-accumulates of one [1, channels, H, W] inference: convolutions, linear layers and matrix products, by
    PyTorch's own counter.

    ``module`` is moved to the meta device: nothing is computed, and its weights are gone afterwards.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module = module.to("meta").eval().requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.empty(1, channels, resolution.height, resolution.width, device="meta"))
    # The counter counts a multiply-accumulate as two operations.
    return int(counter.get_total_flops()) // 2
