"""The zoo benchmark leaves no architecture family of timm out without saying why."""

from __future__ import annotations

import timm

from benchmarks.zoo.families import FAMILIES, LEFT_OUT


def test_every_family_has_a_member_or_a_reason() -> None:
    assert FAMILIES.keys() | LEFT_OUT.keys() >= set(timm.list_modules())
    assert not FAMILIES.keys() & LEFT_OUT.keys()


def test_every_member_belongs_to_its_family() -> None:
    assert [model for family, model in FAMILIES.items() if model not in timm.list_models(module=family)] == []
