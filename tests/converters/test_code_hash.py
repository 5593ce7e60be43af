"""What the conversion cache takes for the code of a conversion."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from converters.cache import cache_path
from converters.code_hash import conversion_modules, imported_modules, model_code_hash
from converters.options import ConvertOptions
from evit_mobile.models import registry
from evit_mobile.specs import ModelName

#: Prints the modules of ours that a conversion has loaded when it ends, and PyTorch's compiler if that was loaded too.
CONVERSION = """
import sys
from pathlib import Path
from converters.options import ConvertOptions
from converters.pipeline import convert
from evit_mobile.specs import Precision, Resolution
convert("attention-linear", Path("layer.tflite"), ConvertOptions(Resolution(4, 4), precision=Precision.FP16))
ours = ("converters", "evit_mobile", "android_bench")
print(*(name for name in sys.modules if name.split(".")[0] in ours or name == "torch._dynamo"))
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
    assert "torch._dynamo" not in loaded  # it takes seconds to import, and nothing is compiled
    assert loaded <= conversion_modules().keys()


def test_what_looks_at_models_is_not() -> None:
    """An edit of these leaves every cached model as it is."""
    readers = {
        "converters.tflite.inspection",
        "converters.parity.verify",
        "converters.tflite.survey",
    }
    assert not readers & conversion_modules().keys()
    assert not any(
        name.startswith(("evit_mobile.cli", "evit_mobile.results", "android_bench")) for name in conversion_modules()
    )


def test_code_that_registers_a_model_elsewhere_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's file, and what it imports, are part of the key: a changed layer is converted anew, under the
    same name.
    """
    package = tmp_path / "elsewhere"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("SCALE = 1\n")
    (package / "nets.py").write_text(
        "import json\nimport numpy\nfrom evit_mobile.models.registry import register_model\nfrom . import layers\n"
        "@register_model('from-elsewhere', task='classification', resolution=32, outputs=('logits',))\n"
        "def build(resolution, variants):\n    raise NotImplementedError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))  # the new model is gone after the test
    importlib.import_module("elsewhere.nets")
    name = ModelName.parse("from-elsewhere")
    assert set(imported_modules(["elsewhere.nets"])) >= {"elsewhere", "elsewhere.nets", "elsewhere.layers"}
    assert not {"json", "numpy"} & imported_modules(["elsewhere.nets"]).keys()
    before, path = model_code_hash(name), cache_path("from-elsewhere", ConvertOptions())
    (package / "layers.py").write_text("SCALE = 2\n")
    assert before and model_code_hash(name) not in (None, before)
    assert path is not None and cache_path("from-elsewhere", ConvertOptions()) != path


def test_models_of_ours_and_files_have_no_code_of_their_own() -> None:
    assert {model_code_hash(ModelName.parse(name)) for name in ("base-r224", "timm:resnet18", "net.onnx")} == {""}
    assert model_code_hash(ModelName.parse("package.module:factory")) is None
