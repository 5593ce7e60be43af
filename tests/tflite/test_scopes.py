"""Blocks of the network by the paths in tensors' names. Oracle: the PyTorch module's own names."""

from __future__ import annotations

from pathlib import Path

import pytest

from evit_mobile.models import find_model
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph, Op, Tensor
from evit_mobile.tflite.scopes import blocks_of


def _chain(*names: str) -> Graph:
    """Ops that follow each other; each name is that of an op's output."""
    tensors = [Tensor(number, name, (1,), "float32") for number, name in enumerate(("image", *names))]
    ops = [Op(number, "ADD", 1, (number,), (number + 1,), {}, True) for number in range(len(names))]
    return Graph(tensors, ops, (0,), (len(names),), 1)


def test_blocks_are_the_modules_of_the_network(small_tflite: Path) -> None:
    graph = Tflite.read(small_tflite).graph
    blocks = blocks_of(graph)
    modules = dict(find_model("base-r192").build().named_modules())
    assert set(blocks) == {op.index for op in graph.ops}
    assert set(blocks.values()) <= set(modules)
    parts = [f"backbone.{part}" for part in ("stem", *(f"stages.{stage}" for stage in range(4)))]
    children = {f"{part}.{name}" for part in parts for name, _ in modules[part].named_children()}
    assert set(blocks.values()) == {*children, "head"}
    # They follow each other in the order of the network.
    assert list(dict.fromkeys(blocks.values())) == [name for name in modules if name in {*children, "head"}]


@pytest.mark.parametrize(
    ("names", "blocks"),
    [
        (("/m/stem/Conv_output", "/m/layers/layers.0/conv/Conv_output"), ["stem", "layers.0"]),
        # An activation that is named for the convolution that reads it belongs to the one before.
        (("/m/layers.0/Conv_output", "/m/layers.1/Conv_input_nhwc", "/m/layers.1/Conv_output"), ["layers.0"] * 2),
        (("/m/f/f.0/f.0.1/Conv_output", "/m/f/f.1/conv/conv.0/Conv_output"), ["f.0.1", "f.1"]),
        (("/m/a.0/Conv_output", "/m/a.1/Conv_output", "logits"), ["a.0", "a.1", "a.1"]),
    ],
)
def test_names_become_blocks(names: tuple[str, ...], blocks: list[str]) -> None:
    found = blocks_of(_chain(*names))
    assert [found[index] for index in range(len(blocks))] == blocks


@pytest.mark.parametrize("names", [(), ("conv", "add"), ("/m/x/Conv", "/m/x/Add")])
def test_files_without_paths_have_no_blocks(names: tuple[str, ...]) -> None:
    assert blocks_of(_chain(*names)) == {}
