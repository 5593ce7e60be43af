"""One attention layer in each canonical form, against the exporter's graph and against its two projections alone (the
floor).

    python -m benchmarks.attention.compare_forms [--runtime litert --runtime litert-latest] [--rounds 25] [--out
    benchmarks/results]

The layer is equation (4) with its q, k, v projection and its output projection, without normalisation and residual; the
floor is a graph with the same two convolutions and nothing else. Every form has the same seeded weights. All models of
one size are loaded at once and timed in turn, forwards and backwards (A B C C B A …), one thread; a figure is the
median over rounds, a ratio the median of the rounds' ratios with a 95 % bootstrap interval. Writes
``attention_forms.json`` and ``attention_forms.md``.
"""

from __future__ import annotations

import contextlib
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.results_files import write_results
from evit_mobile.turns import turns

FLOOR = "two projections"
EXPORTED = "as exported"
SOFTMAX = "softmax"
#: A softmax over more tokens takes seconds and gigabytes.
SOFTMAX_TOKENS = 1024
SAMPLE_US = 20_000.0


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


#: The paper's two attention stages at 224, then the first of them at 512, 1024 and 1024x2048 pixels.
SIZES = (Size(192, 24, 7, 7), Size(96, 12, 14, 14), Size(96, 12, 32, 32), Size(96, 12, 64, 64), Size(96, 12, 64, 128))
HEAD_WIDTH = 16


@dataclass(frozen=True)
class Row:
    """One model on one runtime. ``ratio`` is to the floor, with its interval."""

    runtime: str
    channels: int
    tokens: int
    form: str
    ops: int
    partitions: int
    undelegated: int
    latency_us: float
    ratio: float
    ratio_low: float
    ratio_high: float


def build_models(size: Size, folder: Path) -> dict[str, Path]:
    """Every form of one layer as a .tflite."""
    from converters.passes.linear_attention import ATTENTION_FORMS

    layer, floor, softmax = _modules(size)
    inner = size.heads * HEAD_WIDTH
    image, middle = (1, size.channels, size.height, size.width), (1, inner, size.height, size.width)
    models = {FLOOR: _lowered(floor, [image, middle], folder / "floor.tflite", None)}
    models[EXPORTED] = _lowered(layer, [image], folder / "exported.tflite", None)
    for form in ATTENTION_FORMS[1:]:
        models[form] = _lowered(layer, [image], folder / f"{form}.tflite", form)
    if size.tokens <= SOFTMAX_TOKENS:
        models[SOFTMAX] = _lowered(softmax, [image], folder / "softmax.tflite", "auto")
    return models


def _modules(size: Size) -> tuple[object, object, object]:
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


def _lowered(module: object, shapes: list[tuple[int, ...]], path: Path, form: str | None) -> Path:
    """Export, rewrite to ``form`` (None: leave as exported) and lower."""
    import io

    import onnx
    import onnx_ir as ir
    import torch

    from converters.lowering.lower import Lowering
    from converters.passes import default_passes, run_passes
    from evit_mobile.specs import Target

    buffer = io.BytesIO()
    example = tuple(map(torch.zeros, shapes))
    torch.onnx.export(module, example, buffer, dynamo=False, opset_version=17)  # type: ignore[arg-type]
    model = onnx.load_model_from_string(buffer.getvalue())
    with Lowering(simplify=form is None) as lowering:
        if form is not None:
            graph = ir.from_proto(model)
            run_passes(graph, Target(), default_passes(form))
            model = ir.to_proto(graph)
        path.write_bytes(lowering.lower(model))
    return path


