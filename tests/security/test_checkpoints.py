"""Checkpoints that torch reads and no network can use are refused by the name of the key."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from evit_mobile.errors import RequestError
from evit_mobile.weights import load_weights, read_checkpoint

HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "number as key": (lambda: {1: torch.zeros(1)}, "the key 1 is not text"),
    "tuple as key": (lambda: {("a", 1): torch.zeros(1)}, "is not text"),
    "not only tensors": (lambda: {"a": torch.zeros(1), "b": 3}, "b is a int"),
    "sparse": (lambda: {"a": torch.eye(3).to_sparse()}, "a is sparse"),
    "sparse rows": (lambda: {"a": torch.eye(3).to_sparse_csr()}, "a is sparse"),
    "quantised": (lambda: {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "a is quantised"),
    "meta": (lambda: {"a": torch.zeros(3, device="meta")}, "a is on the device meta"),
    "nested": (lambda: {"a": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])}, "nested|refused"),
    "float8": (lambda: {"a": torch.ones(2).to(torch.float8_e4m3fn)}, "a is of float8_e4m3fn"),
    "complex": (lambda: {"a": torch.ones(2, dtype=torch.complex64)}, "a is of complex64"),
    "infinite in float32": (lambda: {"a": torch.tensor([1e300], dtype=torch.float64)}, "a has values"),
    "giant": (lambda: {"a": torch.zeros(1).expand(10**13)}, "holds fewer values"),
    "empty": (dict, "no table of tensors"),
    "a list": (lambda: [torch.zeros(1)], "no table of tensors"),
}


@pytest.mark.parametrize(("make", "words"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.filterwarnings("ignore")  # of PyTorch, about layouts in their beta
def test_checkpoints_that_torch_can_read(tmp_path: Path, make: Callable[[], Any], words: str) -> None:
    torch.save(make(), tmp_path / "weights.pt")
    with pytest.raises(RequestError, match=words) as caught:
        read_checkpoint(tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)


def test_a_pickle_that_ends_within_a_number(tmp_path: Path) -> None:
    """Its reader's own error is a struct.error."""
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02J\x01")
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
    with pytest.raises(RequestError, match="not a whole PyTorch checkpoint"):
        read_checkpoint(tmp_path / "weights.pt")


def test_safetensors_are_held_to_the_same(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2).to(torch.float8_e5m2)}, tmp_path / "weights.safetensors")
    with pytest.raises(RequestError, match="a is of float8_e5m2"):
        read_checkpoint(tmp_path / "weights.safetensors")


def test_sound_values_pass(tmp_path: Path) -> None:
    """Infinities of the checkpoint's own are told later, by the network that they do not fit."""
    whole = {"half": torch.ones(2, dtype=torch.float16), "double": torch.tensor([1e30, torch.inf], dtype=torch.float64)}
    torch.save({"state_dict": {**whole, "view": torch.ones(4, 4).t()}}, tmp_path / "weights.pt")
    assert set(read_checkpoint(tmp_path / "weights.pt")) == {"half", "double", "view"}


def test_keys_are_shown_in_one_line(tmp_path: Path) -> None:
    torch.save({"wei\nght\x1b[2J": torch.ones(1)}, tmp_path / "weights.pt")
    with pytest.raises(RequestError, match="unexpected: wei\ufffdght\ufffd") as caught:
        load_weights(torch.nn.Linear(2, 2), tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)
