"""Settings of the passes' tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """The tensors are tiny: threads only cost."""
    torch.set_num_threads(1)
