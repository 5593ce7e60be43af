"""Attention modules in the forms that papers and exporters write, and the way of a small graph through passes and
runtimes.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from converters.passes import PassReport, default_passes, run_passes
from evit_mobile.arrays import Float32Array
from evit_mobile.specs import Precision, Target


@dataclass(frozen=True)
class Shape:
    """Sizes of one attention layer: heads, channels a head, image height and width, channels of its input."""

    heads: int = 3
    width: int = 4
    height: int = 5
    length: int = 6
    channels: int = 8

    @property
    def image(self) -> tuple[int, int, int, int]:
        return 1, self.channels, self.height, self.length


class Attention(nn.Module):
    """ReLU linear attention, written in one of many ways that compute the same.

    Args:
        split: how q, k, v leave the projection: ``index`` (5-D and gather), ``chunk``, ``slice`` (heads first, each [q,
            k, v]), ``three`` (three projections).
        order: ``state-q`` for (V Kᵀ) q on [h, d, N], ``q-state`` for q (Kᵀ V) on [h, N, d].
        denominator: ``matmul``, ``sum`` (elementwise product and sum), ``mean`` (sums over tokens become means),
            ``pad`` (ones on V).
        guard: ``add`` or ``max`` of ``eps``, or ``none``.
        kernel: the function of q and k.
    """

    def __init__(
        self,
        shape: Shape,
        split: str = "index",
        order: str = "state-q",
        denominator: str = "matmul",
        guard: str = "add",
        eps: float = 1e-6,
        kernel: Callable[[Tensor], Tensor] = F.relu,
        project: bool = True,
        bias: bool = True,
        inverse: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.split, self.order, self.denominator = shape, split, order, denominator
        self.guard, self.eps, self.kernel, self.inverse, self.bias = guard, eps, kernel, inverse, bias
        inner = shape.heads * shape.width
        outputs = [inner] * 3 if split == "three" else [3 * inner]
        self.projections = nn.ModuleList(nn.Conv2d(shape.channels, size, 1, bias=bias) for size in outputs)
        self.proj = nn.Conv2d(inner, shape.channels, 1, bias=bias) if project else nn.Identity()

    def __repr__(self) -> str:
        spelled = self.shape, self.split, self.order, self.denominator, self.guard, self.eps, self.bias, self.inverse
        return f"Attention{spelled}"

    def forward(self, x: Tensor) -> Tensor:
        s = self.shape
        q, k, v = self._qkv(x)  # [1, h, d, N]
        q, k = self.kernel(q), self.kernel(k)
        tokens = s.height * s.length
        if self.order == "q-state":
            q, k, v = (value.transpose(-1, -2) for value in (q, k, v))
        channels, token = (-1, -2) if self.order == "q-state" else (-2, -1)
        if self.denominator == "pad":
            v = F.pad(v, (0, 1) if self.order == "q-state" else (0, 0, 0, 1), value=1.0)
        state = k.transpose(-1, -2) @ v if self.order == "q-state" else v @ k.transpose(-1, -2)
        if self.denominator == "mean":
            state = state / tokens
        numerator = q @ state if self.order == "q-state" else state @ q
        if self.denominator == "pad":
            denominator = numerator.narrow(channels, s.width, 1)
            numerator = numerator.narrow(channels, 0, s.width)
        else:
            total = k.mean(token, keepdim=True) if self.denominator == "mean" else k.sum(token, keepdim=True)
            if self.denominator == "sum":
                denominator = (q * total).sum(channels, keepdim=True)
            else:
                denominator = q @ total.transpose(-1, -2) if self.order == "q-state" else total.transpose(-1, -2) @ q
        out = self._divide(numerator, denominator)
        if self.order == "q-state":
            out = out.transpose(-1, -2)
        y: Tensor = self.proj(out.reshape(1, s.heads * s.width, s.height, s.length))
        return y

    def _divide(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        if self.guard == "add":
            denominator = denominator + self.eps
        if self.guard == "max":
            denominator = denominator.clamp(min=self.eps)
        return numerator * (1 / denominator) if self.inverse else numerator / denominator

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s = self.shape
        tokens = s.height * s.length
        heads = (1, s.heads, s.width, tokens)
        if self.split == "three":
            q, k, v = (projection(x).reshape(heads) for projection in self.projections)
            return q, k, v
        y = self.projections[0](x)
        if self.split == "index":
            y = y.reshape(1, 3, s.heads, s.width, tokens)
            return y[:, 0], y[:, 1], y[:, 2]
        if self.split == "chunk":
            q, k, v = (part.reshape(heads) for part in y.chunk(3, dim=1))
            return q, k, v
        y = y.reshape(1, s.heads, 3 * s.width, tokens)
        return y[:, :, : s.width], y[:, :, s.width : 2 * s.width], y[:, :, 2 * s.width :]


def attentions() -> st.SearchStrategy[Attention]:
    """Attention layers of every spelling, sizes that coincide and single tokens among them."""
    shapes = st.builds(
        lambda heads, width, image, channels: Shape(heads, width, *image, channels),
        st.integers(1, 4), st.integers(1, 6), st.sampled_from([(1, 1), (1, 4), (2, 2), (3, 2), (4, 4), (5, 3)]),
        st.sampled_from([4, 8]),
    )  # fmt: skip
    return st.builds(
        Attention,
        shapes,
        st.sampled_from(["index", "chunk", "slice", "three"]),
        st.sampled_from(["state-q", "q-state"]),
        st.sampled_from(["matmul", "sum", "mean", "pad"]),
        st.sampled_from(["add", "max"]),
        st.sampled_from([1e-3, 1e-6]),
        bias=st.booleans(),
        inverse=st.booleans(),
    )


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """``module`` in evaluation, its parameters normal with deviation 0.3 and biases too: none is at its neutral
    value.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return module.eval().requires_grad_(False)


