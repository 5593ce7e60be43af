"""The ``benchmark_model`` to use: a file of the user's, or one that is fetched once for the device's ABI."""

from __future__ import annotations

import logging
import re
import struct
from pathlib import Path

from android_bench.benchmark_model import BenchmarkError
from evit_mobile.errors import MachineError, RequestError, first_line
from evit_mobile.files import cache_folder
from evit_mobile.weights import sha256_of

#: Published by the LiteRT project, by Android's name of the ABI. A release, not "latest": the same address always gives the same file.
PUBLISHED = {"arm64-v8a": "https://storage.googleapis.com/litert/binaries/2.2.0/android_arm64/benchmark_model"}

#: ELF's machine and class (1: 32 bit, 2: 64 bit) by ABI, https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_ELF = {"arm64-v8a": (183, 2), "armeabi-v7a": (40, 1), "x86_64": (62, 2), "x86": (3, 1), "riscv64": (243, 2)}


def find(given: str | None, sha256: str | None, abi: str) -> Path:
    """The program, on this machine.

    Args:
        given: a path, or an http(s) address to fetch it from; None takes the one that is published for ``abi``.
        sha256: what its hash must be; None takes any.
        abi: the device's, e.g. ``arm64-v8a``.

    Raises:
        RequestError: there is no such file, none is published for this ABI, or the hash is another.
        BenchmarkError: it is for another ABI, so the device could not execute it.
        MachineError: it cannot be fetched.
    """
    address = given or PUBLISHED.get(abi)
    if address is None:
        raise RequestError(f"no benchmark_model is published for {abi}", hint="build it and give it by --benchmark-binary PATH")
    path = _fetch(address, sha256) if re.match(r"https?://", address) else Path(address)
    if not path.is_file():
        raise RequestError(f"there is no file {path}", hint="--benchmark-binary takes the path or the address of a benchmark_model")
    found = sha256_of(path)
    if sha256 is not None and found != sha256.lower():
        raise RequestError(f"{path} has the hash {found}, not {sha256}", hint="is it another build?")
    _check_abi(path, abi)
    return path


def _fetch(address: str, sha256: str | None) -> Path:
    """Fetch once; later the file in the cache is taken."""
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        known = f"sha256:{sha256.lower()}" if sha256 else None
        return Path(pooch.retrieve(address, known_hash=known, path=cache_folder("benchmark_model")))
    except ValueError as error:
        raise RequestError(f"what {address} gives has another hash than {sha256}", hint="is it another build?") from error
    except OSError as error:
        raise MachineError(
            f"benchmark_model cannot be fetched from {address}: {first_line(error)}",
            hint="fetch it by other means and give it by --benchmark-binary PATH",
        ) from error


def _check_abi(path: Path, abi: str) -> None:
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or not header.startswith(b"\x7fELF"):
        raise RequestError(f"{path} is no program for Android", hint="--benchmark-binary takes a benchmark_model built for the device")
    machine = struct.unpack_from("<H", header, 18)[0], header[4]
    expected = _ELF.get(abi)
    if expected is not None and machine != expected:
        names = {value: name for name, value in _ELF.items()}
        raise BenchmarkError(
            f"{path} is built for {names.get(machine, f'machine {machine[0]}')}, the device executes {abi}",
            hint=f"give one that is built for {abi}",
        )
