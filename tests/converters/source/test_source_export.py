"""What --model can name, and the ONNX that comes out: against PyTorch itself by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from converters.source.export import export_onnx
from converters.source.load import load_source, module_source
from evit_mobile.errors import RequestError
from evit_mobile.specs import Resolution

FACTORY = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
    def forward(self, x):
        return {"small": self.conv(x).mean((2, 3)), "large": self.conv(x)}

def make():
    return Two()

def broken():
    return 3

def a_class():
    return Two

def half():
    return Two().half()

def empty():
    return Two().to("meta")

class Picky(nn.Module):
    def forward(self, x):
        raise ValueError("only 7x7")
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"nets_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_registered_model_exports_as_it_computes() -> None:
    source = load_source("base-r192", Resolution(64, 96))
    model = export_onnx(source)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    assert source.module is not None
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": image.numpy()})
    # 1e-5: rounding of float32 sums in another order; measured 2e-6.
    assert _relative(logits, source.module(image).numpy()) < 1e-5


def test_factory_with_named_outputs(nets: str) -> None:
    source = load_source(f"{nets}:make", Resolution(32, 32), seed=3)
    model = export_onnx(source)
    assert [value.name for value in model.graph.output] == ["small", "large"]
    again = load_source(f"{nets}:make", Resolution(32, 32), seed=3)
    assert source.module is not None and again.module is not None
    assert all(torch.equal(a, b) for a, b in zip(source.module.parameters(), again.module.parameters()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{}:none", "cannot be imported"),
        ("no_such_module:make", "cannot be imported"),
        ("{}:broken", "returned 'int', expected a torch.nn.Module"),
        ("{}:a_class", "returned the class Two, expected a torch.nn.Module"),
        ("{}:empty", "has no values for conv.weight: it is on the meta device"),
        (":", "cannot be imported"),
    ],
)
def test_bad_factories(nets: str, model: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_source(model.format(nets))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:", r"SyntaxError: .*bad_.*\.py, line 1"),
        ("value = 1 / 0", r"ZeroDivisionError: .*bad_.*\.py:1"),
        ("import sys\nsys.exit('stop')", r"SystemExit: stop .*bad_.*\.py:2"),
        ("open('absent.txt')", r"FileNotFoundError: .*bad_.*\.py:1"),
    ],
)
def test_a_module_whose_import_fails(nets: str, tmp_path: Path, text: str, message: str) -> None:
    """It is the user's code: whatever it raises is one line with its place."""
    name = f"bad_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(RequestError, match=f"{name}:make cannot be imported: {message}"):
        load_source(f"{name}:make")


def test_a_module_in_half_precision_becomes_float32(nets: str) -> None:
    module = load_source(f"{nets}:half", Resolution(32, 32)).module
    assert module is not None and {value.dtype for value in module.parameters()} == {torch.float32}


def test_a_module_that_cannot_take_the_image(nets: str) -> None:
    with pytest.raises(RequestError, match="only 7x7"):
        export_onnx(load_source(f"{nets}:Picky"))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "free size", "double"])
def test_bad_onnx(tmp_path: Path, damage: str) -> None:
    tensor = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.DOUBLE if damage == "double" else onnx.TensorProto.FLOAT
    shape: list[int | str] = [1, 3, "h", 8] if damage == "free size" else [1, 3, 8, 8]
    inputs = [tensor("x", kind, shape)]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Abs", ["x"], ["z"])], "g", inputs, [tensor("z", kind, shape)]
    )
    content = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()
    path = tmp_path / "a.onnx"
    path.write_bytes({"empty": b"", "cut": content[:-9], "text": b"<html>no model</html>"}.get(damage, content))
    with pytest.raises(RequestError, match="a.onnx"):
        export_onnx(load_source(str(path)))


def test_missing_onnx() -> None:
    with pytest.raises(RequestError, match="does not exist"):
        load_source("none.onnx")


class _WithAnchors(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image.relu(), torch.arange(image.shape[-1]) * 2.0


def test_an_output_that_is_a_constant_is_refused() -> None:
    source = module_source(_WithAnchors().eval(), Resolution(8, 8))
    with pytest.raises(RequestError, match=r"output output_1 of .* is a constant"):
        export_onnx(source)
