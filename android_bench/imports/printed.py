"""What ``benchmark_model`` and LiteRT's newer benchmark tools print, saved to a file.

The newer tools end in a block of lines such as ``Inference (avg): 9.98 ms (101 runs)``. The program in C++ prints
``benchmark_model``'s lines before it, which have more digits; the one in Python prints the block alone.
"""

from __future__ import annotations

import re

from android_bench.benchmark_model.output import BenchmarkError, parse
from android_bench.imports.base import AGGREGATES, Form, Found, positive, stem_of, warmup
from evit_mobile.results.record import PrintedLatency, Round

_END = re.compile(r"^.*(?:Inference timings in us: |BENCHMARK RESULTS)", re.MULTILINE)
_COUNT = re.compile(r"^(?:[A-Z]+: )?(?:\[[^\]\s]+:\d+\] )?count=\d+ ", re.MULTILINE)
_LINE = re.compile(
    r"^(?:[A-Z]+: )?(?:\[[^\]\s]+:\d+\] )?(Model initialization|(?:Warmup|Inference) \(\w+\)): +(\d+(?:\.\d+)?)(?: ms)?"
    r"(?: \((\d{1,12}) runs\))?\s*$",
    re.MULTILINE,
)
_THREADS = re.compile(r"(?:#threads used for CPU inference: \[|Num threads: +\[?)(\d{1,6})\b")
_MODEL = re.compile(r"(?:\bGraph: \[|Loading model from: |benchmark_litert_model: Model: +)(\S[^\]\n]*)")
_ACCELERATORS = re.compile(r"benchmark_litert_model: Accelerators: +([A-Z| ]+)$", re.MULTILINE)


def _text(content: bytes) -> str:
    return re.sub(r"\r+\n", "\n", content.decode(errors="replace"))


def _read(content: bytes) -> Found:
    text = _text(content)
    if len(_END.findall(text)) > 1:
        raise BenchmarkError("it holds the output of several runs", hint="save each run to a file of its own")
    threads, model, accelerators = (pattern.search(text) for pattern in (_THREADS, _MODEL, _ACCELERATORS))
    return Found(
        _classic(text) if _COUNT.search(text) else _block(text),
        model=stem_of(model[1].strip()) if model else None,
        threads=int(threads[1]) or None if threads else None,
        accelerators=tuple(accelerators[1].replace(" ", "").split("|")) if accelerators else (),
    )


def _classic(text: str) -> Round:
    output = parse(text, "", 0, 1)
    return Round(
        printed_latency=output.inference,
        printed_warmup=output.warmup,
        init_us=positive(output.init_us),
        first_inference_us=output.first_inference_us,
        peak_memory_bytes=output.peak_memory_bytes,
    )


def _block(text: str) -> Round:
    us = {name: float(value) * 1e3 for name, value, _ in _LINE.findall(text)}
    counts = {name: int(count) for name, _, count in _LINE.findall(text) if count}
    if "Inference (avg)" not in counts:
        raise BenchmarkError("it was cut off before its results")
    return Round(
        printed_latency=PrintedLatency(
            count=counts["Inference (avg)"],
            mean_us=us["Inference (avg)"],
            std_us=us.get("Inference (std)"),
            **{f"{name}_us": positive(us.get(f"Inference ({name})")) for name in AGGREGATES},
        ),
        printed_warmup=warmup(counts.get("Warmup (avg)", 0), us.get("Warmup (avg)")),
        init_us=positive(us.get("Model initialization")),
        first_inference_us=positive(us.get("Warmup (first)")),
    )


FORM = Form(
    "what benchmark_model printed", "benchmark_model", lambda content: _END.search(_text(content)) is not None, _read
)
