"""Every model of the family at its own resolution: converted, verified and inspected through the command line.

``python -m benchmarks.family [MODEL…]`` runs the models that are named, or all that are not yet in
``results/family.json``, one at a time, each conversion with an empty cache; then writes ``results/family.md`` anew.
Time and memory are of the whole ``convert`` command: seconds on the wall, and the largest resident memory of its
processes together, sampled every 50 ms.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import psutil

from evit_mobile.files import whole_file

RESULTS = Path(__file__).parent / "results" / "family.json"
COMMAND = (sys.executable, "-m", "evit_mobile.cli.main")
PAPER = (
    "base-r192", "base-r224", "base-r224-w1.2", "det-r416", "det-r512", "det-r608", "seg-r1408", "seg-r1536",
    "seg-r2048", "attention-linear", "attention-linear+matched", "attention-softmax",
)  # fmt: skip
TWINS = (
    "base-r192+softmax", "base-r224+softmax", "base-r224-w1.2+softmax", "base-r192+vanilla", "base-r224+vanilla",
    "base-r192+softmax+vanilla", "base-r224+softmax+vanilla", "det-r416+softmax", "det-r512+softmax",
    "det-r608+softmax",
)  # fmt: skip
OPTIONS = (
    "det-r416+raw-heads", "det-r512+raw-heads", "det-r608+raw-heads", "seg-r1408+upsample", "seg-r1408+argmax",
    "seg-r1408+upsample+argmax", "seg-r2048+upsample", "seg-r2048+argmax", "seg-r2048+upsample+argmax",
)  # fmt: skip
ZOO = tuple(
    f"timm:{name}"
    for name in (
        "efficientvit_b0",
        "efficientvit_b1",
        "efficientvit_b2",
        "efficientvit_b3",
        "mobilenetv2_100",
        "mobilenetv3_large_100",
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "vit_small_patch16_224",
        "resnet152",
        "mobilevit_xs",
    )
)
MODELS = (*PAPER, *TWINS, *OPTIONS, *ZOO)


def measure(model: str) -> dict[str, Any]:
    """What the three commands say of ``model``; ``error`` where one could not do its work."""
    with tempfile.TemporaryDirectory(prefix="family-") as folder:
        path = Path(folder) / "model.tflite"
        row: dict[str, Any] = {"model": model}
        convert = ("convert", "--model", model, "--out", str(path), "--json")
        code, said, row["convert_s"], row["peak_memory_mb"] = _watched(*convert, folder=folder)
        if code:
            return {**row, "error": said}
        converted = json.loads(said)
        row |= {
            "resolution": converted["resolution"],
            "bytes_tflite": converted["bytes_tflite"],
            "versions": converted["versions"],
        }
        code, said, row["verify_s"], _ = _watched("verify", str(path), "--json", folder=folder)
        if not said.startswith("{"):
            return {**row, "error": said}
        verified = json.loads(said)
        unjudged = [(item["input"], item["output"]) for item in verified["ill_conditioned"]]
        row["not_judged"] = verified["ill_conditioned"]
        ours = [
            line
            for line in verified["rows"]
            if line["runtime"] != "onnxruntime" and (line["input"], line["output"]) not in unjudged
        ]
        row |= {"passed": verified["passed"], "worst": _worst(ours)}
        row["failed"] = sorted({f"{line['input']}, {line['output']}" for line in ours if not line["passed"]})
        row["outputs"] = {
            name: _worst([line for line in ours if line["output"] == name])
            for name in {line["output"] for line in ours}
        }
        code, said, _, _ = _watched("inspect", str(path), "--json", folder=folder)
        inspected = json.loads(said)
        row |= {"ops": inspected["op_total"], "partitions": inspected["partitions"], "macs_m": inspected["macs"] / 1e6}
        row["undelegated"] = sorted({op["type"] for op in inspected["undelegated"]})
        row["undelegated_count"] = inspected["undelegated_count"]
    return row


def _worst(rows: list[dict[str, Any]]) -> float | None:
    """The largest relative error; None where a row has none, because it is no number or of another shape."""
    errors = [row["relative_error"] for row in rows]
    return None if None in errors else max(errors)


def _watched(*arguments: str, folder: str) -> tuple[int, str, float, float]:
    """Exit code, stdout (or, where there is none, stderr), seconds, and the processes' largest memory together
    in MB.
    """
    cache = {"EVIT_MOBILE_CACHE": f"{folder}/cache"}
    start, largest = time.monotonic(), 0
    with open(f"{folder}/stdout", "w+") as out, open(f"{folder}/stderr", "w+") as errors:
        process = psutil.Popen([*COMMAND, *arguments], stdout=out, stderr=errors, env={**os.environ, **cache})
        while process.poll() is None:
            largest = max(largest, _resident(process))
            time.sleep(0.05)
        for file in (out, errors):
            file.seek(0)
        said = out.read().strip() or errors.read().strip()
    return process.returncode, said, round(time.monotonic() - start, 1), round(largest / 1e6)


def _resident(process: psutil.Popen) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def render(rows: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "# Every model at its own resolution",
        "",
        "Made by `python -m benchmarks.family`: `convert` with an empty cache (seconds on the wall; memory of all its "
        "processes), `verify`",
        "(worst error over seven inputs, every output on its own, XNNPACK on and off, one and two threads; bound "
        "1e-4), `inspect`.",
        f"fp32, seeded weights; {_versions(rows)}. Two cores of an AMD EPYC, shared with other work: times are upper "
        "bounds.",
        "",
        "| model | input | MACs M | ops | partitions | outside | worst error | convert s | peak MB |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | ---: | ---: |",
    ]
    for model in [*(name for name in MODELS if name in rows), *(name for name in rows if name not in MODELS)]:
        row = rows[model]
        if "error" in row:
            said = row["error"].splitlines()[-1]
            lines.append(f"| {model} | | | | | | {said} | {row['convert_s']} | {row['peak_memory_mb']:.0f} |")
            continue
        outside = f"{row['undelegated_count']}: {', '.join(row['undelegated'])}" if row["undelegated"] else "0"
        error = ", ".join(
            f"{name} {value:.1e}" if value is not None else name for name, value in _grouped(row["outputs"]).items()
        )
        verdict = "" if row["passed"] else f" **fails** on {'; '.join(row['failed'])}"
        for item in row.get("not_judged", ()):
            rounding = f"PyTorch's float32 is {item['relative_error']:.1e} from its float64"
            verdict += f"; not judged on {item['input']}, where {rounding}"
        lines.append(
            f"| {model} | {row['resolution']} | {row['macs_m']:.1f} | {row['ops']} | {row['partitions']} | {outside} "
            f"| {error}{verdict} "
            f"| {row['convert_s']} | {row['peak_memory_mb']:.0f} |"
        )
    missing = [model for model in MODELS if model not in rows]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _grouped(outputs: dict[str, float | None]) -> dict[str, float | None]:
    """Raw heads have an output a level: the worst level stands for all."""
    if len(outputs) <= 2:
        return dict(sorted(outputs.items()))
    grouped: dict[str, float | None] = {}
    for name, value in sorted(outputs.items()):
        part = name.rpartition("_")[0]
        before = grouped.get(part, 0.0)
        grouped[part] = None if value is None or before is None else max(before, value)
    return grouped


def _versions(rows: dict[str, Any]) -> str:
    named: dict[str, str] = next((row["versions"] for row in rows.values() if "versions" in row), {})
    return ", ".join(f"{name} {named[name]}" for name in ("torch", "onnx2tf", "timm") if name in named)


@click.command()
@click.argument("models", nargs=-1)
def main(models: tuple[str, ...]) -> None:
    """Convert, verify and inspect MODELS, or all that have no result yet."""
    rows: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for model in models or [name for name in MODELS if name not in rows]:
        rows[model] = measure(model)
        click.echo(json.dumps({key: value for key, value in rows[model].items() if key != "versions"}))
        with whole_file(RESULTS) as temporary:
            temporary.write_text(json.dumps(rows, indent=1) + "\n")
        with whole_file(RESULTS.with_suffix(".md")) as temporary:
            temporary.write_text(render(rows))


if __name__ == "__main__":
    main()
