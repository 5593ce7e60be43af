"""A convolution whose weights have other dimensions than its input: onnx reads past the end, and the process may
end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.onnx_reader import read
from evit_mobile.errors import RequestError


def _write(path: Path, weights: list[int], first: str = "Relu", sized: bool = True, **attributes: Any) -> Path:
    """``first`` and a convolution of its output by ``weights``."""
    nodes = [helper.make_node(first, ["image"], ["a"]), helper.make_node("Conv", ["a", "kernel"], ["b"], **attributes)]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8] if sized else [None] * 4)
    output = helper.make_tensor_value_info("b", TensorProto.FLOAT, [None] * 4)
    kernel = numpy_helper.from_array(np.zeros(weights, np.float32), "kernel")
    graph = helper.make_graph(nodes, "stranger", [image], [output], [kernel])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("weights", "attributes"),
    [
        ([4, 3, 3, 3, 3], {}),
        ([4, 3, 3, 3, 3], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ([4, 3, 3], {}),
        ([4, 3], {}),
        ([4, 3, 3, 3], {"pads": [1, 1]}),
        ([4, 3, 3, 3], {"dilations": [1]}),
        ([4, 3, 3, 3], {"kernel_shape": [3, 3, 3]}),
    ],
)
def test_weights_of_other_dimensions(tmp_path: Path, weights: list[int], attributes: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="does not fit its weights"):
        read(_write(tmp_path / "stranger.onnx", weights, **attributes), {})


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    path = _write(tmp_path / "stranger.onnx", [4, 3, 3, 3], name="secret")
    path.write_bytes(path.read_bytes().replace(b"secret", b"\xffecret"))
    with pytest.raises(RequestError, match="not UTF-8|not a whole"):
        read(path, {})


def test_sound_convolutions_are_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "sound.onnx", [4, 3, 3, 3], pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3])
    assert len(read(path, {}).graph.node) == 2
    of_free_sizes = _write(tmp_path / "free.onnx", [4, 3, 3, 3], sized=False)
    assert len(read(of_free_sizes, {"image": (1, 3, 8, 8)}).graph.node) == 2
