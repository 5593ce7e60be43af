"""The paper's models: counted figures beside the paper's, and blocks beside their equations."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from evit_mobile.cli.models import command as models_command
from evit_mobile.errors import RequestError
from evit_mobile.models import all_models, find_model
from evit_mobile.models.counting import count_macs, count_parameters
from evit_mobile.models.efficientvit import ReluLinearAttention, base_config, initialise
from evit_mobile.specs import Resolution

#: Table 3 of the paper: params M, MACs M. Typed in here once more, so that a slip in the registry is seen.
TABLE_3 = {"base-r192": (7.9, 304), "base-r224": (7.9, 406), "base-r224-w1.2": (10.9, 584)}


@pytest.mark.parametrize("name", TABLE_3)
def test_counts_are_the_papers(name: str) -> None:
    """MACs within 2 %, parameters within 3 %: what the unstated head widths leave open."""
    spec = find_model(name)
    module = spec.build()
    params_m, macs_m = TABLE_3[name]
    assert count_parameters(module) / 1e6 == pytest.approx(params_m, rel=0.03)
    assert count_macs(module, spec.resolution) / 1e6 == pytest.approx(macs_m, rel=0.02)


def test_macs_of_known_layers() -> None:
    """The counter against arithmetic: 1x1 conv 8→4 on 10x6, then a 3x3 depthwise on it."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert count_macs(net, Resolution(10, 6)) == 60 * (3 * 4 + 4 * 9)


def test_models_json_has_the_stated_keys() -> None:
    rows = json.loads(CliRunner().invoke(models_command, ["--json"]).stdout)
    assert [row["name"] for row in rows] == [spec.name for spec in all_models()]
    for row in rows:
        assert {"name", "params_m", "macs_m", "paper_params_m", "paper_macs_m"} <= row.keys()


def test_attention_is_equation_3() -> None:
    """Linear attention equals the quadratic form of equation (3), with Sim(q, k) = relu(q)·relu(k); float64, so 1e-9 is
    rounding.
    """
    torch.manual_seed(0)
    layer = ReluLinearAttention(24, heads=3, head_dim=8).double().eval()
    initialise(layer, 1)
    x = torch.randn(2, 24, 5, 7, dtype=torch.float64)
    q, k, v = layer.qkv(layer.norm(x)).flatten(2).unflatten(1, (3, 3, 8)).unbind(1)
    similarity = torch.einsum("bhdi,bhdj->bhij", q.relu(), k.relu())
    weights = similarity / (similarity.sum(-1, keepdim=True) + layer.eps)
    expected = x + layer.proj(torch.einsum("bhij,bhdj->bhdi", weights, v).flatten(1, 2).unflatten(2, (5, 7)))
    torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)


def test_attention_of_silent_queries_is_zero() -> None:
    """All q below zero: 0 / (0 + eps) is 0, not NaN."""
    layer = ReluLinearAttention(8, heads=1, head_dim=8).eval()
    with torch.no_grad():
        layer.qkv.bias[:8] = -1e3
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(layer(x), x + layer.proj.bias[:, None, None])


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (224, 224)])
def test_any_resolution_that_divides_by_32(size: tuple[int, int]) -> None:
    module = find_model("base-r224").build().to("meta").eval()
    assert module(torch.empty(1, 3, *size, device="meta")).shape == (1, 1000)


def test_width_multiplier_rounds_as_mobilenet() -> None:
    config = base_config(1.2)
    assert (config.stem_width, config.stage_widths, config.heads) == (24, (32, 56, 112, 232), (14, 29))


def test_seeds_decide_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        module = find_model("base-r192").build()
        initialise(module, seed)
        return torch.cat([tensor.flatten() for tensor in module.state_dict().values() if tensor.is_floating_point()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean base-r224"):
        find_model("base-224")
    with pytest.raises(RequestError, match="known: base-r192"):
        find_model("zzz")