def export(module: nn.Module, *shapes: tuple[int, ...], outputs: int = 1) -> onnx.ModelProto:
    """The stock exporter's graph, opset 17, as a conversion starts from it; inputs ``x0``, ``x1``, …, outputs ``y0``,
    ``y1``, … .
    """
    buffer = io.BytesIO()
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [f"x{number}" for number in range(len(shapes))]
        results = [f"y{number}" for number in range(outputs)]
        torch.onnx.export(
            module, inputs, buffer, dynamo=False, opset_version=17, input_names=names, output_names=results
        )
    return onnx.load_model_from_string(buffer.getvalue())


def rewrite(
    model: onnx.ModelProto, form: str = "auto", precision: Precision = Precision.FP32
) -> tuple[onnx.ModelProto, dict[str, PassReport]]:
    """``model`` after the passes, checked by onnx's own checker, and the reports by name."""
    graph = ir.from_proto(model)
    reports = run_passes(graph, Target(precision=precision), default_passes(form))
    rewritten = ir.to_proto(graph)
    onnx.checker.check_model(rewritten, full_check=True)
    return rewritten, {report.name: report for report in reports}


def run_onnx(model: onnx.ModelProto, *inputs: Float32Array) -> Float32Array:
    """The first output by ONNX Runtime, its own optimiser off, so that it is the graph itself that runs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    result: Float32Array = session.run(None, {info.name: value for info, value in zip(session.get_inputs(), inputs)})[0]
    return result


def ops(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each type the graph has; constants may be nodes or initializers and are not counted."""
    return Counter(node.op_type for node in model.graph.node if node.op_type != "Constant")


def noise(shape: tuple[int, ...], seed: int = 0) -> Float32Array:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative_error(expected: Float32Array, given: Float32Array) -> float:
    """Largest difference relative to the expected output's largest magnitude."""
    assert expected.shape == given.shape
    return float(np.abs(expected.astype(np.float64) - given).max() / max(np.abs(expected).max(), 1e-30))
