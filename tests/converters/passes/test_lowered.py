"""What counts in the end: the rewritten graph lowered to TFLite is one delegate partition, and LiteRT computes what
PyTorch computes.

The op counts are part of the test: an update of the converter or of the runtime that changes them is seen here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from converters.lowering.lower import Lowering
from converters.parity.layout import from_file
from converters.passes import ATTENTION_FORMS
from converters.tflite.partitions import read_partitioning
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.specs import Resolution
from tests.kits.graphs import Attention, attentions, export, noise, relative_error, rewrite, seeded

LITERT = RUNTIMES["litert"]
#: name, resolution, TFLite ops. All of them are one partition with no op outside.
MODELS = [
    ("base-r192", None, 399),
    ("base-r224", None, 399),
    ("base-r224-w1.2", None, 399),
    ("base-r224", "512", 419),
    ("base-r224", "512x1024", 423),
    ("timm:efficientvit_b0", "224", 212),
    ("timm:efficientvit_b0", "288", 212),
    ("timm:efficientvit_b1", "224", 331),
    ("timm:efficientvit_b1", "288", 331),
    ("timm:efficientvit_b2", "224", 456),
    ("timm:efficientvit_b2", "288", 456),
    ("timm:mobilenetv3_large_100", None, 166),
    ("timm:efficientnet_b0", None, 250),
    ("timm:vit_tiny_patch16_224", "64", 581),
    ("timm:mobilevit_xxs", "128", 562),
    ("timm:resnet18", "64", 37),
]


@pytest.mark.parametrize("runtime", ["litert", "litert-latest"])
@pytest.mark.parametrize(("name", "resolution", "count"), MODELS)
def test_one_partition(
    name: str,
    resolution: str | None,
    count: int,
    runtime: str,
    converted: Callable[..., Path],
    installed: Callable[[str], Runtime],
) -> None:
    path = converted(name, resolution=None if resolution is None else Resolution.parse(resolution))
    with installed(runtime).open(path) as session:
        parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
        names = [op.name for op in session.ops() if op.name != "DELEGATE"]
    assert (parts.count, parts.undelegated) == (1, ())
    assert not {"GATHER", "PADV2", "RELU_0_TO_1", "STRIDED_SLICE", "SHAPE"} & set(names)
    assert len(names) == count


class Zoo(nn.Module):
    """Many attention layers side by side, each with its input and its output, so that one lowering serves them all."""

    def __init__(self, layers: list[Attention]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        # Between convolutions, as in a network, so that layouts meet at the edges as they do there.
        self.before = nn.ModuleList(nn.Conv2d(layer.shape.channels, layer.shape.channels, 1) for layer in layers)
        self.after = nn.ModuleList(nn.Conv2d(layer.shape.channels, 5, 1) for layer in layers)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        branches = zip(self.before, self.layers, self.after, inputs)
        return tuple(after(layer(before(x))) for before, layer, after, x in branches)


@settings(
    max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(layers=st.lists(attentions(), min_size=12, max_size=12))
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=[] if form in ("auto", "gram-matmul") else [pytest.mark.slow])
        for form in ATTENTION_FORMS
    ],
)
def test_every_form_in_litert(form: str, layers: list[Attention], tmp_path: Path) -> None:
    module = seeded(Zoo(layers))
    images = [layer.shape.image for layer in layers]
    with Lowering() as lowering:
        rewritten, reports = rewrite(export(module, *images, outputs=len(images)), form)
        assert reports["linear-attention"].fired == len(layers)
        path = tmp_path / "zoo.tflite"
        path.write_bytes(lowering.lower(rewritten))
    inputs = [noise(image, seed) for seed, image in enumerate(images)]
    with torch.no_grad():
        expected = [value.numpy() for value in module.double()(*(torch.from_numpy(value).double() for value in inputs))]
    with LITERT.open(path) as session:
        by_name = {info.name.removeprefix("serving_default_").removesuffix(":0"): info for info in session.inputs}
        channels_last = {
            f"x{number}": np.ascontiguousarray(value.transpose(0, 2, 3, 1)) for number, value in enumerate(inputs)
        }
        results = dict(zip(session.output_names(), session.run([channels_last[name] for name in by_name])))
        parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
    assert (parts.count, parts.undelegated) == (1, ())
    for number, value in enumerate(expected):
        # The bound of ``verify``: where a query is nearly silent, float32 sums in another order part by more than
        # roundings.
        assert relative_error(value.ravel(), from_file(results[f"y{number}"], value.shape, None).ravel()) <= 1e-4, (
            layers[number]
        )
