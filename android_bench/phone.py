"""An Android device behind adb, measured by TFLite's ``benchmark_model``.

``adb:SERIAL`` is a device of the local adb server, ``adb:SERIAL@host:port`` one of another's, and ``adb`` alone the only one there is.
The program and the models lie on the device in one folder, under names made of their hashes, so what is there and whole is not
pushed again. A round is one process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import re
import shlex
from pathlib import Path
from typing import Callable, Iterator, Sequence, TypeVar

from android_bench import android, binaries, conditions
from android_bench.adb import Adb, AdbError, AdbTimeoutError, Output, Server, TransientAdbError, find_binary, transfer_s
from android_bench.benchmark_model import BenchmarkError, Request, parse
from android_bench.device import DeviceOptions, UnusableDeviceError
from android_bench.op_profile import parse_csv
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.files import cache_folder
from evit_mobile.results.record import Component, Conditions, DeviceInfo, OpTime, Round, RunSettings
from evit_mobile.weights import sha256_of

#: All that is ours on a device. Programs may be executed below /data/local/tmp and hardly anywhere else.
FOLDER = "/data/local/tmp/evit-mobile"
#: Digits of a hash in a name.
_DIGITS = 16

T = TypeVar("T")


class Phone:
    """The device ``adb``.

    Args:
        name: as ``--device`` named it.
        adb: the device itself.
        options: what the user asked for.

    Raises:
        AdbError: it cannot be used. RequestError: the benchmark program cannot be used with it.
    """

    def __init__(self, name: str, adb: Adb, options: DeviceOptions) -> None:
        self._name, self._adb, self._options = name, adb, options
        adb.server.await_device(adb.serial, options.reconnect_s)
        self._facts = self._retried(lambda: android.read_facts(adb))
        self._binary = binaries.find(options.benchmark_binary, options.benchmark_sha256, self._facts.abi)
        self._binary_sha256 = sha256_of(self._binary)
        self._adb_version = adb.server.version()
        self._adjustments = conditions.Adjustments(adb, f"{FOLDER}/restore")
        self._mask: int | None = None
        self._limits = conditions.Limits(None, 0.0, ())

    def describe(self) -> DeviceInfo:
        return self._facts.describe(self._name, self._adb.serial)

    def components(self) -> tuple[Component, ...]:
        # The program does not say its version; its hash stands for it.
        return (
            Component(name="benchmark_model", version="unknown", sha256=self._binary_sha256),
            Component(name="adb", version=self._adb_version),
        )

    def conditions(self) -> Conditions:
        return self._retried(lambda: conditions.sample(self._adb))

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[None]:
        """Take the device for us alone, bring program and models there, set what was asked for, and wait until it is cool."""
        self._mask = android.parse_cores(settings.cores, self._facts.processors)
        cores = [core for core in self._facts.processors if self._mask is None or self._mask >> core.index & 1]
        if settings.threads > len(cores):
            raise RequestError(f"{settings.threads} threads do not fit on {len(cores)} cores", hint="give fewer --threads or more --cores")
        self._limits = conditions.Limits(self._options.max_temperature_celsius, self._options.cool_timeout_s, cores)
        with _alone(self._adb), self._in_order():
            self._put(self._binary, executable=True)
            for model in models:
                self._put(model)
            options = self._options
            self._adjustments.apply(conditions.Wishes(options.fixed_performance, options.stay_awake, options.governor))
            conditions.await_fit(self.conditions, self._limits, options.say, self._adb.serial)
            self._retried(lambda: conditions.check_clocks_under_load(self._adb, cores, self._mask))
            yield

    def run(self, model: Path, settings: RunSettings) -> Round:
        before = conditions.await_fit(self.conditions, self._limits, self._options.say, self._adb.serial)
        request = Request(
            graph=_remote(model),
            threads=settings.threads,
            runs=math.ceil(settings.runs / settings.rounds),
            min_time_s=settings.min_time_s / settings.rounds,
            warmup_runs=settings.warmup_runs + 1,
        )
        output, mask = self._retried(lambda: self._invoke(request))
        printed = parse(output.stdout, output.stderr, output.exit_code, request.runs)
        return Round(
            printed_latency=printed.inference,
            printed_warmup=printed.warmup,
            init_us=printed.init_us,
            first_inference_us=printed.first_inference_us,
            peak_memory_bytes=printed.peak_memory_bytes,
            cores_mask=mask,
            before=before,
        )

    def profile(self, model: Path, settings: RunSettings) -> tuple[OpTime, ...]:
        """Time by op of a run of its own, since the profiler takes time itself. Only valid inside ``prepare``.

        Raises:
            DeviceError: the run did not end as it should, or this build of the program has no profiler.
        """
        path = f"{FOLDER}/profile.csv"
        runs = math.ceil(settings.runs / settings.rounds)
        request = Request(_remote(model), settings.threads, runs, settings.min_time_s / settings.rounds, settings.warmup_runs + 1, path)
        self._retried(lambda: self._adb.shell(f"rm -f {path}"))
        output, _ = self._retried(lambda: self._invoke(request))
        parse(output.stdout, output.stderr, output.exit_code, runs)
        return parse_csv(self._retried(lambda: self._adb.shell(f"cat {path}; rm -f {path}")).stdout)

    def _invoke(self, request: Request) -> tuple[Output, str | None]:
        """One process, and the mask of cores that it really ran on.

        Raises:
            BenchmarkError: it hung, or the device ran it on other cores.
        """
        program = " ".join(shlex.quote(word) for word in [_remote(self._binary), *request.flags()])
        # The shell that writes its number down and shows its mask becomes the program, so both are the program's.
        script = f"cd {FOLDER} && exec sh -c {shlex.quote(f'echo $$ >running; grep Cpus_allowed: /proc/$$/status; exec {program}')}"
        if self._mask is not None:
            script = script.replace("exec sh", f"exec taskset {self._mask:x} sh", 1)
        try:
            output = self._adb.shell(script, timeout_s=self._options.run_timeout_s)
        except AdbTimeoutError as error:
            self._stop_program()
            raise BenchmarkError(
                f"the run on {self._adb.serial} did not end within {self._options.run_timeout_s:g} s and was stopped",
                hint="raise --run-timeout if the model is that slow",
            ) from error
        match = re.search(r"^Cpus_allowed:\s*([0-9a-f,]+)$", output.stdout, re.MULTILINE)
        mask = int(match[1].replace(",", ""), 16) if match else None
        if self._mask is not None and mask is not None and mask != self._mask:
            raise BenchmarkError(f"the device ran the model on the cores {mask:#x}, {self._mask:#x} were asked for")
        if self._mask is not None and mask is None:
            words = output.stderr.strip().splitlines()
            reason = words[0] if words else "it did not say which cores it used"
            raise BenchmarkError(f"the device does not run on the cores {self._mask:#x}: {reason}")
        return output, hex(mask) if mask else None

    def _put(self, local: Path, executable: bool = False) -> None:
        """Bring a file to the device, unless it is there and whole.

        Raises:
            AdbError: it does not arrive whole.
        """
        path, wanted = _remote(local), sha256_of(local)
        limit = transfer_s(local.stat().st_size)
        if self._remote_sha256(path, limit) == wanted:
            return
        self._options.say(f"pushing {local.name} to {self._adb.serial}")
        part = f"{path}.part"

        def push() -> None:
            self._adb.push(local, part)
            found = self._remote_sha256(part, limit)
            if found != wanted:
                self._adb.shell(f"rm -f {part}")
                raise AdbError(
                    f"{local.name} did not arrive whole on device {self._adb.serial}: its hash differs", hint="is the cable loose?",
                    serial=self._adb.serial,
                )  # fmt: skip

        self._retried(push)
        self._retried(lambda: self._adb.shell((f"chmod 755 {part} && " if executable else "") + f"mv {part} {path}"))

    def _remote_sha256(self, path: str, timeout_s: float) -> str | None:
        output = self._retried(lambda: self._adb.shell(f"mkdir -p {FOLDER} && sha256sum {path}", timeout_s=timeout_s))
        match = re.match(r"([0-9a-f]{64})\b", output.stdout)
        return match[1] if match else None

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """The device as it was: before, where another run was killed on it, and after."""
        self._stop_program()
        self._retried(self._adjustments.restore)
        try:
            yield
        except BaseException:
            # The first error is the one to tell. Where the device does not answer, the next run puts back what is written down there.
            with contextlib.suppress(DeviceError):
                self._leave()
            raise
        else:
            self._leave()

    def _leave(self) -> None:
        self._stop_program()
        self._retried(self._adjustments.restore)
        if self._options.clean:
            self._retried(lambda: self._adb.shell(f"rm -rf {FOLDER}"))

    def _stop_program(self) -> None:
        """End what an interrupted run left running; its number may be another program's by now."""
        self._retried(lambda: self._adb.shell(
            f"cd {FOLDER} 2>/dev/null || exit 0; [ -e running ] || exit 0; read pid <running; "
            f"grep -qs {FOLDER} /proc/$pid/cmdline && kill -9 $pid; rm -f running"
        ))  # fmt: skip

    def _retried(self, action: Callable[[], T]) -> T:
        """``action``, and once more when the device or the server went away and came back.

        Raises:
            UnusableDeviceError: it did not come back.
        """
        try:
            return action()
        except TransientAdbError as error:
            self._options.say(f"waiting for {self._adb.serial}: {error.message}")
            try:
                self._adb.server.await_device(self._adb.serial, self._options.reconnect_s)
                return action()
            except TransientAdbError as again:
                raise UnusableDeviceError(
                    f"device {self._adb.serial} went away and did not come back: {again.message}", hint=again.hint or "is the cable loose?"
                ) from again


