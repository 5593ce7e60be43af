"""timm's models: what the adapter adds to them, and what it says when it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from converters.options import ConvertOptions, versions
from converters.pipeline import convert_cached
from evit_mobile.errors import RequestError
from evit_mobile.models.zoo import load_zoo_model
from evit_mobile.specs import Resolution

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "efficientvit_b0", "mobilevit_xs", "vit_small_patch16_224"])
def test_activations_keep_their_scale(name: str) -> None:
    """A trained network's activations are of the order of 1 to 100, and its answer depends on the image."""
    source = load_zoo_model(f"timm:{name}")
    largest: list[float] = []
    for layer in source.module.modules():
        layer.register_forward_hook(lambda _layer, _inputs, out: largest.append(float(out.detach().abs().max())))
    size = (1, 3, source.resolution.height, source.resolution.width)
    first, second = (source.module(torch.randn(size, generator=torch.Generator().manual_seed(seed))) for seed in (1, 2))
    assert 1 < max(largest) < 1000
    assert (first - second).std() > 0.05 * first.std()


def test_nothing_is_neutral() -> None:
    source = load_zoo_model("timm:mobilenetv3_large_100")
    for layer in source.module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            assert layer.running_mean.abs().max() > 0.01 and (layer.running_var - 1).abs().max() > 0.01
            assert layer.weight.std() > 0.05 and layer.bias.std() > 0.01
    vit = load_zoo_model("timm:vit_small_patch16_224").module
    assert all(parameter.std() > 0.01 for parameter in vit.parameters())


def test_a_seed_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        module = load_zoo_model("timm:mobilenetv3_small_050", seed=seed).module
        return torch.cat([value.flatten() for value in module.state_dict().values() if value.is_floating_point()])

    before = torch.get_rng_state()
    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    assert torch.equal(before, torch.get_rng_state())


def test_preprocessing_and_resolution_are_timms() -> None:
    source = load_zoo_model("timm:efficientnet_b1")
    config = timm.data.resolve_model_data_config(source.module)
    assert (3, source.resolution.height, source.resolution.width) == config["input_size"]
    ours = source.preprocessing
    assert (ours.mean, ours.std, ours.crop_fraction, ours.interpolation) == (
        config["mean"],
        config["std"],
        config["crop_pct"],
        config["interpolation"],
    )


def test_weights_do_not_depend_on_the_resolution() -> None:
    one, other = (
        load_zoo_model("timm:mobilenetv3_small_050", resolution).module for resolution in (None, Resolution(64, 96))
    )
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_vision_transformers_are_built_for_a_resolution() -> None:
    source = load_zoo_model("timm:vit_small_patch16_224", Resolution(64, 96))
    assert source.module(torch.zeros(1, 3, 64, 96)).shape == (1, 1000)


def test_a_tag_is_part_of_the_name() -> None:
    assert load_zoo_model("timm:efficientvit_b1.r288_in1k").resolution == Resolution(288, 288)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:mobilenetv3_large", "did you mean timm:mobilenetv3_large_100"),
        ("timm:", "no model ''"),
        ("timm:zzzzzz", "list_models"),
        ("timm:resnet50.no_such_tag", "no_such_tag.*tags of this model:.*a1_in1k"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_zoo_model(name)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(RequestError, match=r"evit-mobile\[timm\]"):
        load_zoo_model("timm:resnet18")


def test_pretrained_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's client is told that it is offline, and its cache is empty."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RequestError, match="could not get the weights of mobilenetv2_100.*--weights FILE"):
        load_zoo_model("timm:mobilenetv2_100+pretrained")


def test_conversions_are_cached_and_name_timms_version(cache: Path) -> None:
    options = ConvertOptions(Resolution(64, 64))
    assert convert_cached("timm:mobilenetv3_small_050", options) == convert_cached(
        "timm:mobilenetv3_small_050", options
    )
    assert versions()["timm"] == timm.__version__
