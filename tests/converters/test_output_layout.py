"""Outputs of rank 4 are in the layout that was asked for, whatever the last op is and whether or not the shape tells
it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.options import ConvertOptions
from converters.parity.reference import SourceRequest
from converters.parity.verify import verify_model
from converters.pipeline import convert_in_memory
from converters.source.load import module_source
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import OutputLayout, Resolution
from evit_mobile.tflite.description import read_description
from evit_mobile.tflite.graph import read_graph

#: Convolution, softmax over channels, a matrix product's map, the same where C = H = W, tokens, and pooled features.
RANKS = (4, 4, 4, 4, 3, 4)


class Outputs(nn.Module):
    """[1, 3, 32, 32] -> outputs that the lowering orders by different last ops."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide, self.cube = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(3, 16, 3, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        wide, cube = self.wide(image), self.cube(image)
        tokens = wide.flatten(2)
        mixed = (tokens @ tokens.transpose(1, 2) @ tokens).reshape(wide.shape)
        rows = cube.flatten(2)
        cubed = (rows @ rows.transpose(1, 2) @ rows).reshape(cube.shape)
        return wide, wide.softmax(1), mixed, cubed, tokens, wide.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("layout", OutputLayout)
def test_layout(layout: OutputLayout, tmp_path: Path) -> None:
    module = Outputs().eval().requires_grad_(False)
    source = module_source(module, Resolution(32, 32))
    path = convert_in_memory(source, ConvertOptions(output_layout=layout)).save(tmp_path / "model.tflite")
    image = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 32, 32), np.float32))
    with RUNTIMES["litert"].open(path) as session:
        values = dict(zip(session.output_names(), session.run([image.permute(0, 2, 3, 1).contiguous().numpy()])))
    for number, (expected, rank) in enumerate(zip(module(image), RANKS, strict=True)):
        value = expected.permute(0, 2, 3, 1) if layout is OutputLayout.NHWC and rank == 4 else expected
        # 1e-4 of the largest value: what verify allows a float32 file.
        tolerance = 1e-4 * float(value.abs().max())
        np.testing.assert_allclose(values[f"output_{number}"], value.numpy(), rtol=0, atol=tolerance)
    description = read_description(path)
    assert description is not None and description.output_layout is layout
    assert verify_model(path, SourceRequest(source=source)).passed
    if layout is OutputLayout.NHWC:
        # The softmax, which the lowering turns back to NCHW, is taken before that.
        graph = read_graph(path)
        (softmax,) = [op for op in graph.ops if op.type == "SOFTMAX"]
        assert softmax.outputs[0] in graph.outputs
