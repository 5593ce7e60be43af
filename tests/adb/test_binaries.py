"""Fetching benchmark_model, from a server of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.benchmark_model import binaries
from android_bench.benchmark_model.output import BenchmarkError
from evit_mobile.errors import MachineError, RequestError

#: The first bytes of an ELF file: 64 bit, little endian, an executable for AArch64.
ARM64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + b"the rest"
SHA256 = hashlib.sha256(ARM64).hexdigest()
ABIS = ["arm64-v8a", "armeabi-v7a"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is served; fetched files go into a cache of this test alone."""
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "served"
    place.mkdir()
    (place / "benchmark_model").write_bytes(ARM64)
    return place


@pytest.fixture
def address(folder: Path, served: Callable[[Path], str]) -> str:
    return f"{served(folder)}/benchmark_model"


def test_fetched_once(address: str, folder: Path) -> None:
    first = binaries.find(address, SHA256, ABIS)
    assert first.path.read_bytes() == ARM64 and (first.sha256, first.version) == (SHA256, "unknown")
    (folder / "benchmark_model").unlink()
    assert binaries.find(address, None, ABIS) == first


def test_another_hash(address: str) -> None:
    with pytest.raises(RequestError, match="another hash"):
        binaries.find(address, "0" * 64, ABIS)


def test_not_there(address: str) -> None:
    with pytest.raises(MachineError, match="cannot be fetched from .*404.*name a mirror by EVIT_MOBILE_BINARIES"):
        binaries.find(address + ".gone", None, ABIS)


def test_a_mirror(served: Callable[[Path], str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the publisher's files under the publisher's names; the ABI decides which is fetched."""
    place = folder / binaries.RELEASE / "android_arm64"
    place.mkdir(parents=True)
    (folder / "benchmark_model").rename(place / "benchmark_model")
    monkeypatch.setenv("EVIT_MOBILE_BINARIES", served(folder) + "/")
    binary = binaries.find(None, None, ABIS)
    assert binary.path.read_bytes() == ARM64 and (binary.sha256, binary.version) == (SHA256, binaries.RELEASE)
    with pytest.raises(RequestError, match="no benchmark_model is published for x86_64 .*--benchmark-binary PATH"):
        binaries.find(None, None, ["x86_64", "arm64-v8a"])


def test_a_sign_in_page_is_not_kept(address: str, folder: Path) -> None:
    (folder / "benchmark_model").write_text("<html>sign in to this network</html>")
    with pytest.raises(RequestError, match="not a program for Android"):
        binaries.find(address, None, ABIS)
    (folder / "benchmark_model").write_bytes(ARM64)
    assert binaries.find(address, None, ABIS).sha256 == SHA256


@pytest.mark.parametrize("abis", [["armeabi-v7a", "armeabi"], ["x86_64"]])
def test_another_abi(folder: Path, abis: list[str]) -> None:
    with pytest.raises(BenchmarkError, match=f"built for arm64-v8a, the device executes {', '.join(abis)}"):
        binaries.find(str(folder / "benchmark_model"), None, abis)


def test_a_second_abi_of_the_device(folder: Path) -> None:
    assert binaries.find(str(folder / "benchmark_model"), None, ["x86_64", "arm64-v8a"]).sha256 == SHA256


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x7fELF"])
def test_no_program(folder: Path, content: bytes) -> None:
    (folder / "benchmark_model").write_bytes(content)
    with pytest.raises(RequestError, match="not a program for Android"):
        binaries.find(str(folder / "benchmark_model"), None, ABIS)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no file"):
        binaries.find(str(tmp_path / "absent"), None, ABIS)
