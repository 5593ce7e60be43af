"""Suite files: ours are sound, a user's that is not is refused in one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from android_bench.suites import schema as suites
from android_bench.suites.schema import load_suite
from evit_mobile.errors import RequestError
from evit_mobile.models import paper
from evit_mobile.models.registry import find_model
from evit_mobile.results.judge.claims import all_claims
from evit_mobile.specs import ModelName, Resolution

SOUND = """
title: Mine
along: resolution
series:
  - name: base
    models: [{model: base-r192, resolutions: [96, 64x128]}]
"""


@pytest.mark.parametrize("name", suites.names())
def test_our_suites_name_models_that_exist_at_sizes_that_they_take(name: str) -> None:
    suite = load_suite(name)
    for point in suite.points():
        model = point.place.model
        if ModelName.parse(model).kind != "zoo":
            point.resolution.check_multiple_of(find_model(model).divisor)
        assert (point.place.tokens is not None) == (suite.along == "tokens")


def test_every_claim_has_a_suite_and_every_figure_a_claim() -> None:
    figures = {load_suite(name).figure for name in suites.names()} - {None}
    assert {claim.figure for claim in all_claims()} == figures


def test_figure_2_left_has_like_macs_everywhere_and_figure_2_scaling_fixed_heads() -> None:
    by_tokens: dict[int, list[float]] = {}
    for point in load_suite("figure-2-left").points():
        by_tokens.setdefault(point.place.tokens or 0, []).append(paper.count(point.place.model, point.resolution)[1])
    for tokens, macs in by_tokens.items():
        assert len(macs) == 2 and max(macs) <= 1.05 * min(macs), tokens
    assert {point.place.model for point in load_suite("figure-2-scaling").points()} == {
        "attention-linear",
        "attention-softmax",
    }


def test_figure_1_middle_is_the_figure_that_models_counts() -> None:
    points = load_suite("figure-1-middle").points()
    assert {point.place.model for point in points} == set(paper.FIGURE_1_MODELS)
    assert {point.resolution for point in points} == {Resolution(side, side) for side in paper.FIGURE_1_SIDES}


def test_published_accuracies_of_our_models_are_the_papers() -> None:
    for point in load_suite("figure-5-left").points():
        if ModelName.parse(point.place.model).kind != "zoo":
            figures = find_model(point.place.model).paper
            assert (
                figures is not None
                and point.place.accuracy is not None
                and figures.top1 == point.place.accuracy.top1_percent
            )


def test_a_users_own_suite(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SOUND)
    suite = load_suite(str(path))
    assert (suite.name, len(suite.sha256)) == ("mine", 64)
    assert [point.name for point in suite.points()] == ["base-r192@96", "base-r192@64x128"]
    assert [point.name for point in suite.points(up_to=92)] == ["base-r192@64x128"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no fields"),
        ("- a", "holds no fields"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        (SOUND.replace("resolution\n", "rainbow\n"), "along"),
        (SOUND + "colour: red\n", "colour"),
        (SOUND + "name: x\n", "name"),
        (SOUND.replace("96", "96, 96"), "appears twice"),
        (SOUND.replace("96", "cat"), "resolution 'cat' is not a size"),
        (SOUND.replace("along: resolution", "along: top1"), "no top1"),
        (SOUND.replace("[96, 64x128]", "[96], top1: 77"), "source"),
        (SOUND.replace("[96, 64x128]", "[]"), "resolutions"),
        (SOUND + "measure: {rounds: 0}\n", "measure.rounds"),
    ],
)
def test_what_is_no_suite(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        load_suite(str(path))
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="figure-2-left"):
        load_suite("figure-9")
    with pytest.raises(RequestError, match="cannot be read"):
        load_suite(str(tmp_path / "absent.yaml"))
