"""The ``benchmark_model`` to use: a file of the user's, or one that is fetched once for the device's ABI."""

from __future__ import annotations

import logging
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from android_bench.benchmark_model.output import BenchmarkError
from evit_mobile.errors import MachineError, RequestError, first_line
from evit_mobile.files import cache_folder
from evit_mobile.weights import sha256_of

#: Published by the LiteRT project. A release, not "latest": the same address always gives the same file.
RELEASE = "2.2.0"
PUBLISHER = "https://storage.googleapis.com/litert/binaries"
#: The publisher's folder by Android's name of the ABI.
PUBLISHED = {"arm64-v8a": "android_arm64"}
#: Environment variable that names another place with the publisher's files, for machines that cannot reach it.
MIRROR_VARIABLE = "EVIT_MOBILE_BINARIES"

#: ELF's machine and class (1: 32 bit, 2: 64 bit) by ABI,
#: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_ELF = {"arm64-v8a": (183, 2), "armeabi-v7a": (40, 1), "x86_64": (62, 2), "x86": (3, 1), "riscv64": (243, 2)}


@dataclass(frozen=True)
class Program:
    """A ``benchmark_model`` on this machine; ``version`` is ``unknown`` where only its hash says which it is."""

    path: Path
    sha256: str
    version: str


def find(source: str | None, sha256: str | None, abis: Sequence[str]) -> Program:
    """The program to push.

    Args:
        source: a path, or an http(s) address to fetch it from; None takes the one that is published for the device's
            own ABI.
        sha256: what its hash must be; None takes any.
        abis: those that the device executes, e.g. ``arm64-v8a``, its own first.

    Raises:
        RequestError: there is no such file, it is not a program, none is published for this ABI, or the hash differs.
        BenchmarkError: it is for another ABI, so the device could not execute it.
        MachineError: it cannot be fetched.
    """
    address = source or _published(abis[0])
    fetched = re.match(r"https?://", address) is not None
    path = _fetch(address, sha256) if fetched else Path(address)
    if not path.is_file():
        raise RequestError(
            f"there is no file {path}", hint="--benchmark-binary takes the path or the address of a benchmark_model"
        )
    digest = sha256_of(path)
    if sha256 is not None and digest != sha256.lower():
        raise RequestError(f"{path} has the hash {digest}, not {sha256}", hint="is it another build?")
    try:
        _check_abi(path, address, abis)
    except RequestError:
        if fetched:
            # A sign-in page of the network, for example: the next attempt is to ask again.
            path.unlink()
        raise
    return Program(path, digest, "unknown" if source else RELEASE)


def _published(abi: str) -> str:
    if abi not in PUBLISHED:
        raise RequestError(
            f"no benchmark_model is published for {abi}",
            hint="build LiteRT's for it and give it by --benchmark-binary PATH",
        )
    return f"{(os.environ.get(MIRROR_VARIABLE) or PUBLISHER).rstrip('/')}/{RELEASE}/{PUBLISHED[abi]}/benchmark_model"


def _fetch(address: str, sha256: str | None) -> Path:
    """Fetch once; later the file in the cache is taken."""
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
    try:
        known = f"sha256:{sha256.lower()}" if sha256 else None
        return Path(pooch.retrieve(address, known_hash=known, path=cache_folder("benchmark_model")))
    except ValueError as error:
        raise RequestError(
            f"what {address} gives has another hash than {sha256}", hint="is it another build?"
        ) from error
    except OSError as error:
        raise MachineError(
            f"benchmark_model cannot be fetched from {address}: {first_line(error)}",
            hint="fetch it by other means and give it by --benchmark-binary PATH, or name a mirror by "
            f"{MIRROR_VARIABLE}",
        ) from error


def _check_abi(path: Path, address: str, abis: Sequence[str]) -> None:
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or not header.startswith(b"\x7fELF"):
        raise RequestError(
            f"{address} is not a program for Android",
            hint="--benchmark-binary takes a benchmark_model built for the device",
        )
    machine = struct.unpack_from("<H", header, 18)[0], header[4]
    executed = [_ELF[abi] for abi in abis if abi in _ELF]
    if abis[0] in _ELF and machine not in executed:
        names = {value: name for name, value in _ELF.items()}
        raise BenchmarkError(
            f"{address} is built for {names.get(machine, f'machine {machine[0]}')}, the device executes "
            f"{', '.join(abis)}",
            hint=f"give one that is built for {abis[0]}",
        )
