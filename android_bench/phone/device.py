"""An Android device behind adb, measured by TFLite's ``benchmark_model``.

``adb:SERIAL`` is a device of the local adb server, ``adb:SERIAL@host:port`` one of another's, and ``adb`` alone the
only one there is. The program and the models lie on the device in one folder, under names made of their hashes, so what
is there and whole is not pushed again. A round is one process.
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

from android_bench.benchmark_model import binaries, result_file
from android_bench.benchmark_model.op_profile import parse_csv, parse_log
from android_bench.benchmark_model.output import BenchmarkError, Request, parse
from android_bench.device import DeviceOptions, LimitError, UnusableDeviceError
from android_bench.phone import conditions, store
from android_bench.phone import facts as android
from android_bench.phone.adb import (
    DISCOVERY_S,
    Adb,
    AdbError,
    AdbTimeoutError,
    Output,
    Server,
    TransientAdbError,
    find_binary,
)
from android_bench.phone.adjustments import Adjustments, Wishes
from android_bench.phone.store import FOLDER, remote
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.files import cache_folder
from evit_mobile.results.record import Component, Conditions, DeviceInfo, OpTime, Round, RunSettings

#: Where on the device a build that can writes its result file.
_RESULT_FILE = f"{FOLDER}/result.pb"
#: For the device's shell, in our folder: end what an interrupted run left running. Its number may be another program's
#: by now.
_STOP = f"[ -e running ] && read pid <running && grep -qs {FOLDER} /proc/$pid/cmdline && kill -9 $pid; rm -f running"
#: Between what the program printed and that file's bytes, in hexadecimal.
_RESULT_LINE = "#result"

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
        self._adjustments = Adjustments(adb, FOLDER)
        adb.server.await_device(adb.serial, options.reconnect_s, DISCOVERY_S)
        self._facts = self._retried(lambda: android.read_facts(adb))
        self._program = binaries.find(options.benchmark_binary, options.benchmark_sha256, self._facts.abis)
        self._adb_version = adb.server.version()
        self._mask: int | None = None
        self._limits = conditions.Limits(None, 0.0, ())
        self._latest: Conditions | None = None

    def describe(self) -> DeviceInfo:
        return self._facts.describe(self._name, self._adb.serial)

    def components(self) -> tuple[Component, ...]:
        # The program itself does not say its version; its hash stands for it.
        return (
            Component(name="benchmark_model", version=self._program.version, sha256=self._program.sha256),
            Component(name="adb", version=self._adb_version),
        )

    def conditions(self) -> Conditions:
        self._latest = self._retried(lambda: conditions.sample(self._adb))
        return self._latest

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[None]:
        """Take the device for us alone, bring program and models there, set what was asked for, and wait until it is
        cool.
        """
        self._mask = android.parse_cores(settings.cores, self._facts.processors)
        cores = [core for core in self._facts.processors if self._mask is None or self._mask >> core.index & 1]
        if settings.threads > len(cores):
            raise RequestError(
                f"{settings.threads} threads do not fit on {len(cores)} cores",
                hint="give fewer --threads or more --cores",
            )
        self._limits = conditions.Limits(self._options.max_temperature_celsius, self._options.cool_timeout_s, cores)
        if self._options.max_temperature_celsius is not None and conditions.hottest(self.conditions()) is None:
            raise RequestError(f"device {self._adb.serial} does not say how warm it is", hint="leave --max-temp out")
        with _alone(self._adb), self._in_order():
            options = self._options
            self._retried(lambda: store.put(self._adb, self._program.path, executable=True, say=options.say))
            for path in models:
                self._retried(lambda: store.put(self._adb, path, say=options.say))
            wishes = Wishes(options.fixed_performance, options.stay_awake, options.governor)
            self._retried(lambda: self._adjustments.apply(wishes))
            conditions.await_fit(self.conditions, self._limits, options.say, self._adb.serial)
            self._retried(lambda: conditions.check_clocks_under_load(self._adb, cores, self._mask))
            yield

    def run(self, model: Path, settings: RunSettings) -> Round:
        # The caller has just looked at the conditions; they are sampled again only where they are not fit.
        before = None
        if self._latest is None or self._limits.obstacle(self._latest) is not None:
            before = conditions.await_fit(self.conditions, self._limits, self._options.say, self._adb.serial)
        request = Request(
            graph=remote(model),
            threads=settings.threads,
            runs=math.ceil(settings.runs / settings.rounds),
            min_time_s=settings.min_time_s / settings.rounds,
            warmup_runs=settings.warmup_runs + 1,
            result_file=_RESULT_FILE,
        )
        output, mask = self._retried(lambda: self._invoke(request))
        stdout, _, result = output.stdout.partition(f"\n{_RESULT_LINE}\n")
        printed = parse(stdout, output.stderr, output.exit_code, request.runs)
        return Round(
            printed_latency=printed.inference,
            printed_warmup=printed.warmup,
            init_us=printed.init_us,
            first_inference_us=printed.first_inference_us,
            peak_memory_bytes=printed.peak_memory_bytes,
            result_file=result_file.parse(bytes.fromhex(result)) if result.strip() else None,
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
        request = Request(
            remote(model), settings.threads, runs, settings.min_time_s / settings.rounds, settings.warmup_runs + 1, path
        )
        self._retried(lambda: self._adb.shell(f"rm -f {path}"))
        output, _ = self._retried(lambda: self._invoke(request))
        parse(output.stdout, output.stderr, output.exit_code, runs)
        written = self._retried(lambda: self._adb.shell(f"[ -e {path} ] && cat {path}; rm -f {path}")).stdout
        return parse_csv(written) if written.strip() else parse_log(f"{output.stdout}\n{output.stderr}")

    def _invoke(self, request: Request) -> tuple[Output, str | None]:
        """One process, and the mask of cores that it really ran on.

        Raises:
            LimitError: it took too long. BenchmarkError: the device ran it on other cores.
        """
        program = " ".join(shlex.quote(word) for word in [remote(self._program.path), *request.flags()])
        # The shell that writes its number down and shows its mask becomes the program, so both are the program's.
        command = f"sh -c {shlex.quote(f'echo $$ >running; grep Cpus_allowed: /proc/$$/status; exec {program}')}"
        if self._mask is not None:
            command = f"taskset {self._mask:x} {command}"
        # Where the cable was pulled and is in again, the run that was cut off goes on: two at once would measure each
        # other.
        script = f"cd {FOLDER} || exit; {_STOP}; {command}"
        if (file := request.result_file) is not None:
            show = f"[ -e {file} ] && od -A n -v -t x1 {file}; rm -f {file}"
            script = f"rm -f {file}; {script}; code=$?; echo; echo '{_RESULT_LINE}'; {show}; exit $code"
        try:
            output = self._adb.shell(script, timeout_s=self._options.run_timeout_s)
        except AdbTimeoutError as error:
            self._stop_program()
            raise LimitError(
                "timed out",
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

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """The device as it was: before, where another run was killed on it, and after."""
        self._stop_program()
        self._retried(self._adjustments.restore)
        try:
            yield
        except BaseException:
            # The first error is the one to tell. Where the device does not answer, its guard puts back what is written
            # down there.
            with contextlib.suppress(DeviceError):
                self._leave()
            raise
        else:
            self._leave()
        finally:
            self._adjustments.release()

    def _leave(self) -> None:
        self._stop_program()
        self._retried(self._adjustments.restore)
        if self._options.clean:
            self._retried(lambda: store.remove_all(self._adb))

    def _stop_program(self) -> None:
        """End what an interrupted run left running, and remove what was pushed in part."""
        self._retried(lambda: self._adb.shell(f"cd {FOLDER} 2>/dev/null || exit 0; rm -f *.part; {_STOP}"))

    def _retried(self, action: Callable[[], T]) -> T:
        """``action``, and once more when the device or the server went away and came back.

        Raises:
            UnusableDeviceError: it did not come back, or adb failed for a reason that stays.
        """
        try:
            return action()
        except TransientAdbError as error:
            self._options.say(f"waiting for {self._adb.serial}: {error.message}")
            try:
                self._adb.server.await_device(self._adb.serial, self._options.reconnect_s)
                self._adjustments.renew()
                return action()
            except TransientAdbError as again:
                raise UnusableDeviceError(
                    f"device {self._adb.serial} went away and did not come back: {again.message}",
                    hint=again.hint or "is the cable loose?",
                ) from again
            except AdbError as again:
                raise UnusableDeviceError(again.message, hint=again.hint) from again
        except AdbError as error:
            # It is adb or the device that failed, and no model.
            raise UnusableDeviceError(error.message, hint=error.hint) from error


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
            raise RequestError(f"{where!r} is not an adb server", hint="write adb:SERIAL@host:port")
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
    raise DeviceError(
        "no device is attached", hint="connect one, allow USB debugging on it, and see evit-mobile devices"
    )


@contextlib.contextmanager
def _alone(adb: Adb) -> Iterator[None]:
    """Hold the device against other processes of this machine.

    Raises:
        DeviceError: another one holds it.
    """
    key = f"{adb.server.address} {adb.serial}"
    path = cache_folder("locks") / hashlib.sha256(key.encode()).hexdigest()[: store.DIGITS]
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
