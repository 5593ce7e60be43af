"""Advice on a small network. Oracle of the SQNR: numpy on what bare interpreters give."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import evit_mobile as em
from evit_mobile.advice import Advice, chart
from evit_mobile.advice.choice import choose, keeps
from evit_mobile.cli.advise import command
from tests.kits.interpreter import bare_outputs
from tests.kits.small_network import make

SETTINGS = em.RunSettings(runs=12, rounds=6, min_time_s=0)
FACTORY = "tests.kits.small_network:make"
IMAGES = 16


@pytest.fixture(scope="session")
def images() -> NDArray[np.float32]:
    """[16, 32, 32, 3]: smooth, as photographs are."""
    drawn = np.random.default_rng(1).standard_normal((IMAGES, 8, 8, 3)).astype(np.float32)
    return drawn.repeat(4, 1).repeat(4, 2)


@pytest.fixture(scope="session")
def calibration(images: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "images.npz"
    np.savez(path, images)
    return path


@pytest.fixture(scope="session")
def advice(calibration: Path) -> Advice:
    options = em.ConvertOptions(resolution=em.Resolution(32, 32), calibration=str(calibration))
    return em.advise(make(), em.Place("host", SETTINGS), options=options)


def test_sqnr_is_that_of_the_inputs_held_out(advice: Advice, images: NDArray[np.float32]) -> None:
    """The fourth, eighth, … image. Tolerance: both run the same kernels, which give equal values."""
    files = {option.precision: option.conversion for option in advice.options}
    fp32 = files[em.Precision.FP32]
    assert fp32 is not None and advice.tested_on.startswith(f"{IMAGES // 4} calibration inputs")
    expected = bare_outputs(fp32.content, images[3::4])
    for option in advice.options[1:]:
        assert option.conversion is not None and option.sqnr_db is not None, option.refusal
        noise = np.sum((bare_outputs(option.conversion.content, images[3::4]) - expected) ** 2)
        assert option.sqnr_db == pytest.approx(10 * math.log10(np.sum(expected**2) / noise), abs=0.01)


def test_int8_is_calibrated_on_the_other_inputs(advice: Advice, images: NDArray[np.float32], tmp_path: Path) -> None:
    """Oracle: a conversion that is calibrated on these alone."""
    np.savez(tmp_path / "others.npz", np.delete(images, np.s_[3::4], axis=0))
    alone = em.convert(make(), resolution=32, precision="int8", calibration=tmp_path / "others.npz")
    int8 = next(option.conversion for option in advice.options if option.precision is em.Precision.INT8)
    assert int8 is not None
    np.testing.assert_array_equal(bare_outputs(int8.content, images[3::4]), bare_outputs(alone.content, images[3::4]))


def test_the_choice_is_the_fastest_that_keeps_what_is_asked_for(advice: Advice) -> None:
    for bound in (20.0, 40.0, 55.0, 190.0):
        requirement = em.Requirement(min_sqnr_db=bound)
        chosen = choose(advice.options, requirement)
        assert chosen is not None and chosen.value is not None
        held = [
            option
            for option in advice.options
            if option.sqnr_db is not None and (option.sqnr_db >= bound or option.precision is em.Precision.FP32)
        ]
        assert chosen in held
        assert [keeps(option, advice.options[0], requirement) for option in advice.options] == [
            option in held for option in advice.options
        ]
    assert choose(advice.options, em.Requirement(min_sqnr_db=190.0)) is advice.options[0]


def test_what_no_other_file_beats_is_on_the_front(advice: Advice) -> None:
    front = advice.front()
    assert front
    for option in advice.options:
        assert option.value is not None and option.sqnr_db is not None
        beaten = any(
            other.value is not None and other.sqnr_db is not None
            and other.value <= option.value and other.sqnr_db >= option.sqnr_db and other is not option
            for other in advice.options
        )  # fmt: skip
        assert (option in front) is not beaten


def test_sentence_and_chart(advice: Advice, tmp_path: Path) -> None:
    assert advice.sentence().startswith(f"Ship {advice.chosen.precision}: ") and "estimated" not in advice.sentence()
    assert chart(advice, "png").startswith(b"\x89PNG") and b"</svg>" in chart(advice, "svg")
    saved = advice.save(tmp_path / "best.tflite")
    assert advice.chosen.conversion is not None and saved.read_bytes() == advice.chosen.conversion.content


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(command, list(map(str, arguments)))


def test_command_writes_the_advised_file_and_refuses_int8_without_calibration(tmp_path: Path) -> None:
    out, results = tmp_path / "best.tflite", tmp_path / "results.json"
    common = ("--resolution", 32, "--rounds", 2, "--runs", 2, "--out", out, "--results", results)
    done = _run("--model", FACTORY, "--json", *common)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    int8 = document["options"][-1]
    assert int8["precision"] == "int8" and "needs calibration data" in int8["refusal"] and "latency_us" not in int8
    assert document["options"][0]["latency_us"]["median"] > 0
    assert document["tested_on"] == "noise and a photograph"
    assert document["out"] == str(out) and out.exists() and results.exists()
    table = _run("--model", FACTORY, *common, "--force")
    assert "int8 needs calibration data" in " ".join(table.stdout.split()) and "advised" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-drop", 0.5), "a drop of accuracy needs pictures with answers"),
        (("--limit", 5), "--labels and --limit are for --data"),
        (("--chart", "chart.gif"), "chart.gif is no kind of picture"),
        (("--calibration", "nowhere"), "calibration data nowhere does not exist"),
        (("--device", "abacus"), "there is no device kind 'abacus'"),
    ],
)
def test_requests_that_cannot_be_met(arguments: tuple[object, ...], message: str) -> None:
    done = _run("--model", FACTORY, "--resolution", 32, *arguments)
    assert isinstance(done.exception, em.RequestError) and message in str(done.exception)
