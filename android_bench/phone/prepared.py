"""A phone that is held for measuring: ``benchmark_model``, one process a round."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

from android_bench.benchmark_model import result_file
from android_bench.benchmark_model.op_profile import parse_csv, parse_log
from android_bench.benchmark_model.output import BenchmarkError, Request, parse
from android_bench.device import LimitError
from android_bench.phone import conditions
from android_bench.phone.adb import Output
from android_bench.phone.connection import Connection
from android_bench.phone.errors import AdbTimeoutError
from android_bench.phone.store import FOLDER, remote
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import OpTime, Round, RunSettings

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
        program = " ".join(shlex.quote(word) for word in [remote(self._program), *request.flags()])
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
            output = phone.adb.shell(script, timeout_s=phone.options.run_timeout_s)
        except AdbTimeoutError as error:
            stop_program(phone)
            raise LimitError(
                "timed out",
                f"the run on {phone.adb.serial} did not end within {phone.options.run_timeout_s:g} s and was stopped",
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
