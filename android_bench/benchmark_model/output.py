"""TFLite's ``benchmark_model``: its flags, and what it prints.

Two programs go by this name and are read alike. The classic one ends in a line ``Inference timings in us: …``; LiteRT's
newer one, over its CompiledModel API, ends in a block that begins ``BENCHMARK RESULTS`` and holds ``Inference (avg):
9.98 ms (101 runs)``. Both print one ``count=… avg=…`` line for the warm-up and one for the measured runs, in
microseconds.

The exit code is no proof: it is 0 in spite of flags that were not understood, of a full or closed stdout, and of no
runs at all. A run counts when the exit code is 0, the final line is there, and so is the number of runs that was asked
for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evit_mobile.errors import DeviceError
from evit_mobile.results.record import PrintedLatency

#: The tool calls mebibytes MB (it divides kilobytes of 1024 bytes by 1024).
_BYTES_PER_MB = 1 << 20

_PREFIX = re.compile(r"^(?:(?:INFO|WARN|WARNING|VERBOSE|ERROR|FATAL): )?(?:\[[^\]\s]+:\d+\] )?")
_COUNT = re.compile(r"^count=(\d+)\b(.*)$")
_FIELD = re.compile(r"\b(first|curr|min|max|avg|std|p5|median|p95)=([-+.\deE]+)")
_CLASSIC_END = re.compile(
    r"^Inference timings in us: Init: ([\d.eE+]+), First inference: ([\d.eE+]+), Warmup \(avg\): ([\d.eE+]+), "
    r"Inference \(avg\): ([\d.eE+]+)$"
)
_COMPILED_END = re.compile(r"^Inference \(avg\): +([\d.eE+]+) ms \((\d+) runs\)$")
_SESSION = re.compile(r"^Initialized session in ([\d.eE+]+)ms\.$")
_FOOTPRINT = re.compile(
    r"^Memory footprint delta from the start of the tool \(MB\): init=[-\d.eE+]+ overall=([-\d.eE+]+)$"
)
_COMPILED_FOOTPRINT = re.compile(r"^Overall footprint: +([-\d.eE+]+) MB$")
_UNCONSUMED = re.compile(r"^Unconsumed cmdline flags: (.*)$")
_COMPLAINT = re.compile(
    r"^(?:ERROR|FATAL): (.+)$|^(.*(?:can(?:no|')t execute"
    r"|not executable|Exec format error|inaccessible or not found|Permission denied).*)$"
)

#: Flags that only some builds know, and those that switch the profiler on: the classic program knows the one, the newer
#: the other.
_SOME_BUILDS = {"op_profiling_output_mode", "op_profiling_output_file", "profiling_output_csv_file", "result_file_path"}
_PROFILERS = {"enable_op_profiling", "use_profiler"}

#: What a shell adds to the number of the signal that ended a program.
_SIGNAL_BASE = 128
_SIGNALS = {
    4: "illegal instruction",
    6: "abort",
    7: "bus error",
    9: "killed, perhaps because memory ran out",
    11: "segmentation fault",
}
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


class BenchmarkError(DeviceError):
    """``benchmark_model`` did not measure what it was asked to."""


@dataclass(frozen=True)
class Request:
    """One invocation.

    Attributes:
        graph: the model's path on the device.
        threads: threads of the CPU kernels.
        runs: measured inferences, at least.
        min_time_s: measured time, at least, seconds.
        warmup_runs: inferences before, the first one among them; at least 1.
        profile: where on the device to write the time of each op, as CSV; None for no profile, which costs time itself.
        result_file: where on the device a build that can writes its result file; None for none.
    """

    graph: str
    threads: int
    runs: int
    min_time_s: float
    warmup_runs: int
    profile: str | None = None
    result_file: str | None = None

    def flags(self) -> list[str]:
        """The flags; all but those of the profile and of the result file are understood by every build of either
        program.

        XNNPACK is not named: it is on by default, and to name it drops the default delegate and applies another. The
        newer program takes flags that a program does not know for an oversight and goes on, so both generations' names
        of the profile are given.
        """
        flags = [
            f"--graph={self.graph}",
            f"--num_threads={self.threads}",
            f"--num_runs={self.runs}",
            f"--min_secs={self.min_time_s:g}",
            f"--warmup_runs={self.warmup_runs}",
            "--warmup_min_secs=0",
        ]
        if self.profile is not None:
            flags += [
                "--enable_op_profiling=true",
                "--op_profiling_output_mode=csv",
                f"--op_profiling_output_file={self.profile}",
                f"--profiling_output_csv_file={self.profile}",
                "--use_profiler=true",
            ]
        if self.result_file is not None:
            flags.append(f"--result_file_path={self.result_file}")
        return flags


@dataclass(frozen=True)
class Output:
    """What one invocation printed.

    Attributes:
        dialect: ``tflite`` (the classic program) or ``litert`` (the newer one).
        inference: the measured runs.
        warmup: the runs before, the first inference among them; None where there were none.
        init_us: loading the model and preparing it, microseconds.
        first_inference_us: the first of all runs, microseconds.
        peak_memory_bytes: by how much the process's greatest resident set grew; None where the build does not say.
    """

    dialect: str
    inference: PrintedLatency
    warmup: PrintedLatency | None
    init_us: float
    first_inference_us: float | None
    peak_memory_bytes: int | None


def parse(stdout: str, stderr: str, exit_code: int, expected_runs: int) -> Output:
    """What an invocation printed, if it did what it was asked to.

    Args:
        stdout, stderr: as they came; where a terminal merged them ``stderr`` is empty.
        exit_code: of the program, as a shell gives it.
        expected_runs: the least number of measured runs that makes the output whole.

    Raises:
        BenchmarkError: anything else, in the tool's own words where it had some.
    """
    raw = [line.strip() for line in stdout.splitlines() if line.strip()]
    lines = [_PREFIX.sub("", line) for line in raw]
    if exit_code != 0:
        raise BenchmarkError(_failure(raw + stderr.splitlines(), exit_code))
    _check_flags(lines + [_PREFIX.sub("", line.strip()) for line in stderr.splitlines()])
    # LiteRT's newer program prints its results through a logger that writes to stderr.
    lines += [_PREFIX.sub("", line.strip()) for line in stderr.splitlines() if line.strip()]
    classic, compiled = _find(_CLASSIC_END, lines), _find(_COMPILED_END, lines)
    if classic is None and compiled is None:
        raise BenchmarkError(_no_end(raw, stderr))
    warmup, inference = _count_lines(lines)
    if inference is None or inference.count < expected_runs:
        count = inference.count if inference else 0
        raise BenchmarkError(f"benchmark_model ran the model {count} times, {expected_runs} were asked for")
    session = _find(_SESSION, lines)
    footprint = _find(_FOOTPRINT, lines) or _find(_COMPILED_FOOTPRINT, lines)
    if classic is None and session is None:
        raise BenchmarkError(
            "benchmark_model did not say how long it took to load the model: an output that is not known here"
        )
    return Output(
        dialect="tflite" if classic else "litert",
        inference=inference,
        warmup=warmup,
        init_us=float(classic[1]) if classic else float(session[1]) * 1e3 if session else 0.0,
        first_inference_us=_first_inference(classic, lines),
        peak_memory_bytes=max(0, round(float(footprint[1]) * _BYTES_PER_MB)) if footprint else None,
    )


def _find(pattern: re.Pattern[str], lines: list[str]) -> re.Match[str] | None:
    return next((match for line in lines if (match := pattern.match(line))), None)


def _first_inference(classic: re.Match[str] | None, lines: list[str]) -> float | None:
    if classic is not None:
        return float(classic[2]) or None
    counts = _find(_COUNT, lines)
    fields = dict(_FIELD.findall(counts[2])) if counts else {}
    first = fields.get("first", fields.get("curr"))
    return float(first) if first is not None else None


def _count_lines(lines: list[str]) -> tuple[PrintedLatency | None, PrintedLatency | None]:
    """Warm-up and measured runs; the warm-up has no line of its own where ``--warmup_runs=0``."""
    matches = [match for line in lines if (match := _COUNT.match(line))]
    if not matches:
        return None, None
    return (_latency(matches[0]) if len(matches) > 1 else None), _latency(matches[-1])


def _latency(match: re.Match[str]) -> PrintedLatency | None:
    """One ``count=`` line. ``count=1 curr=N`` and ``count=N curr=X(all same)`` print neither average nor extremes: all
    equal X.

    Raises:
        BenchmarkError: the runs took no time that the tool's clock can tell.
    """
    count, fields = int(match[1]), {key: float(value) for key, value in _FIELD.findall(match[2])}
    if count == 0:
        return None
    same = fields.get("curr") if "avg" not in fields else None
    mean = fields.get("avg", same)
    if mean is None:
        return None
    if not mean > 0:
        raise BenchmarkError("benchmark_model printed a latency of 0 us: the model is too small for its clock")

    def positive(key: str, default: float | None = None) -> float | None:
        # A single run below the clock's resolution may be 0, which is not a measurement.
        return fields.get(key, default) or None

    return PrintedLatency(
        count=count,
        mean_us=mean,
        std_us=fields.get("std"),
        min_us=positive("min", same),
        p5_us=positive("p5"),
        median_us=positive("median", same),
        p95_us=positive("p95"),
        max_us=positive("max", same),
    )


def _check_flags(lines: list[str]) -> None:
    unknown = [flag for line in lines if (match := _UNCONSUMED.match(line)) for flag in match[1].split()]
    names = {flag.lstrip("-").partition("=")[0] for flag in unknown}
    allowed = _SOME_BUILDS if _PROFILERS <= names else _SOME_BUILDS | _PROFILERS
    ignored = [flag for flag in unknown if flag.lstrip("-").partition("=")[0] not in allowed]
    if ignored:
        raise BenchmarkError(
            f"this build of benchmark_model does not know {' '.join(ignored)}", hint="take a newer build"
        )


def _failure(lines: list[str], exit_code: int) -> str:
    words = [(match[1] or match[2]).strip() for line in lines if (match := _COMPLAINT.match(line.strip()))]
    # The last complaint only says that there was one; the first is the cause.
    own = "; ".join(dict.fromkeys(word.rstrip(".") for word in words if word != "Benchmarking failed."))
    if exit_code == _NOT_EXECUTABLE and "Permission denied" in own:
        return f"the device does not let programs be executed there, by its mount options or SELinux: {own}"
    if exit_code in (_NOT_EXECUTABLE, _NOT_FOUND):
        return f"the device cannot execute benchmark_model: {own or 'is it built for this ABI?'}"
    signal = exit_code - _SIGNAL_BASE
    if signal > 0:
        how = f"signal {signal}" + (f", {_SIGNALS[signal]}" if signal in _SIGNALS else "")
        return f"benchmark_model was ended by {how}" + (f": {own}" if own else "")
    return f"benchmark_model failed with exit code {exit_code}: {own or 'it did not say why'}"


def _no_end(lines: list[str], stderr: str) -> str:
    if not lines and all(line.startswith("INFO: ") for line in stderr.splitlines()):
        return "benchmark_model ended without a word: its output was cut off"
    if any(_COUNT.match(_PREFIX.sub("", line)) for line in lines):
        return "benchmark_model's output was cut off before its results"
    last = (lines or stderr.strip().splitlines())[-1]
    return f"benchmark_model printed no results in a form that is known here; its last line: {last[:200]}"
