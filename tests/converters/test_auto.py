"""``--precision auto`` on a small network. Oracle of what a file keeps: numpy on what bare interpreters give."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import evit_mobile as em
from converters.alternatives import Convert, plain_options
from converters.auto import convert_fastest
from converters.quantize.prices import price_of, prices_for
from evit_mobile.cli.convert import command
from evit_mobile.specs import Core
from evit_mobile.tflite.file import Tflite
from tests.kits.interpreter import bare_outputs
from tests.kits.small_network import make

FACTORY = "tests.kits.small_network:make"


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    """[16, 32, 32, 3]: smooth, as photographs are."""
    drawn = np.random.default_rng(1).standard_normal((16, 8, 8, 3)).astype(np.float32)
    return drawn.repeat(4, 1).repeat(4, 2)


@pytest.fixture(scope="module")
def calibration(images: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "images.npz"
    np.savez(path, images)
    return str(path)


@pytest.fixture(scope="module")
def convert() -> Convert:
    """The small network with other options, each once."""
    made: dict[str, em.Conversion] = {}

    def once(options: em.ConvertOptions) -> em.Conversion:
        # A mix depends on its core, the others do not.
        options = dataclasses.replace(options, core=options.core if options.min_sqnr_db else Core.ARMV8_2)
        if repr(options) not in made:
            made[repr(options)] = em.convert(make(), options)
        return made[repr(options)]

    return once


@pytest.mark.parametrize(
    ("core", "bound_db"), [(Core.ARMV8_2, 30.0), (Core.X86_64, 30.0), (Core.X86_64, 42.0), (Core.ARMV8_0, 100.0)]
)
def test_the_file_keeps_the_bound_and_nothing_that_does_is_cheaper(
    core: Core, bound_db: float, convert: Convert, calibration: str, images: NDArray[np.float32]
) -> None:
    """Every fourth image is held out: the bound holds on those."""
    side = em.Resolution(32, 32)
    options = em.ConvertOptions(core=core, min_sqnr_db=bound_db, resolution=side, calibration=calibration)
    made = convert_fastest(convert, options)
    expected = bare_outputs(
        convert(em.ConvertOptions(resolution=side, precision=em.Precision.FP32)).content, images[3::4]
    )

    def kept_db(content: bytes) -> float:
        noise = np.sum((bare_outputs(content, images[3::4]) - expected) ** 2)
        return math.inf if not noise else 10 * math.log10(np.sum(expected**2) / noise)

    def price(content: bytes) -> float:
        file = Tflite(content)
        assert file.description is not None
        return price_of(file.graph, prices_for(core), half=file.description.in_half)

    assert kept_db(made.content) >= bound_db
    assert made.report.choice is not None and f"{core}" in made.report.choice
    for precision in em.Precision:
        other = convert(plain_options(options, precision)).content
        assert price(made.content) <= price(other) or kept_db(other) < bound_db


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "auto"), "needs calibration data"),
        (("--precision", "int8", "--min-sqnr", 30), "--min-sqnr is for --precision auto"),
        (("--precision", "auto", "--io-type", "int8", "--calibration", "data.npz"), "--io-type is for"),
        (("--precision", "auto", "--resolution", 64, "--calibration", "data.npz"), "one resolution"),
    ],
)
def test_requests_that_cannot_be_met(arguments: tuple[object, ...], message: str, tmp_path: Path) -> None:
    done = _run("--model", FACTORY, "--out", tmp_path / "out.tflite", "--resolution", 32, *arguments)
    assert isinstance(done.exception, em.RequestError)
    assert message in f"{done.exception} {done.exception.hint}"
