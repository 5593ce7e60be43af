"""PyTorch's two exporters, what is said of a module's own code, and several inputs. Oracle: PyTorch, by ONNX
Runtime.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import evit_mobile as em
from converters.source.export import export_source
from converters.source.inputs import InputRequest, parse_shapes
from converters.source.load import load_source
from converters.source.torch_export import Exportable, Exporter, export_module
from evit_mobile.errors import ClaimError, RequestError
from evit_mobile.specs import Resolution
from tests.conftest import ROOT

NETS = """
import sys
import torch
from torch import nn

class Branch(nn.Module):
    def forward(self, x):
        if x.shape[2] > 4:
            x = x + 1
        if x.mean() > 0:
            return x * 2
        return -x

class Scaled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
    def forward(self, image, scale):
        return self.conv(image) * scale[:, :, None, None]

def wrong_call():
    return Scaled()

def make():
    return Scaled(2)

def plain():
    return nn.Conv2d(2, 3, 1)

def leaves():
    sys.exit(0)

class Broken(nn.Module):
    def forward(self, x):
        return x.reshape(1, 7)
"""


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)


def line_of(text: str) -> str:
    """``file:line`` of ``text`` in the nets' file, as a pattern."""
    number = next(number for number, line in enumerate(NETS.splitlines(), 1) if text in line)
    return rf"own_nets\.py:{number}"


def run(model: onnx.ModelProto, *inputs: np.ndarray) -> list[np.ndarray]:
    """All outputs by ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(
        None, {info.name: value for info, value in zip(session.get_inputs(), inputs)}
    )
    return outputs


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("wrong_call", r"TypeError.*channels.*" + line_of("return Scaled()")),
        ("leaves", "SystemExit.*" + line_of("sys.exit(0)")),
        ("Broken", r"1x3x224x224.*shape '\[1, 7\]'.*" + line_of("reshape(1, 7)")),
    ],
)
def test_users_own_errors_have_their_line(factory: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        export_source(load_source(f"own_nets:{factory}"))
    assert caught.value.exit_code == 2


def test_branch_on_a_value_is_told_and_one_on_a_size_is_not() -> None:
    (warning,) = export_source(load_source("own_nets:Branch")).warnings
    assert NETS.splitlines().index("        if x.mean() > 0:") + 1 == int(warning.split(":")[1].split()[0])


def test_several_inputs_by_shape() -> None:
    shapes = parse_shapes(["image:1x2x9x7", "scale:1x4"])
    source = load_source("own_nets:make", request=InputRequest(shapes))
    model = export_source(source).model
    assert [value.name for value in model.graph.input] == ["image", "scale"]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for shape in shapes.values()]
    assert source.module is not None
    expected = source.module(*inputs).numpy()
    # 1e-5: float32 sums of 18 products in another order.
    np.testing.assert_allclose(run(model, *(value.numpy() for value in inputs))[0], expected, rtol=1e-5, atol=1e-5)


def test_channels_of_a_factorys_image() -> None:
    source = load_source("own_nets:plain", request=InputRequest(channels=2))
    assert source.inputs == {"image": (1, 2, 224, 224)}


@pytest.mark.parametrize("text", ["x", "x:", ":1x2", "x:0x3", "x:1x-2", "x:1x2,3", "x:99999x99999x9", "x:1x2x"])
def test_bad_shapes(text: str) -> None:
    with pytest.raises(RequestError, match="input shape"):
        parse_shapes([text])


def test_names_with_colons() -> None:
    assert parse_shapes(["serving:0:1x3"]) == {"serving:0": (1, 3)}


class Function(nn.Module):
    """One function of an image."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image)


class Attends(nn.Module):
    """PyTorch's own attention, or a transformer layer with it, in evaluation mode: it has a fused form that cannot be
    exported.
    """

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.layer: nn.Module = (
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            if whole
            else nn.MultiheadAttention(8, 2, batch_first=True)
        )
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x) if self.whole else self.layer(x, x, x)[0]
        return result


@pytest.mark.parametrize("whole", [False, True])
def test_pytorchs_attention(whole: bool) -> None:
    torch.manual_seed(0)
    module = Attends(whole).eval().requires_grad_(False)
    model = export_module(Exportable(module, {"x": (1, 5, 8)}, (), "attention"), Exporter.TORCHSCRIPT).model
    x = torch.randn(1, 5, 8)
    # 1e-5: float32 sums of 16 products in another order.
    np.testing.assert_allclose(run(model, x.numpy())[0], module(x).numpy(), rtol=1e-5, atol=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_second_exporter_takes_what_the_first_cannot() -> None:
    module = Function(lambda image: torch.trunc(image * 3)).eval()
    source = Exportable(module, {"image": (1, 2, 8, 9)}, (), "truncated")
    with pytest.raises(RequestError, match="torchscript: UnsupportedOperatorError"):
        export_module(source, Exporter.TORCHSCRIPT)
    model = export_module(source).model
    x = torch.randn(1, 2, 8, 9)
    np.testing.assert_array_equal(run(model, x.numpy())[0], module(x).numpy())


def test_the_second_exporter_takes_what_the_first_writes_wrongly() -> None:
    """The TorchScript exporter rounds the quotients of ``//`` to zero, PyTorch rounds them down."""
    module = Function(lambda image: image // 0.3).eval()
    result = em.convert(module, resolution=Resolution(8, 8))
    assert em.verify(result).passed
    with pytest.raises(ClaimError, match="writes another network"):
        options = em.ConvertOptions(inputs=InputRequest(exporter=Exporter.TORCHSCRIPT))
        em.convert(module, resolution=Resolution(8, 8), options=options)


def in_bfloat16(image: Tensor) -> Tensor:
    """A sum of products of another type than the file's."""
    with torch.autocast("cpu", torch.bfloat16):
        return image @ torch.ones(8, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.jit.script(nn.Conv2d(3, 4, 1)), "is a TorchScript module .give the nn.Module"),
        (lambda: Function(in_bfloat16), "ONNX Runtime cannot run what PyTorch exports of Function.*autocast"),
    ],
)
def test_modules_that_do_not_compute_as_files_do(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        em.convert(make().eval(), resolution=Resolution(8, 8))


def test_failed_exports_print_nothing(tmp_path: Path) -> None:
    """Not even PyTorch's C++ part: standard output may hold one JSON document."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        "import json, torch\n"
        "from converters.source.torch_export import Exportable, Exporter, export_module\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x): return torch.linalg.svdvals(x)\n"
        "try: export_module(Exportable(Net(), {'x': (3, 3)}, (), 'net'), Exporter.TORCHSCRIPT)\n"
        "except Exception as error: print(json.dumps(str(error)))\n"
    )
    (tmp_path / "program.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert "linalg_svdvals" in json.loads(done.stdout) and done.stderr == ""


class Normalised(nn.Module):
    """Across channels; the TorchScript exporter writes it with a branch."""

    def forward(self, image: Tensor) -> Tensor:
        return F.local_response_norm(image, 3)


def test_a_graph_with_a_branch_gives_way_to_the_other_exporter() -> None:
    source = Exportable(Normalised().eval(), {"image": (1, 3, 4, 5)}, (), "Normalised")
    assert any(node.op_type == "If" for node in export_module(source, Exporter.TORCHSCRIPT).model.graph.node)
    exported = export_module(source).model
    assert not any(node.op_type == "If" for node in exported.graph.node)
    (output,) = exported.graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [1, 3, 4, 5]