def open_device(address: str, options: DeviceOptions) -> Phone:
    """The device at ``SERIAL``, ``SERIAL@host:port``, or the only one.

    Raises:
        MachineError: there is no adb. RequestError: the address is none, or several devices would do.
        AdbError: the device cannot be used.
    """
    serial, separator, where = address.rpartition("@") if "@" in address else (address, "", "")
    server = Server(find_binary())
    if separator:
        host, _, port = where.rpartition(":")
        if not host or not port.isdigit():
            raise RequestError(f"{where!r} is no adb server", hint="write adb:SERIAL@host:port")
        server = Server(server.binary, host, int(port))
    serial = serial or os.environ.get("ANDROID_SERIAL", "") or _only_device(server)
    return Phone(f"adb:{serial}{separator}{where}", Adb(server, serial), options)


def _only_device(server: Server) -> str:
    found = server.devices()
    usable = [device for device in found if device.state == "device"]
    if len(usable) == 1:
        return usable[0].serial
    if len(usable) > 1:
        raise DeviceError(
            f"{len(usable)} devices are attached: {', '.join(device.serial for device in usable)}",
            hint="say which one: --device adb:SERIAL",
        )
    if found:
        raise DeviceError(f"device {found[0].serial} is {found[0].state}", hint=found[0].todo)
    raise DeviceError("no device is attached", hint="connect one, allow USB debugging on it, and see evit-mobile devices")


def _remote(local: Path) -> str:
    """A file's path on the device."""
    return f"{FOLDER}/{sha256_of(local)[:_DIGITS]}"


@contextlib.contextmanager
def _alone(adb: Adb) -> Iterator[None]:
    """Hold the device against other processes of this machine.

    Raises:
        DeviceError: another one holds it.
    """
    key = f"{adb.server.host}:{adb.server.port} {adb.serial}"
    path = cache_folder("locks") / hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise DeviceError(
                f"device {adb.serial} is being measured by another process ({file.read().strip() or 'unknown'})",
                hint="wait until it is done",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
