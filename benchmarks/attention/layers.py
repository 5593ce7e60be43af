"""One linear attention layer in every form, as .tflite files, at the sizes that the paper's networks have it.

The layer is equation (4) with its q, k, v projection and its output projection, without normalisation and residual; the
floor is a graph with the same two convolutions and nothing else. Every form has the same seeded weights.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evit_mobile.specs import Precision, Target
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack

if TYPE_CHECKING:
    from torch import nn

FLOOR = "two projections"
EXPORTED = "as exported"
SOFTMAX = "softmax"
#: A softmax over more tokens takes seconds and gigabytes.
SOFTMAX_TOKENS = 1024
HEAD_WIDTH = 16
#: Inputs that an int8 layer is calibrated on.
_IMAGES = 4


@dataclass(frozen=True)
class Size:
    """Input channels, heads of 16 channels, image height and width."""

    channels: int
    heads: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.height * self.width


#: The paper's second attention stage at 224 and 512 pixels (192 channels), its first at 224, 288, 416, 512, 512x1024,
#: 1024 and 1024x2048 (96 channels).
SIZES = (
    Size(192, 24, 7, 7),
    Size(96, 12, 14, 14),
    Size(192, 24, 16, 16),
    Size(96, 12, 18, 18),
    Size(96, 12, 26, 26),
    Size(96, 12, 32, 32),
    Size(96, 12, 32, 64),
    Size(96, 12, 64, 64),
    Size(96, 12, 64, 128),
)


def build_forms(
    size: Size, folder: Path, target: Target = Target(), forms: Sequence[str] | None = None
) -> dict[str, Path]:
    """The layer in each canonical form, or each of ``forms``, by the form's name. Forms that ``target`` does not allow
    give way to others, and are left out; so is one that is the same as another at this size.
    """
    from converters.passes.linear_attention import ATTENTION_FORMS

    layer, _, _ = _modules(size)
    models: dict[str, Path] = {}
    seen: set[bytes] = set()
    for form in forms or ATTENTION_FORMS[1:]:
        path = _lowered(layer, _image(size), folder / f"{target.precision}-{form}.tflite", form, target)
        if path.read_bytes() not in seen:
            models[form] = path
            seen.add(path.read_bytes())
    return models


def chosen_form(size: Size, folder: Path, models: dict[str, Path], target: Target) -> str:
    """The name in ``models`` that ``auto`` takes for ``target``."""
    layer, _, _ = _modules(size)
    chosen = _lowered(layer, _image(size), folder / "auto.tflite", "auto", target).read_bytes()
    return next(form for form, path in models.items() if path.read_bytes() == chosen)


def build_others(size: Size, folder: Path) -> dict[str, Path]:
    """What the forms are compared with, in fp32: the floor, the exporter's graph and, of few tokens, softmax."""
    layer, floor, softmax = _modules(size)
    inner = size.heads * HEAD_WIDTH
    image, middle = _image(size), (1, inner, size.height, size.width)
    models = {FLOOR: _lowered(floor, [*image, middle], folder / "floor.tflite", None)}
    models[EXPORTED] = _lowered(layer, image, folder / "exported.tflite", None)
    if size.tokens <= SOFTMAX_TOKENS:
        models[SOFTMAX] = _lowered(softmax, image, folder / "softmax.tflite", "auto")
    return models


def _image(size: Size) -> list[tuple[int, ...]]:
    return [(1, size.channels, size.height, size.width)]


def _modules(size: Size) -> tuple[nn.Module, nn.Module, nn.Module]:
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    inner = size.heads * HEAD_WIDTH

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Conv2d(size.channels, 3 * inner, 1), nn.Conv2d(inner, size.channels, 1)

        def heads(self, x: Tensor) -> Tensor:
            y: Tensor = self.qkv(x)
            return y.reshape(1, 3, size.heads, HEAD_WIDTH, size.tokens)

        def image(self, out: Tensor) -> Tensor:
            y: Tensor = self.proj(out.reshape(1, inner, size.height, size.width))
            return y

    class Linear(Layer):
        def forward(self, x: Tensor) -> Tensor:
            y = self.heads(x)
            q, k, v = F.relu(y[:, 0]), F.relu(y[:, 1]), y[:, 2]
            numerator = (v @ k.transpose(-1, -2)) @ q
            return self.image(numerator / (k.sum(-1, keepdim=True).transpose(-1, -2) @ q + 1e-6))

    class Softmax(Layer):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.heads(x).transpose(-1, -2).unbind(1)
            weights = torch.softmax(q @ k.transpose(-1, -2) * HEAD_WIDTH**-0.5, dim=-1)
            return self.image((weights @ v).transpose(-1, -2))

    class Floor(Layer):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return self.qkv(x), self.proj(y)

    torch.manual_seed(0)
    layer = Linear().eval()
    others = Floor().eval(), Softmax().eval()
    for other in others:
        other.load_state_dict(layer.state_dict())
    return layer, *others


def _lowered(
    module: nn.Module, shapes: list[tuple[int, ...]], path: Path, form: str | None, target: Target = Target()
) -> Path:
    """Export, rewrite to ``form`` (None: leave as exported), lower, and bring into the precision of ``target``."""
    import onnx
    import onnx_ir as ir
    import torch

    from converters.lowering.lower import Lowering
    from converters.passes import default_passes, run_passes

    buffer = io.BytesIO()
    example = tuple(map(torch.zeros, shapes))
    torch.onnx.export(module, example, buffer, dynamo=False, opset_version=17)  # type: ignore[arg-type]
    model = onnx.load_model_from_string(buffer.getvalue())
    with Lowering(simplify=form is None) as lowering:
        if form is not None:
            graph = ir.from_proto(model)
            run_passes(graph, target, default_passes(form))
            model = ir.to_proto(graph)
        path.write_bytes(_in_precision(lowering.lower(model), shapes[0], target.precision))
    return path


def _in_precision(content: bytes, shape: Iterable[int], precision: Precision) -> bytes:
    from converters.quantize import quantise_int8
    from converters.quantize.half import to_half

    if precision is Precision.FP16:
        return pack(_computed_in_half(to_half(Tflite(content))))
    if precision is Precision.INT8:
        batch, channels, height, width = shape
        draw = np.random.default_rng(0)
        images = [draw.standard_normal((batch, height, width, channels), np.float32) for _ in range(_IMAGES)]
        return quantise_int8(Tflite(content), images).content
    return content


def _computed_in_half(model: Any) -> Any:
    """``model`` (``ModelT``) with the metadata by which XNNPACK computes in half precision."""
    from ai_edge_litert import schema_py_generated as schema

    from converters.tflite.metadata import HALF_CONTENT, HALF_ENTRY

    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(HALF_CONTENT, np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = HALF_ENTRY.encode(), len(model.buffers) - 1
    model.metadata = [item for item in model.metadata or [] if item.name.decode() != HALF_ENTRY] + [entry]
    return model
