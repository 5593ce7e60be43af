"""The parser against verbatim outputs of the official program (tests/data/benchmark_model), and against what they leave
out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from android_bench.benchmark_model import result_file
from android_bench.benchmark_model.op_profile import parse_csv, parse_log
from android_bench.benchmark_model.output import BenchmarkError, Output, Request, parse

DATA = Path(__file__).parent.parent / "data" / "benchmark_model"

#: Output of the program over LiteRT's CompiledModel API, in the form of LiteRT's own documentation.
LITERT = """\
INFO: Initialized session in 5.757ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=526 first=2125 curr=969 min=910 max=2125 avg=949.861 std=68 p5=915 median=939 p95=990

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=1054 first=1015 curr=942 min=910 max=1102 avg=947.132 std=23 p5=915 median=942 p95=991

INFO: [./litert/tools/benchmark_litert_model.h:72]
========== BENCHMARK RESULTS ==========
INFO: [./litert/tools/benchmark_litert_model.h:73] Model initialization: 5.76 ms
INFO: [./litert/tools/benchmark_litert_model.h:79] Inference (avg):      0.95 ms (1054 runs)
INFO: [./litert/tools/benchmark_litert_model.h:107] Overall footprint:    7.07 MB
"""


def sample(name: str, expected_runs: int = 20) -> Output:
    stdout, stderr, code = ((DATA / f"{name}.{part}").read_text() for part in ("stdout", "stderr", "rc"))
    return parse(stdout, stderr, int(code), expected_runs)


def test_plain_run() -> None:
    output = sample("01_default_m1")
    assert output.dialect == "tflite"
    assert (output.init_us, output.first_inference_us) == (55131, 7481)
    latency = output.inference
    assert (latency.count, latency.mean_us, latency.std_us, latency.min_us, latency.max_us) == (
        20,
        6985.35,
        93,
        6825,
        7220,
    )
    assert (latency.p5_us, latency.median_us, latency.p95_us) == (6866, 6981, 7220)
    assert output.peak_memory_bytes == round(72.4414 * 2**20)
    # A single run prints neither average nor extremes.
    assert output.warmup is not None and (output.warmup.count, output.warmup.mean_us, output.warmup.max_us) == (
        1,
        7481,
        7481,
    )


@pytest.mark.parametrize(
    "name",
    [
        "01_default_m3",
        "02_xnn_true_m3",
        "03_prof_csv_stdout_m3",
        "03_prof_stdout_m3",
        "04_peakmem_m3",
        "05_result_file_m3",
        "06_threads2_m3",
    ],
)
def test_what_else_is_printed_does_not_matter(name: str) -> None:
    assert sample(name).inference.count == 20


def test_scientific_notation() -> None:
    assert sample("11_slow_sci", 3).inference.mean_us == 6.32164e06


def test_one_run() -> None:
    output = sample("06_runs1", 1)
    assert (output.inference.count, output.inference.mean_us, output.inference.median_us) == (1, 182, 182)


@pytest.mark.parametrize(
    ("name", "runs", "words"),
    [
        ("06_custom_op", 20, "unresolved custom op: FooOp"),
        ("06_missing_graph", 20, "Could not open '/nonexistent/model.tflite'"),
        ("06_trunc20k", 20, "not a valid Flatbuffer"),
        ("06_shape_mismatch_count", 20, "must match the number of items"),
        ("06_shape_wrong_rank", 20, "should have 4 dimensions"),
        ("06_unknown_flag", 20, "does not know --no_such_flag=7"),
        ("06_max_secs_small_m1", 1000, "30 times, 1000 were asked for"),
        ("07_allsame", 3, "0 us"),
        ("08_kill_m1", 100000, "signal 9, killed"),
        ("09_stdout_closed", 20, "cut off"),
    ],
)
def test_failures(name: str, runs: int, words: str) -> None:
    with pytest.raises(BenchmarkError, match=words.replace("(", r"\(")):
        sample(name, runs)


def test_terminal_merges_the_streams() -> None:
    stdout = (DATA / "01_default_m1.stderr").read_text() + (DATA / "01_default_m1.stdout").read_text()
    assert parse(stdout.replace("\n", "\r\n"), "", 0, 20) == sample("01_default_m1")


def test_old_builds_print_no_level() -> None:
    stdout = (
        (DATA / "01_default_m1.stdout").read_text().replace("INFO: ", "").replace(" p5=6866 median=6981 p95=7220", "")
    )
    output = parse(stdout, "", 0, 20)
    assert output.inference.mean_us == 6985.35 and output.inference.median_us is None


@pytest.mark.parametrize("merged", [True, False])
def test_compiled_model_dialect(merged: bool) -> None:
    output = parse(LITERT, "", 0, 50) if merged else parse("", LITERT, 0, 50)
    assert output.dialect == "litert"
    assert (output.init_us, output.first_inference_us) == (5757, 2125)
    assert (output.inference.count, output.inference.mean_us) == (1054, 947.132)
    assert output.peak_memory_bytes == round(7.07 * 2**20)


@pytest.mark.parametrize("lines", range(0, 19))
def test_an_output_cut_short_anywhere_is_no_result(lines: int) -> None:
    stdout = (DATA / "01_default_m1.stdout").read_text()
    head = "".join(stdout.splitlines(keepends=True)[:lines])
    with pytest.raises(BenchmarkError):
        parse(head, "", 0, 20)


def test_foreign_output() -> None:
    with pytest.raises(BenchmarkError, match="form that is known here; its last line: average latency 3 ms"):
        parse("hello\naverage latency 3 ms\n", "", 0, 1)


def test_another_abi() -> None:
    with pytest.raises(BenchmarkError, match="cannot execute benchmark_model: .*Exec format error"):
        parse("", "/system/bin/sh: ./benchmark_model: Exec format error", 126, 1)


def test_flags() -> None:
    flags = Request("/data/local/tmp/m.tflite", threads=2, runs=5, min_time_s=0.05, warmup_runs=4).flags()
    assert flags == [
        "--graph=/data/local/tmp/m.tflite",
        "--num_threads=2",
        "--num_runs=5",
        "--min_secs=0.05",
        "--warmup_runs=4",
        "--warmup_min_secs=0",
    ]


def test_result_file() -> None:
    """The numbers that the same run printed, and what it did not print."""
    result = result_file.parse((DATA / "05_result_file_m3.pb").read_bytes())
    printed = sample("05_result_file_m3")
    latency, warmup = printed.inference, printed.warmup
    assert warmup is not None
    assert {name: round(value * 1e3, 4) for name, value in result["latency_metrics"].items()} == {
        "avg_ms": latency.mean_us,
        "min_ms": latency.min_us,
        "max_ms": latency.max_us,
        "stddev_ms": latency.std_us,
        "median_ms": latency.median_us,
        "p5_ms": latency.p5_us,
        "p95_ms": latency.p95_us,
        "init_ms": printed.init_us,
        "first_inference_ms": printed.first_inference_us,
        "average_warm_up_ms": warmup.mean_us,
    }
    # Printed: "init=7.41016 overall=7.91016" MB, and a model of 1.6157 MB.
    assert result["memory_metrics"] == {"init_footprint_kb": 7588, "overall_footprint_kb": 8100}
    assert {**result["misc_metrics"], "model_throughput_in_mb_per_sec": 0} == {
        "model_size_mb": 1.6157,
        "num_runs": 20,
        "num_warmup_runs": 1,
        "model_throughput_in_mb_per_sec": 0,
    }


@pytest.mark.parametrize("content", [b"", b"hello", (DATA / "05_result_file_m3.pb").read_bytes()[:40]])
def test_what_is_no_result_file(content: bytes) -> None:
    with pytest.raises(BenchmarkError, match="the result file that benchmark_model wrote"):
        result_file.parse(content)


def test_old_builds_write_no_result_file() -> None:
    text = (DATA / "01_default_m1.stdout").read_text()
    flag = "WARN: Unconsumed cmdline flags: --result_file_path=/data/local/tmp/result.pb\n"
    assert parse(flag + text, "", 0, 20) == sample("01_default_m1")


def test_op_profile() -> None:
    ops = parse_csv((DATA / "03_prof_csv_file_m3.csv").read_text())
    assert len(ops) == 66
    assert (ops[0].op, ops[0].mean_us, ops[0].calls) == ("Convolution (NHWC, F32) IGEMM", 14.05, 1)
    assert ops[0].name == "Delegate/Convolution (NHWC, F32) IGEMM:0"
    assert {op.partition for op in ops} == {0}
    # The tool's own sum of the same table, within what its rounding to six digits leaves.
    assert sum(op.mean_us for op in ops) == pytest.approx(156.55, abs=0.01)


def test_op_profile_of_the_newer_program() -> None:
    """Verbatim from LiteRT 2.3.0 for arm64: two convolutions in partitions of their own, with a GATHER between them."""
    table = (DATA / "litert_2.3.0_profile.txt").read_text()
    ops = parse_log(f"INFO: [./litert/tools/benchmark_litert_model.h:160] \n{table}")
    assert [(op.op, op.partition, op.calls, op.mean_us) for op in ops] == [
        ("Convolution (NHWC, PF32) IGEMM", 0, 2, 784),
        ("GATHER", None, 1, 6),
    ]
    # The tool's own sum: "Timings (microseconds): count=2 curr=789".
    assert sum(op.mean_us for op in ops) == pytest.approx(789, abs=3)


@pytest.mark.parametrize(
    "text", ["", "no table", "====== Run Order ======\n", "====== Run Order ======\n\t[node]\t[Name]\n"]
)
def test_no_op_profile_in_the_log(text: str) -> None:
    with pytest.raises(BenchmarkError, match="gave no op profile"):
        parse_log(text)


@pytest.mark.parametrize("unknown", ["--use_profiler=true", "--enable_op_profiling=true --op_profiling_output_file=p"])
def test_each_program_has_a_profiler_of_its_own(unknown: str) -> None:
    text = (DATA / "01_default_m1.stdout").read_text()
    assert parse(f"WARN: Unconsumed cmdline flags: {unknown}\n{text}", "", 0, 20).inference.count == 20
    both = "--enable_op_profiling=true --use_profiler=true"
    with pytest.raises(BenchmarkError, match=f"does not know {both}"):
        parse(f"WARN: Unconsumed cmdline flags: {both}\n{text}", "", 0, 20)


def test_op_profile_of_two_partitions() -> None:
    text = (
        "INFO: Operator-wise Profiling Info for Regular Benchmark Runs:\n=== Run Order ===\n"
        "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
        "Add (ND), 0, 0.001, -nan%, -nan%, 0, 1, Delegate/Add (ND):0\n"
        "GATHER, 0, 0.002, 1%, 1%, 0, 1, gathered:7\n"
        "Add (ND), 0, 0.001, 1%, 1%, 0, 1, Delegate/Add (ND):0\n"
    )
    assert [op.partition for op in parse_csv(text)] == [0, None, 1]


def test_no_op_profile() -> None:
    with pytest.raises(BenchmarkError, match="not in a form"):
        parse_csv("")
