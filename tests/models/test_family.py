"""Detectors, segmenters, softmax twins and one-layer models: figures beside the paper's, and parts beside other
people's code.
"""

from __future__ import annotations

import json
import math

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from converters.source.load import load_source
from evit_mobile.cli.models import command as models_command
from evit_mobile.errors import RequestError
from evit_mobile.models import all_models, find_model
from evit_mobile.models.counting import count_macs
from evit_mobile.models.efficientvit import SoftmaxAttention, attention_macs, initialise
from evit_mobile.models.heads import LARGEST_LOG_SIZE, DetectionHead, decode_boxes, enlarge
from evit_mobile.models.registry import with_variants
from evit_mobile.specs import Resolution

#: Tables 1 and 2 of the paper, MACs in M. Typed in here once more, so that a slip in the registry is seen.
TABLES = {
    "det-r416": 2100,
    "det-r512": 3200,
    "det-r608": 4400,
    "seg-r1408": 9100,
    "seg-r1536": 10800,
    "seg-r2048": 19100,
}


def _macs(name: str, resolution: Resolution | None = None) -> int:
    spec = find_model(name)
    resolution = resolution or spec.resolution
    return count_macs(spec.build(resolution), resolution, spec.channels)


@pytest.mark.parametrize("name", TABLES)
def test_macs_are_the_papers(name: str) -> None:
    assert _macs(name) / 1e6 == pytest.approx(TABLES[name], rel=0.03)


@pytest.mark.parametrize("name", ["base-r192", "base-r224", "base-r224-w1.2", "det-r416", "det-r512", "det-r608"])
def test_a_softmax_twin_has_similar_macs(name: str) -> None:
    assert _macs(f"{name}+softmax") == pytest.approx(_macs(name), rel=0.05)


@pytest.mark.parametrize("variant", ["vanilla", "softmax+vanilla"])
def test_vanilla_attention_has_similar_macs(variant: str) -> None:
    assert _macs(f"base-r224+{variant}") == pytest.approx(_macs("base-r224"), rel=0.05)


@pytest.mark.parametrize("side", [12, 14, 20, 28, 32, 48, 56, 64, 96, 128])
def test_matched_heads_have_the_macs_of_softmax(side: int) -> None:
    resolution = Resolution(side, side)
    assert _macs("attention-linear+matched", resolution) == pytest.approx(
        _macs("attention-softmax", resolution), rel=0.05
    )


@pytest.mark.parametrize(("name", "growth"), [("attention-linear", 4), ("attention-softmax", 13.5)])
def test_growth_with_tokens(name: str, growth: float) -> None:
    """From 32x32 to 64x64 tokens, 4 times as many: 4 times the MACs where they are linear; by arithmetic for the
    softmax.
    """
    assert _macs(name, Resolution(64, 64)) / _macs(name, Resolution(32, 32)) == pytest.approx(growth, rel=0.05)


@pytest.mark.parametrize(("kind", "name"), [("linear", "attention-linear"), ("softmax", "attention-softmax")])
def test_attention_macs_are_those_counted(kind: str, name: str) -> None:
    heads, head_dim = (12, 16) if kind == "linear" else (13, 8)
    assert attention_macs("linear" if kind == "linear" else "softmax", 15, 96, heads, head_dim) == _macs(
        name, Resolution(3, 5)
    )


def test_softmax_attention_is_pytorchs() -> None:
    """Against scaled_dot_product_attention, N equal to the head dimension among others; float64, so 1e-9 is
    rounding.
    """
    torch.manual_seed(0)
    layer = SoftmaxAttention(24, heads=3, head_dim=8).double().eval()
    initialise(layer, 1)
    for height, width in ((5, 7), (2, 4), (1, 1)):
        x = torch.randn(2, 24, height, width, dtype=torch.float64)
        q, k, v = layer.qkv(layer.norm(x)).flatten(2).unflatten(1, (3, 3, 8)).transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(2, 24, height, width)
        torch.testing.assert_close(layer(x), x + layer.proj(attended), rtol=1e-9, atol=1e-9)


