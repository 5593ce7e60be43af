"""A .tflite that asks for memory without end is refused before a runtime zeroes what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.memory import MAX_BYTES, allowance_of, needed_bytes
from tests.kits.files import resized, small_network


def test_what_a_network_takes() -> None:
    """Its input and first map together, and the addresses of the convolution's windows and of the pool's one."""
    assert needed_bytes(small_network()) == 8 * 8 * (3 + 4) * 4 + 8 * 8 * 3 * 3 * 8 + 8 * 8 * 8


def test_maps_that_are_not_alive_together_share_memory() -> None:
    """And a graph that is there twice takes twice as much."""
    model = small_network()
    tensors = {tensor.name: tensor for tensor in model.subgraphs[0].tensors}
    before = needed_bytes(model)
    tensors[b"pooled"].shape, tensors[b"scores"].shape = [100], [400]
    assert needed_bytes(model) == before
    model.subgraphs.append(model.subgraphs[0])
    assert needed_bytes(model) == 2 * before


def test_ops_without_operands() -> None:
    """What nothing writes is there from the start."""
    model = small_network()
    for op in model.subgraphs[0].operators[:2]:
        op.outputs = None
    model.subgraphs[0].operators[3].inputs = None
    assert needed_bytes(model) == 8 * 8 * (3 + 4) * 4 + 4 * 4


def _map(model: Any) -> None:
    model.subgraphs[0].tensors[3].shape = [4_789_823, 8, 8, 4]


def _two_maps(model: Any) -> None:
    for index in (3, 4):
        model.subgraphs[0].tensors[index].shape = [1, 1, MAX_BYTES // 7, 4]


def _window(model: Any) -> None:
    model.subgraphs[0].operators[1].builtinOptions.filterWidth = 10**8


def _more_than_64_bits(model: Any) -> None:
    model.subgraphs[0].tensors[3].shape = [2**31 - 1] * 5


@pytest.mark.parametrize("change", [_map, _two_maps, _window, _more_than_64_bits])
def test_what_is_declared_has_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Any], None]
) -> None:
    model = small_network()
    change(model)
    path = tmp_path / "large.tflite"
    path.write_bytes(pack(model))
    for command in (["inspect", str(path)], ["bench", "--device", "host", str(path), "--out", str(tmp_path / "r")]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert (ended.value.code, captured.out) == (2, "") and "GB at one time, the limit is 4.29 GB" in line


def test_an_input_of_more_than_32_bits() -> None:
    """Sizes of the file are numbers of 32 bits, whose product is not."""
    model = small_network()
    model.subgraphs[0].tensors[0].shape = [1, 2**16, 2**16, 1]
    with pytest.raises(RequestError, match=f"has {2**32} elements, the limit is"):
        unpack(pack(model))


def test_what_is_computed_has_a_limit(tmp_path: Path) -> None:
    """A map of 10 GB that is declared as one of a kilobyte; the worker goes on to the next file."""
    large, small = tmp_path / "large.tflite", tmp_path / "small.tflite"
    large.write_bytes(pack(resized(25_000)))
    small.write_bytes(pack(resized(16)))
    assert MAX_BYTES < allowance_of(large) < MAX_BYTES + 2**20
    with pytest.raises(RequestError, match="cannot be loaded"), RUNTIMES["litert"].open(large):
        pass
    with RUNTIMES["litert"].open(small) as session:
        assert session.run([np.zeros((1, 8, 8, 4), np.float32)])[0].shape == (1, 16, 16, 4)
