"""Checkpoints of odd keys, values and types, and with changed bytes: tensors, or refused in one line."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from evit_mobile.weights import load_weights
from tests.fuzz_files.harness import fuzz, refused_or_read
from tests.fuzz_files.mutate import damaged, mutated

_DTYPES = sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)
_LAYOUTS = ["to_sparse", "to_sparse_csr", "t", "conj", "neg", "contiguous"]


@st.composite
def _tensors(draw: st.DrawFn) -> Any:
    """A tensor of any type, layout, device and size; zeros where its type has no other values."""
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    try:
        tensor = torch.zeros(shape, dtype=draw(st.sampled_from(_DTYPES)), device=draw(st.sampled_from(["cpu", "meta"])))
        tensor = getattr(tensor, draw(st.sampled_from(_LAYOUTS)))()
        return tensor.expand(draw(st.sampled_from([1, 10**3, 10**13])), *tensor.shape)
    except Exception:  # this type has no such layout, and torch says so in many ways
        return torch.full((2, 2), draw(st.sampled_from([0.0, 1e300, float("nan")])), dtype=torch.float64)


_KEYS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["weight", "bias", "module.weight", "state_dict", "model", 1, ("a", 1), None, "\x1b[2J", b"weight"])
)
_TABLES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(_tensors(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.dictionaries(_KEYS, inner, max_size=4), st.lists(inner, max_size=3)),
    max_leaves=6,
)


def _load(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with refused_or_read():
        load_weights(nn.Linear(2, 2), path)


@pytest.mark.filterwarnings("ignore")  # of PyTorch, about types in their beta
def test_pytorch_files(tmp_path: Path) -> None:
    path, file = tmp_path / "weights.pt", io.BytesIO()
    torch.save(nn.Linear(2, 2).state_dict(), file)

    def read(case: Any) -> None:
        saved = io.BytesIO()
        try:
            torch.save(case, saved)
        except Exception:  # it cannot be written
            return
        _load(path, case if isinstance(case, bytes) else saved.getvalue())

    fuzz(st.one_of(_TABLES, damaged(file.getvalue())), read, 250)


def test_safetensors_files(tmp_path: Path) -> None:
    path, content = tmp_path / "weights.safetensors", save(nn.Linear(2, 2).state_dict())
    (length,) = struct.unpack("<Q", content[:8])
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]

    def read(case: Any) -> None:
        if not isinstance(case, bytes):
            described = json.dumps(case).encode("utf-8", "surrogatepass")
            case = struct.pack("<Q", len(described)) + described + values
        _load(path, case)

    dtypes = st.sampled_from(
        ["F64", "F16", "BF16", "I8", "F8_E4M3", "F8_E8M0", "F4", "C64", "BOOL", "U64", [8], [2, 2]]
    )
    fuzz(st.one_of(mutated(header, st.one_of(dtypes, st.integers(), st.text(max_size=3))), damaged(content)), read, 250)