def measure(runtime: str, size: Size, models: dict[str, Path], rounds: int) -> Iterator[Row]:
    """Load all models at once, time them in turn."""
    from converters.tflite.partitions import read_partitioning
    from evit_mobile.runtimes import RUNTIMES
    from evit_mobile.runtimes.base import Session

    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        inputs, runs = {}, {}
        random = np.random.default_rng(0)
        for name, path in models.items():
            sessions[name] = session = stack.enter_context(RUNTIMES[runtime].open(path, threads=1))
            inputs[name] = [random.standard_normal(info.shape).astype(np.float32) for info in session.inputs]
            warm = session.time_us(inputs[name], 3)
            runs[name] = max(1, round(SAMPLE_US / min(warm)))
        samples: dict[str, list[float]] = {name: [] for name in models}
        for _, order in zip(range(rounds), turns(models)):
            for name in order:
                samples[name].append(float(np.median(sessions[name].time_us(inputs[name], runs[name]))))
        floor = np.array(samples[FLOOR])
        for name, session in sessions.items():
            parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
            own = sum(op.name != "DELEGATE" for op in session.ops())
            times = np.array(samples[name])
            ratio, low, high = _interval(times / floor)
            yield Row(
                runtime,
                size.channels,
                size.tokens,
                name,
                own,
                parts.count,
                len(parts.undelegated),
                float(np.median(times)),
                ratio,
                low,
                high,
            )


def _interval(ratios: NDArray[np.float64]) -> tuple[float, float, float]:
    from scipy import stats

    if np.ptp(ratios) == 0:
        return (float(ratios[0]),) * 3
    interval = stats.bootstrap(
        (ratios,), np.median, confidence_level=0.95, rng=np.random.default_rng(0), method="percentile"
    )
    return float(np.median(ratios)), float(interval.confidence_interval.low), float(interval.confidence_interval.high)


def as_markdown(rows: list[Row], machine: dict[str, object]) -> str:
    """A table a runtime: forms down, sizes across, each cell µs and ratio to the floor."""
    lines = ["# Forms of one linear attention layer", ""]
    lines += [f"{machine['cpu']} ({machine['instruction_set']}), one thread, {machine['rounds']} rounds in turn.", ""]
    lines += ["µs (ratio to the two projections alone, 95 % interval)", ""]
    for runtime in dict.fromkeys(row.runtime for row in rows):
        own = [row for row in rows if row.runtime == runtime]
        sizes = list(dict.fromkeys((row.channels, row.tokens) for row in own))
        lines += [f"## {machine['runtimes'][runtime]}", ""]  # type: ignore[index]
        heads = " | ".join(f"C{channels} N{tokens}" for channels, tokens in sizes)
        lines.append(f"| form | ops / partitions / undelegated | {heads} |")
        lines.append("| --- | --- |" + " --- |" * len(sizes))
        for form in dict.fromkeys(row.form for row in own):
            cells = {(row.channels, row.tokens): row for row in own if row.form == form}
            first = next(iter(cells.values()))
            texts = [_cell(cells.get(size)) for size in sizes]
            lines.append(
                f"| {form} | {first.ops} / {first.partitions} / {first.undelegated} | " + " | ".join(texts) + " |"
            )
        lines.append("")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{row.latency_us:.0f} ({row.ratio:.2f}, {row.ratio_low:.2f}–{row.ratio_high:.2f})"


def _machine(runtimes: tuple[str, ...], rounds: int) -> dict[str, object]:
    from evit_mobile.runtimes import RUNTIMES

    info = Path("/proc/cpuinfo")
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.exists() else {}
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    known = [flag for flag in ("avx2", "fma", "avx512f", "avx512vnni", "amx_tile", "asimddp", "i8mm") if flag in flags]
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "instruction_set": " ".join(known) or platform.machine(),
        "rounds": rounds,
        "runtimes": {name: str(RUNTIMES[name].version()) for name in runtimes},
    }


@click.command()
@click.option(
    "--runtime", "runtimes", multiple=True, default=("litert",), show_default=True, help="A runtime's name; repeatable."
)
@click.option("--rounds", default=25, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(runtimes: tuple[str, ...], rounds: int, out: Path) -> None:
    """Compare the canonical forms of linear attention on this machine."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            folder = Path(scratch) / f"{size.channels}-{size.tokens}"
            folder.mkdir()
            models = build_models(size, folder)
            for runtime in runtimes:
                rows += measure(runtime, size, models, rounds)
            click.echo(f"{size.tokens} tokens done", err=True)
    machine = _machine(runtimes, rounds)
    text = as_markdown(rows, machine)
    write_results(out / "attention_forms.md", text, {"machine": machine, "rows": [asdict(row) for row in rows]})
    click.echo(text)


if __name__ == "__main__":
    main()
