"""How what a module returns becomes named outputs."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from converters.source.outputs import flatten_outputs


class Pair(NamedTuple):
    """A named tuple, as detectors return."""

    boxes: torch.Tensor
    scores: torch.Tensor


def test_names() -> None:
    a, b, c, d = (torch.full((1,), float(value)) for value in range(4))
    assert list(flatten_outputs(a)) == ["output"]
    assert list(flatten_outputs((a, b))) == ["output_0", "output_1"]
    assert list(flatten_outputs({"x": a, 3: b})) == ["x", "3"]
    assert list(flatten_outputs(Pair(a, b))) == ["boxes", "scores"]
    assert list(flatten_outputs((a, b), ("first", "second"))) == ["first", "second"]
    nested = flatten_outputs([a, None, {"z": [b, None, c]}, Pair(d, a)])
    assert list(nested) == ["output_0", "output_2_z_0", "output_2_z_2", "output_3_boxes", "output_3_scores"]
    assert nested["output_2_z_2"] is c and nested["output_3_boxes"] is d


@pytest.mark.parametrize(
    ("value", "names", "message"),
    [
        (3, (), "returns a int"),
        ([torch.zeros(1), "x"], (), "output_1 is a str"),
        (torch.zeros(1), ("a", "b"), "expected a, b"),
        ([None, []], (), "no tensor"),
        ({"spectrum": torch.zeros(1, dtype=torch.complex64)}, (), "spectrum is complex"),
        ({"a": {"b": torch.zeros(1)}, "a_b": torch.zeros(1)}, (), "two outputs called a_b"),
    ],
)
def test_refused(value: object, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        flatten_outputs(value, names)
