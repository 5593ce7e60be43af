"""Checkpoints: what loads, and a clear line for each way of not fitting."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from evit_mobile.errors import RequestError
from evit_mobile.weights import load_weights, read_checkpoint


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_pth_loads(tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], object]) -> None:
    source, net = _net(), _net()
    torch.save(wrap(source.state_dict()), tmp_path / "a.pth")
    load_weights(net, tmp_path / "a.pth")
    assert torch.equal(net[0].weight, source[0].weight)


def test_safetensors_loads(tmp_path: Path) -> None:
    source, net = _net(), _net()
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    load_weights(net, tmp_path / "a.safetensors")
    assert torch.equal(net[0].weight, source[0].weight)


def test_every_misfit_is_counted_and_named(tmp_path: Path) -> None:
    state = _net().state_dict()
    state["extra"] = state.pop("0.bias")
    state["0.weight"] = torch.zeros(5, 3, 1, 1)
    state["1.bias"] = torch.full((4,), torch.nan)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(RequestError) as caught:
        load_weights(_net(), tmp_path / "a.pt")
    for part in (
        "1 missing: 0.bias",
        "1 unexpected: extra",
        "1 mis-shaped: 0.weight (5, 3, 1, 1) instead of (4, 3, 1, 1)",
        "1 not finite",
    ):
        assert part in str(caught.value)


class _Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": _Attack(tmp_path / "owned")}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(_Attack(tmp_path / "owned")))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(RequestError, match="refused|not a whole"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 300])
def test_truncated(tmp_path: Path, ending: str, keep: int) -> None:
    path = tmp_path / f"a{ending}"
    (save_file if ending == ".safetensors" else torch.save)(_net().state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RequestError):
        read_checkpoint(path)


def test_other_things_are_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="do not exist"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(RequestError, match="not a file"):
        read_checkpoint(tmp_path)
    (tmp_path / "a.h5").write_bytes(b"x")
    with pytest.raises(RequestError, match="unknown ending"):
        read_checkpoint(tmp_path / "a.h5")
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(RequestError, match="no table of tensors"):
        read_checkpoint(tmp_path / "a.pt")
