"""Code of the user's that calls sys.exit is an error of the command, whatever the number."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.quantize.calibration import open_calibration
from converters.quantize.input_format import InputFormat
from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution

MODULE = "import sys\n\n\ndef build():\n    sys.exit(0)\n\n\ndef images():\n    yield from ()\n    sys.exit(0)\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module in the working folder, of a name of its own: imports are kept."""
    name = f"exiting_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE if "import" not in request.node.name else "import sys\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.mark.parametrize("when", ["import", "call"])
def test_a_factory(module: str, when: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", "--model", f"{module}:build", "--out", "out.tflite"])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "SystemExit" in line and module in line
    assert not (tmp_path / "out.tflite").exists()


def test_a_calibration_function(module: str) -> None:
    with pytest.raises(RequestError, match=f"{module}:images failed: SystemExit"):
        open_calibration(f"{module}:images", InputFormat(Resolution(8, 8), Preprocessing(), 3))
