"""Running a model on an emulated processor: its outputs, or the instructions of each inference."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from android_bench.emulator.cpus import Cpu, make_prefix
from android_bench.emulator.root import EmulatorRoot
from evit_mobile.errors import DeviceError, MachineError, RequestError
from evit_mobile.processes import temporary_folder
from evit_mobile.runtimes.session import Array, TensorInfo
from evit_mobile.tflite.flatbuffer import read_whole

#: Longest run of one emulated program, seconds: the largest models take minutes.
TIMEOUT_S = 1800.0
_PROFILING = ("--enable_op_profiling=true", "--op_profiling_output_mode=csv")


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model, in the order in which the runner takes and gives them."""

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]


@dataclass(frozen=True)
class Finished:
    """How an emulated program ended, and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str


class Qemu:
    """An emulated processor with one release of LiteRT.

    Args:
        root: from ``root.prepare``.
        release: one of ``root.LITERT_RELEASES``.

    Raises:
        MachineError: this QEMU does not know the processor.
    """

    def __init__(self, root: EmulatorRoot, cpu: Cpu, release: str) -> None:
        self.root, self.cpu, self.release = root, cpu, release
        self.library = root.litert[release]
        self.prefix = make_prefix(cpu, root.root)
        known = subprocess.run(
            [root.qemu, "-cpu", "help"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        ).stdout.split()
        base = cpu.emulated_as or cpu.name
        if base not in known:
            raise MachineError(
                f"QEMU {root.qemu_version} does not know the processor {base}", hint="install a newer qemu-user"
            )
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def signature(self, model: Path) -> Signature:
        """What ``model`` takes and gives.

        Raises:
            RequestError: LiteRT cannot load it.
            DeviceError: the run did not end as it should.
        """
        try:
            printed = self._run(model, ["--describe=true", "--num_runs=0", "--warmup_runs=0"])
        except _LoadError as error:
            read_whole(model)  # says it better where the file itself is at fault
            raise RequestError(
                f"{model} cannot be loaded by ai-edge-litert {self.release} (arm64): {error.message}"
            ) from error
        return Signature(_tensors("input", printed), _tensors("output", printed))

    def infer(self, model: Path, inputs: Sequence[Array], signature: Signature) -> list[Array]:
        """One inference: the outputs in order of the signature.

        Raises:
            DeviceError: the run did not end as it should.
        """
        with temporary_folder() as folder:
            input_files = [folder / f"input{index}" for index in range(len(inputs))]
            for path, array in zip(input_files, inputs):
                path.write_bytes(np.ascontiguousarray(array).tobytes())
            output_files = [folder / f"output{index}" for index in range(len(signature.outputs))]
            files = [
                f"--input_files={','.join(map(str, input_files))}",
                f"--output_files={','.join(map(str, output_files))}",
            ]
            self._run(model, [*files, "--num_runs=1", "--warmup_runs=0"])
            contents = [path.read_bytes() for path in output_files]
        return [
            np.frombuffer(content, info.dtype).reshape(info.shape) for content, info in zip(contents, signature.outputs)
        ]

    def check(self, model: Path) -> None:
        """Let the runner load ``model``.

        Raises:
            RequestError, DeviceError: as ``signature``.
        """
        self.signature(model)

    def count(self, model: Path, inferences: int) -> tuple[int, ...]:
        """Instructions of each of ``inferences`` inferences after a first one, by one process on one thread.

        A count is the difference between what the process had executed right after an inference and right before it.

        Raises:
            DeviceError: the run did not end as it should.
        """
        with temporary_folder() as folder:
            out = folder / "counts"
            self._run(model, [f"--num_runs={inferences}", "--warmup_runs=1"], before=self.counting(out))
            counts = _differences(out.read_text() if out.exists() else "")
        if len(counts) != inferences:
            raise DeviceError(f"{len(counts)} of {inferences} inferences of {model.name} were counted")
        return counts

    def blocks(self, model: Path) -> str:
        """What one inference after a first one executed, block by block: the counter's lines ``block`` and ``map``, see
        ``icount.c``.

        Raises:
            DeviceError: the run did not end as it should.
        """
        with temporary_folder() as folder:
            out, blocks = folder / "counts", folder / "blocks"
            plugin, argument = self.counting(out)
            self._run(model, ["--num_runs=1", "--warmup_runs=1"], before=[plugin, f"{argument},blocks={blocks}"])
            return blocks.read_text()

    def trace(self, model: Path, caches: str, out: Path, library: Path) -> None:
        """Let the tracer (see ``estimate/tracer.c``) follow one inference of ``model`` after a first one, op by op.

        Args:
            caches: as ``65536:4/524288:8``: bytes and ways of each level.
            out: where the tracer writes.
            library: LiteRT's, or a copy of it.

        Raises:
            DeviceError: the run did not end as it should.
        """
        arguments = [
            *self._usual(model, library),
            "--num_runs=2",
            "--warmup_runs=0",
            "--profile_runs=0",
            *_PROFILING,
            "--op_profiling_output_file=",
        ]
        plugin = ["-plugin", f"{self.root.tracer},out={out},caches={caches}"]
        done = self.execute(self.root.runner, arguments, model, before=plugin)
        if done.exit_code:
            raise self._failure(model, done)

    def profile(self, model: Path, library: Path | None = None) -> str:
        """The ops of one inference as the runner's profiler writes them, as CSV; the times in it mean nothing.

        Args:
            library: LiteRT's, unless it is a copy.

        Raises:
            DeviceError: the run did not end as it should.
        """
        with temporary_folder() as folder:
            out = folder / "profile.csv"
            self._run(
                model,
                [
                    "--num_runs=0",
                    "--warmup_runs=0",
                    "--profile_runs=1",
                    *_PROFILING,
                    f"--op_profiling_output_file={out}",
                ],
                library=library,
            )
            return out.read_text(encoding="utf-8")

    def counting(self, out: Path) -> list[str]:
        """QEMU's arguments that count a program's instructions into the file ``out``, see ``icount.c``."""
        return ["-plugin", f"{self.root.plugin},out={out}"]

    def execute(self, program: Path, arguments: Sequence[str], model: Path, *, before: Sequence[str] = ()) -> Finished:
        """Run an arm64 program, ``before`` being further arguments of QEMU; ``model`` is what an error names.

        Raises:
            MachineError: QEMU refuses the instruction counter.
            DeviceError: it took too long, or the emulator was stopped.
        """
        command = [
            str(self.root.qemu),
            "-L",
            str(self.prefix),
            "-cpu",
            self.cpu.model,
            *before,
            str(program),
            *arguments,
        ]
        with self._lock:
            if self._stopped:
                raise DeviceError("the emulator was stopped")
            # The host's LD_PRELOAD, QEMU_LOG and the like would reach the emulated program, so it gets an environment
            # of its own.
            process = subprocess.Popen(
                command,
                env={"LANG": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{model.name} did not finish on {self.cpu.name} within {TIMEOUT_S:g} s") from error
        finally:
            process.kill()
            process.wait()
            with self._lock:
                self._running.discard(process)
        refused = [line.strip() for line in stderr.splitlines() if "Could not load plugin" in line]
        if refused:
            raise MachineError(f"QEMU {self.root.qemu_version} refuses the instruction counter: {refused[0]}")
        return Finished(process.returncode, stdout, stderr)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """End whatever runs, and let nothing start inside the body."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()
        try:
            yield
        finally:
            self._stopped = False

    def _run(
        self, model: Path, arguments: Sequence[str], *, before: Sequence[str] = (), library: Path | None = None
    ) -> str:
        """Run the runner on one thread and give its standard output."""
        done = self.execute(self.root.runner, [*self._usual(model, library), *arguments], model, before=before)
        if done.exit_code or "INFO: Inference timings in us:" not in done.stdout:
            raise self._failure(model, done)
        return done.stdout

    def _usual(self, model: Path, library: Path | None) -> list[str]:
        paths = [f"--graph={model.absolute()}", f"--litert_lib={library or self.library}"]
        return [*paths, "--num_threads=1", "--min_secs=0", "--warmup_min_secs=0", f"--max_secs={TIMEOUT_S:g}"]

    def _failure(self, model: Path, done: Finished) -> DeviceError:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        if any(line.startswith("Failed to load model") for line in errors):
            return _LoadError(errors[0])
        signals = [line for line in lines if line.startswith("qemu:")]
        reason = (errors or signals or lines or [f"exit code {done.exit_code} without a word"])[0]
        return DeviceError(f"{model.name} failed on the emulated {self.cpu.title}: {reason}")


class _LoadError(DeviceError):
    """LiteRT refused the model."""


def _tensors(role: str, printed: str) -> list[TensorInfo]:
    """The runner's lines ``SIGNATURE input 0 FLOAT32 1,224,224,3 name``."""
    fields = re.findall(rf"^SIGNATURE {role} (\d+) (\w+) ([-\d,]*) (.*)$", printed, re.MULTILINE)
    return [
        TensorInfo(int(index), name, tuple(int(size) for size in shape.split(",") if size), dtype.lower())
        for index, dtype, shape, name in fields
    ]


def _differences(counts: str) -> tuple[int, ...]:
    """From the counter's lines ``mark 0 N`` (before an inference) and ``mark 1 N`` (after it)."""
    marks = [(int(which), int(count)) for which, count in re.findall(r"^mark (\d) (\d+)$", counts, re.MULTILINE)]
    return tuple(after - before for (kind, before), (_, after) in zip(marks, marks[1:]) if kind == 0)
