"""What the conversion cache takes for the code of a conversion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from converters.code_hash import conversion_modules

#: Prints the modules of ours that a conversion has loaded when it ends.
CONVERSION = """
import sys
from pathlib import Path
from converters.options import ConvertOptions
from converters.pipeline import convert
from evit_mobile.specs import Precision, Resolution
convert("attention-linear", Path("layer.tflite"), ConvertOptions(Resolution(4, 4), precision=Precision.FP16))
print(*(name for name in sys.modules if name.split(".")[0] in ("converters", "evit_mobile", "android_bench")))
"""


def test_every_module_of_a_conversion_is_hashed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONVERSION],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "EVIT_MOBILE_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    loaded = set(done.stdout.split())
    assert "converters.passes.layer_norm" in loaded
    assert loaded <= conversion_modules().keys()


def test_what_looks_at_models_is_not() -> None:
    """An edit of these leaves every cached model as it is."""
    readers = {
        "converters.tflite.inspection",
        "converters.parity.verify",
        "converters.parity.layers",
        "converters.tflite.survey",
    }
    assert not readers & conversion_modules().keys()
    assert not any(
        name.startswith(("evit_mobile.cli", "evit_mobile.results", "android_bench")) for name in conversion_modules()
    )
