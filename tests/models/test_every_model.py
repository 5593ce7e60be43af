"""What holds for every registered model and each of its variants, and what each says to a request that is wrong. Found
in the registry.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from converters.source.load import load_source
from converters.source.outputs import flatten_outputs
from evit_mobile.errors import RequestError
from evit_mobile.models import ModelSpec, all_models, find_model
from evit_mobile.models.registry import VARIANT
from evit_mobile.specs import Resolution

NAMES = [
    VARIANT.join((spec.name, *chosen))
    for spec in all_models()
    for chosen in ((), *((variant,) for variant in spec.variants))
]


def _smallest(spec: ModelSpec) -> Resolution:
    """Not square: two coinciding sizes would hide that they changed places."""
    return Resolution(2 * max(spec.divisor, 2), 3 * max(spec.divisor, 2))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_registered(name: str) -> None:
    spec = find_model(name)
    resolution = _smallest(spec)
    module = spec.build(resolution).to("meta").eval()
    outputs = flatten_outputs(
        module(torch.empty(1, spec.channels, resolution.height, resolution.width, device="meta")), spec.outputs
    )
    assert tuple(outputs) == spec.outputs
    assert all(value.shape[0] == 1 for value in outputs.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_resolution_that_does_not_divide(name: str) -> None:
    divisor = find_model(name).divisor
    if divisor == 1:
        pytest.skip("takes any resolution")
    with pytest.raises(RequestError, match=f"does not divide by {divisor}.*nearest"):
        load_source(name, Resolution(10 * divisor, 10 * divisor + 1))


@pytest.mark.parametrize("name", [spec.name for spec in all_models()])
def test_another_models_weights(name: str, tmp_path: Path) -> None:
    torch.save({"nobody.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(RequestError, match=r"do not fit this model: \d+ missing: .*1 unexpected: nobody\.weight"):
        load_source(name, weights=tmp_path / "other.pt")


@pytest.mark.parametrize("name", [spec.name for spec in all_models()])
def test_weights_that_are_not_finite(name: str, tmp_path: Path) -> None:
    state = find_model(name).build().state_dict()
    key = next(key for key, value in state.items() if value.is_floating_point())
    torch.save({**state, key: torch.full_like(state[key], torch.inf)}, tmp_path / "broken.pt")
    with pytest.raises(RequestError, match=f"1 not finite: {key}"):
        load_source(name, weights=tmp_path / "broken.pt")


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_that_it_does_not_have(name: str) -> None:
    with pytest.raises(RequestError, match="has no variant 'quick'"):
        find_model(f"{name}{VARIANT}quick")


@pytest.mark.parametrize("spec", all_models(), ids=lambda spec: spec.name)
def test_a_slip_of_the_finger_is_put_right(spec: ModelSpec) -> None:
    with pytest.raises(RequestError, match=f"did you mean .*{spec.name}"):
        find_model(spec.name.replace("-", "_", 1))