def test_a_box_is_decoded_as_by_hand() -> None:
    """32x64 image. On the coarsest level (stride 32) the second cell: centre (1 + 0.5, 0 + 0.25) * 32, size (exp(0),
    exp(ln 2)) * 32.
    """
    raw = [
        tuple(torch.zeros(1, 32 // stride, 64 // stride, channels) for channels in (2, 2, 1, 3))
        for stride in (8, 16, 32)
    ]
    centre, size, objectness, classes = raw[2]
    centre[0, 0, 1] = torch.tensor([0.5, 0.25])
    size[0, 0, 1] = torch.tensor([0.0, math.log(2)])
    objectness[0, 0, 1], classes[0, 0, 1] = 2.0, torch.tensor([0.0, 1.0, -1.0])
    boxes, scores = decode_boxes([(a, b, c, d) for a, b, c, d in raw])
    assert boxes.shape == (1, 4 * 8 + 2 * 4 + 2, 4) and scores.shape == (1, 42, 3)
    assert boxes[0, 41].tolist() == pytest.approx([48 - 16, 8 - 32, 48 + 16, 8 + 32])
    expected = torch.sigmoid(torch.tensor([0.0, 1.0, -1.0])) * torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(scores[0, 41], expected)
    # The first level comes first, row by row: place 9 is row 1, column 1, of stride 8.
    assert boxes[0, 9].tolist() == [4, 4, 12, 12]


def test_a_box_has_a_largest_size() -> None:
    raw = [tuple(torch.full((1, 4, 4, channels), 200.0) for channels in (2, 2, 1, 2)) for _ in range(3)]
    boxes, scores = decode_boxes([(a, b, c, d) for a, b, c, d in raw])
    assert torch.isfinite(boxes).all() and torch.isfinite(scores).all()
    width = boxes[0, 0, 2] - boxes[0, 0, 0]
    assert float(width) == pytest.approx(8 * 2.718281828**LARGEST_LOG_SIZE, rel=1e-5)


def test_raw_heads_hold_what_is_decoded() -> None:
    torch.manual_seed(0)
    decoded, raw = DetectionHead(8, 3).eval(), DetectionHead(8, 3, decode=False).eval()
    raw.load_state_dict(decoded.state_dict())
    pyramid = (torch.randn(1, 8, 8, 4), torch.randn(1, 8, 4, 2), torch.randn(1, 8, 2, 1))
    maps = raw(pyramid)
    levels = [(maps[at], maps[at + 1], maps[at + 2], maps[at + 3]) for at in (0, 4, 8)]
    for ours, theirs in zip(decoded(pyramid), decode_boxes(levels), strict=True):
        assert torch.equal(ours, theirs)


def test_enlarging_keeps_pixel_centres() -> None:
    """A ramp whose value is the pixel's centre stays that, away from the border."""
    ramp = (torch.arange(8.0) + 0.5).expand(1, 1, 8, 8)
    larger = enlarge(ramp, 4)
    torch.testing.assert_close(larger[0, 0, 16, 4:-4], (torch.arange(4.0, 28.0) + 0.5) / 4)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("det-r416", [(1, 84, 4), (1, 84, 80)]),
        ("det-r416+raw-heads", [shape for side in (8, 4, 2) for shape in ((1, side, side, c) for c in (2, 2, 1, 80))]),
        ("seg-r1408", [(1, 8, 8, 19)]),
        ("seg-r1408+upsample", [(1, 64, 64, 19)]),
        ("seg-r1408+argmax", [(1, 8, 8)]),
        ("seg-r1408+argmax+upsample", [(1, 64, 64)]),
    ],
)
def test_outputs_have_their_names_and_shapes(name: str, shapes: list[tuple[int, ...]]) -> None:
    spec = find_model(name)
    outputs = spec.build().to("meta").eval()(torch.empty(1, 3, 64, 64, device="meta"))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert [tuple(output.shape) for output in outputs] == shapes
    assert len(spec.outputs) == len(shapes)


