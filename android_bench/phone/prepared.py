"""A phone that is held for measuring: ``benchmark_model``, one process a round."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from android_bench.benchmark_model import result_file
from android_bench.benchmark_model.op_profile import parse_csv, parse_log
from android_bench.benchmark_model.output import BenchmarkError, Request, parse
from android_bench.device import Calls, LimitError, Pace, Running, UnusableDeviceError
from android_bench.phone import conditions
from android_bench.phone.adb import Output
from android_bench.phone.call_log import END, CallLog
from android_bench.phone.connection import Connection
from android_bench.phone.errors import AdbTimeoutError
from android_bench.phone.store import FOLDER, remote
from evit_mobile.errors import DeviceError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import OpTime, Round, RunSettings
from evit_mobile.results.timeline import PowerSource

#: Where on the device a build that can writes its result file, and its profile.
_RESULT_FILE, _PROFILE_FILE = f"{FOLDER}/result.pb", f"{FOLDER}/profile.csv"
#: For the device's shell, in our folder: end what an interrupted run left running. Its number may be another program's
#: by now.
_STOP = f"[ -e running ] && read pid <running && grep -qs {FOLDER} /proc/$pid/cmdline && kill -9 $pid; rm -f running"
#: Between what the program printed and that file's bytes, in hexadecimal.
_RESULT_LINE = "#result"


def stop_program(phone: Connection) -> None:
    """End what an interrupted run left running, and remove what was pushed in part."""
    phone.shell(f"cd {FOLDER} 2>/dev/null || exit 0; rm -f *.part; {_STOP}")


class PreparedPhone:
    """The phone with the program and the models on it.

    Args:
        phone: the phone.
        program: ``benchmark_model``, as it lies here.
        settings: how models are run.
        mask: of the cores to run on; None leaves them to the device.
        limits: when the phone is fit to be measured.
    """

    def __init__(
        self, phone: Connection, program: Path, settings: RunSettings, mask: int | None, limits: conditions.Limits
    ) -> None:
        self._phone, self._program, self._settings = phone, program, settings
        self._mask, self._limits = mask, limits
        self._latest: Conditions | None = None

    def await_fit(self) -> Conditions:
        """Wait until the phone is fit to be measured; its conditions then."""
        return conditions.await_fit(self.conditions, self._limits, self._phone.options.say, self._phone.adb.serial)

    def conditions(self) -> Conditions:
        self._latest = self._phone.retried(lambda: conditions.sample(self._phone.adb))
        return self._latest

    def run(self, model: Path) -> Round:
        # The caller has just looked at the conditions; they are sampled again only where they are not fit.
        before = None
        if self._latest is None or self._limits.obstacle(self._latest) is not None:
            before = self.await_fit()
        request = replace(self._request(model), result_file=_RESULT_FILE)
        output, mask = self._phone.retried(lambda: self._invoke(request))
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

    @property
    def power_source(self) -> PowerSource | None:
        return "battery" if self._look()[1] is not None else None

    def _look(self) -> tuple[Conditions, float | None]:
        return self._phone.retried(lambda: conditions.look(self._phone.adb))

    @contextlib.contextmanager
    def keep_calling(self, model: Path, pace: Pace) -> Iterator[Running]:
        """As ``Continuous.keep_calling``, in one process that prints a line for each call."""
        stop_program(self._phone)
        request = self._request(model).flags() + ["--call_log=true", f"--run_seconds={pace.seconds:.3f}"]
        if pace.period_ns is not None:
            request.append(f"--period_ns={pace.period_ns}")
        script = f'cd {FOLDER} || exit; {self._command(request)}; code=$?; echo; echo "{END} $code"'
        timeout_s = self._phone.options.run_timeout_s
        errors = tempfile.TemporaryFile()
        log = CallLog(self._phone.adb.start(script, errors), errors)
        try:
            with self._told(log):
                log.await_head(timeout_s)
            mask = self._mask_of("\n".join(log.words), log.complaints())
            init_us, first_us, *warmup_us = log.head
            yield Running(
                self._calls(log, pace),
                init_us or None,
                first_us or None,
                tuple(value for value in warmup_us if value),
                mask,
            )
        finally:
            log.close()
            # The first error is the one to tell.
            with contextlib.suppress(DeviceError):
                stop_program(self._phone)

    def _calls(self, log: CallLog, pace: Pace) -> Iterator[Calls]:
        """What was logged, whenever the log has come to the next look. The times are the phone's."""
        look_ns = due_ns = round(pace.look_s * 1e9)
        before_w: float | None = None
        while not log.is_over:
            with self._told(log):
                start_ns, duration_ns = log.until(due_ns, self._phone.options.run_timeout_s + pace.look_s)
            if not len(start_ns):
                return
            due_ns = (log.end_ns // look_ns + 1) * look_ns
            state, now_w = self._look()
            known = [watts for watts in (before_w, now_w) if watts is not None]
            before_w = now_w
            yield Calls(start_ns, duration_ns, state, log.end_ns, sum(known) / len(known) if known else None)

    @contextlib.contextmanager
    def _told(self, log: CallLog) -> Iterator[None]:
        """What was wrong with the program, if it was ended, or said nothing, in the body."""
        serial, timeout_s = self._phone.adb.serial, self._phone.options.run_timeout_s
        try:
            yield
        except TimeoutError as error:
            raise LimitError(
                "timed out",
                f"the run on {serial} said nothing for {timeout_s:g} s and was stopped",
                hint="raise --run-timeout if the model is that slow",
            ) from error
        if log.is_over and log.exit_code is None:
            raise UnusableDeviceError(
                f"device {serial} went away during the run", hint="is the cable loose? --resume goes on"
            )
        if log.exit_code:
            parse("\n".join(log.words), log.complaints(), log.exit_code, 1)
        if log.is_over and not log.head:
            raise BenchmarkError(
                "this benchmark_model keeps no log of its calls: --sustained and --every cannot see single ones",
                hint="--benchmark-binary takes evit-mobile's own runner, see the guide to sustained runs",
            )

    def profile(self, model: Path) -> tuple[OpTime, ...]:
        request = replace(self._request(model), profile=_PROFILE_FILE)
        self._phone.shell(f"rm -f {_PROFILE_FILE}")
        output, _ = self._phone.retried(lambda: self._invoke(request))
        parse(output.stdout, output.stderr, output.exit_code, request.runs)
        csv = self._phone.shell(f"[ -e {_PROFILE_FILE} ] && cat {_PROFILE_FILE}; rm -f {_PROFILE_FILE}").stdout
        return parse_csv(csv) if csv.strip() else parse_log(f"{output.stdout}\n{output.stderr}")

    def _request(self, model: Path) -> Request:
        """One process's share of the runs and of the time."""
        settings = self._settings
        return Request(
            graph=remote(model),
            threads=settings.threads,
            runs=math.ceil(settings.runs / settings.rounds),
            min_time_s=settings.min_time_s / settings.rounds,
            warmup_runs=settings.warmup_runs + 1,
        )

    def _invoke(self, request: Request) -> tuple[Output, str | None]:
        """One process, and the mask of cores that it really ran on.

        Raises:
            LimitError: it took too long. BenchmarkError: the device ran it on other cores.
        """
        phone = self._phone
        command = self._command(request.flags())
        # Where the cable was pulled and is in again, the run that was cut off goes on: two at once would measure each
        # other.
        script = f"cd {FOLDER} || exit; {_STOP}; {command}"
        if (file := request.result_file) is not None:
            show = f"[ -e {file} ] && od -A n -v -t x1 {file}; rm -f {file}"
            script = f"rm -f {file}; {script}; code=$?; echo; echo '{_RESULT_LINE}'; {show}; exit $code"
        try:
            output = phone.adb.shell(script, timeout_s=phone.options.run_timeout_s)
        except AdbTimeoutError as error:
            stop_program(phone)
            raise LimitError(
                "timed out",
                f"the run on {phone.adb.serial} did not end within {phone.options.run_timeout_s:g} s and was stopped",
                hint="raise --run-timeout if the model is that slow",
            ) from error
        return output, self._mask_of(output.stdout, output.stderr)

    def _command(self, flags: Sequence[str]) -> str:
        """For the device's shell: the program on its cores, which shows its mask and writes its number down."""
        program = " ".join(shlex.quote(word) for word in [remote(self._program), *flags])
        # The shell that writes its number down and shows its mask becomes the program, so both are the program's.
        command = f"sh -c {shlex.quote(f'echo $$ >running; grep Cpus_allowed: /proc/$$/status; exec {program}')}"
        return f"taskset {self._mask:x} {command}" if self._mask is not None else command

    def _mask_of(self, stdout: str, stderr: str = "") -> str | None:
        """The mask of cores that the program really ran on.

        Raises:
            BenchmarkError: it is not the one that was asked for.
        """
        match = re.search(r"^Cpus_allowed:\s*([0-9a-f,]+)$", stdout, re.MULTILINE)
        mask = int(match[1].replace(",", ""), 16) if match else None
        if self._mask is not None and mask is not None and mask != self._mask:
            raise BenchmarkError(f"the device ran the model on the cores {mask:#x}, {self._mask:#x} were asked for")
        if self._mask is not None and mask is None:
            words = stderr.strip().splitlines()
            reason = words[0] if words else "it did not say which cores it used"
            raise BenchmarkError(f"the device does not run on the cores {self._mask:#x}: {reason}")
        return hex(mask) if mask else None
