"""This machine's CPU as a device."""

from __future__ import annotations

from android_bench.device import Device, DeviceOptions
from android_bench.host.device import Host
from android_bench.host.isolated import CappedHost
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES


def open_device(address: str, options: DeviceOptions) -> Device:
    """The device ``host``.

    Raises:
        RequestError: there is an address, or the runtime is unknown or not installed.
    """
    if address:
        raise RequestError(f"--device host has no address, {address!r} was given", hint="write --device host")
    runtime = RUNTIMES.get(options.runtime)
    if runtime is None:
        raise RequestError(f"there is no runtime {options.runtime!r}", hint=f"known: {', '.join(RUNTIMES)}")
    if runtime.version() is None:
        raise RequestError(f"the runtime {options.runtime} is not installed", hint="see evit-mobile runtimes")
    if options.memory_limit_bytes is not None:
        return CappedHost(runtime, options.memory_limit_bytes, options.run_timeout_s)
    return Host(runtime)