@pytest.mark.parametrize("name", ["det-r416", "seg-r1408"])
@pytest.mark.parametrize("level", [-2.0, 0.0, 2.4])
def test_seeded_outputs_stay_in_range(name: str, level: float) -> None:
    """Noise, and flat images of black to white: no output that float16 could not hold."""
    source = load_source(name, Resolution(64, 64))
    assert source.module is not None
    for image in (
        torch.full((1, 3, 64, 64), level),
        torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
    ):
        outputs = source.module(image)
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            assert torch.isfinite(output).all() and output.abs().max() < 60000 and output.std() > 0


def test_seeded_weights_do_not_depend_on_the_resolution() -> None:
    one, other = (load_source("det-r416", Resolution(side, side)).module for side in (64, 96))
    assert one is not None and other is not None
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_variants_have_one_name() -> None:
    assert (
        find_model("seg-r1408+argmax+upsample").name
        == find_model("seg-r1408+upsample+argmax").name
        == "seg-r1408+upsample+argmax"
    )
    assert find_model("seg-r1408+argmax").outputs == ("classes",)
    assert find_model("base-r192+softmax").paper is None
    assert not any("+" in spec.name for spec in all_models())


def test_an_unknown_variant_names_the_known() -> None:
    with pytest.raises(
        RequestError, match=r"base-r192 has no variant 'argmax' .its variants: base-r192\+softmax, base-r192\+vanilla"
    ):
        find_model("base-r192+argmax")
    with pytest.raises(RequestError, match="its variants: none"):
        find_model("attention-softmax+softmax")
    with pytest.raises(RequestError, match="--softmax is for the models that evit-mobile models lists"):
        with_variants("net.onnx", ["softmax"])
    assert with_variants("net.onnx", []) == "net.onnx"
    assert with_variants("det-r416", ["raw-heads"]) == "det-r416+raw-heads"


def test_tables_and_figure_are_counted() -> None:
    """MACs of networks that we did not write, within 3 % of the paper's; ConViT's and MobileViT's are not, by any
    counter.
    """
    pytest.importorskip("timm")
    counted = json.loads(CliRunner().invoke(models_command, ["--paper", "--json"]).stdout)
    rows = {row["title"]: row for row in counted["tables"]}
    # timm's own result tables state 1.26 G and 1.05 G for these two: the paper's 1.0 G and 0.7 G count something else.
    for title in rows.keys() - {"ConViT-Tiny", "MobileViT-XS"}:
        assert rows[title]["macs_m"] == pytest.approx(rows[title]["paper_macs_m"], rel=0.03), title
    # Tables 1 and 2: the paper's parameters are beyond what convolutions of its MACs can hold, and ours are not.
    bounded = [row for row in rows.values() if row["params_bound_m"] is not None]
    assert len(bounded) == 6
    for row in bounded:
        assert row["params_m"] < row["params_bound_m"] < row["paper_params_m"]
        assert (
            row["macs_deviation"] == pytest.approx(row["macs_m"] / row["paper_macs_m"] - 1)
            and abs(row["macs_deviation"]) < 0.03
        )
    figure = counted["figure_1_middle"]
    transformer, convolutional = figure["macs_m"].values()
    # 4.6 G and 11.5 G at 224: what timm's own result tables state.
    assert (transformer[0], convolutional[0]) == (pytest.approx(4600, rel=0.01), pytest.approx(11500, rel=0.01))
    growth = (figure["sides"][-1] / figure["sides"][0]) ** 2
    assert convolutional[-1] / convolutional[0] == pytest.approx(growth, rel=0.01)
    assert transformer[-1] > convolutional[-1] and figure["overtaken_at"] == 1024
