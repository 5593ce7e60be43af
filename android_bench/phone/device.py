"""An Android device behind adb, measured by TFLite's ``benchmark_model``.

``adb:SERIAL`` is a device of the local adb server, ``adb:SERIAL@host:port`` one of another's, and ``adb`` alone the
only one there is. The program and the models lie on the device in one folder, under names made of their hashes, so what
is there and whole is not pushed again. A round is one process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.benchmark_model import binaries
from android_bench.device import DeviceOptions
from android_bench.phone import conditions, facts, store
from android_bench.phone.adb import Adb
from android_bench.phone.adjustments import Adjustments, Wishes
from android_bench.phone.connection import Connection
from android_bench.phone.prepared import PreparedPhone, stop_program
from android_bench.phone.server import DISCOVERY_S, Server, find_binary
from android_bench.phone.store import FOLDER
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.files import cache_folder
from evit_mobile.results.record import Component, DeviceInfo, RunSettings


class Phone:
    """The device ``adb``.

    Args:
        name: as ``--device`` named it.
        adb: the device itself.
        options: what the user asked for.

    Raises:
        AdbError: it cannot be used. RequestError: the benchmark program cannot be used with it.
    """

    profiles = True

    def __init__(self, name: str, adb: Adb, options: DeviceOptions) -> None:
        self._name, self._adb, self._options = name, adb, options
        self._adjustments = Adjustments(adb, FOLDER)
        self._connection = Connection(adb, self._adjustments, options)
        adb.server.await_device(adb.serial, options.reconnect_s, DISCOVERY_S)
        self._facts = self._connection.retried(lambda: facts.read_facts(adb))
        self._program = binaries.find(options.benchmark_binary, options.benchmark_sha256, self._facts.abis)
        self._adb_version = adb.server.version()

    def describe(self) -> DeviceInfo:
        return self._facts.describe(self._name, self._adb.serial)

    def components(self) -> tuple[Component, ...]:
        # The program itself does not say its version; its hash stands for it.
        return (
            Component(name="benchmark_model", version=self._program.version, sha256=self._program.sha256),
            Component(name="adb", version=self._adb_version),
        )

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[PreparedPhone]:
        """Lock the device, push the program and the models, apply the settings, and wait until it is cool."""
        mask = facts.parse_cores(settings.cores, self._facts.processors)
        cores = [core for core in self._facts.processors if mask is None or mask >> core.index & 1]
        if settings.threads > len(cores):
            raise RequestError(
                f"{settings.threads} threads do not fit on {len(cores)} cores",
                hint="give fewer --threads or more --cores",
            )
        options, adb, retried = self._options, self._adb, self._connection.retried
        limits = conditions.Limits(options.max_temperature_celsius, options.cool_timeout_s, cores)
        prepared = PreparedPhone(self._connection, self._program.path, settings, mask, limits)
        if options.max_temperature_celsius is not None and conditions.hottest(prepared.conditions()) is None:
            raise RequestError(f"device {adb.serial} does not say how warm it is", hint="leave --max-temp out")
        with _alone(adb), self._in_order():
            retried(lambda: store.put(adb, self._program.path, executable=True, say=options.say))
            for path in models:
                retried(lambda: store.put(adb, path, say=options.say))
            wishes = Wishes(options.fixed_performance, options.stay_awake, options.governor)
            retried(lambda: self._adjustments.apply(wishes))
            prepared.await_fit()
            retried(lambda: conditions.check_clocks_under_load(adb, cores, mask))
            yield prepared

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        """The device as it was: before, where another run was killed on it, and after."""
        stop_program(self._connection)
        self._connection.retried(self._adjustments.restore)
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
        stop_program(self._connection)
        self._connection.retried(self._adjustments.restore)
        if self._options.clean:
            self._connection.retried(lambda: store.remove_all(self._adb))


def open_device(address: str, options: DeviceOptions) -> Phone:
    """The device at ``SERIAL``, ``SERIAL@host:port``, or the only one.

    Raises:
        MachineError: there is no adb. RequestError: the address is not valid, or several devices match.
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
    devices = server.devices()
    usable = [device for device in devices if device.state == "device"]
    if len(usable) == 1:
        return usable[0].serial
    if len(usable) > 1:
        raise DeviceError(
            f"{len(usable)} devices are attached: {', '.join(device.serial for device in usable)}",
            hint="say which one: --device adb:SERIAL",
        )
    if devices:
        raise DeviceError(f"device {devices[0].serial} is {devices[0].state}", hint=devices[0].todo)
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
