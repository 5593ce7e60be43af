"""The counts that are kept with the version, against the modules themselves."""

from __future__ import annotations

import pytest

from evit_mobile.models import all_models
from evit_mobile.models.counts import count_anew, counts_of
from evit_mobile.models.registry import ModelSpec

OURS = [spec for spec in all_models() if spec.builder.__module__.startswith("evit_mobile.")]


@pytest.mark.parametrize("spec", OURS, ids=lambda spec: spec.name)
def test_kept_counts_are_what_is_counted(spec: ModelSpec) -> None:
    assert counts_of(spec) == count_anew(spec)
