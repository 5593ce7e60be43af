"""Fetching benchmark_model, from a server of our own."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from android_bench import binaries
from android_bench.benchmark_model import BenchmarkError
from evit_mobile.errors import MachineError, RequestError

#: The first bytes of an ELF file: 64 bit, little endian, an executable for AArch64.
ARM64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + b"the rest"
SHA256 = hashlib.sha256(ARM64).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "benchmark_model").write_bytes(ARM64)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/benchmark_model"
        served.shutdown()
        thread.join()


def test_fetched_once(server: str, tmp_path: Path) -> None:
    first = binaries.find(server, SHA256, "arm64-v8a")
    assert first.read_bytes() == ARM64
    (tmp_path / "served" / "benchmark_model").unlink()
    assert binaries.find(server, None, "arm64-v8a") == first


def test_another_hash(server: str) -> None:
    with pytest.raises(RequestError, match="another hash"):
        binaries.find(server, "0" * 64, "arm64-v8a")


def test_not_there(server: str) -> None:
    with pytest.raises(MachineError, match="cannot be fetched"):
        binaries.find(server + ".gone", None, "arm64-v8a")


def test_the_published_one_is_for_the_abi_of_the_device(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(binaries.PUBLISHED, "arm64-v8a", server)
    assert binaries.find(None, None, "arm64-v8a").read_bytes() == ARM64
    with pytest.raises(RequestError, match="no benchmark_model is published for x86_64"):
        binaries.find(None, None, "x86_64")


@pytest.mark.parametrize("abi", ["armeabi-v7a", "x86_64"])
def test_another_abi(tmp_path: Path, abi: str) -> None:
    path = tmp_path / "benchmark_model"
    path.write_bytes(ARM64)
    with pytest.raises(BenchmarkError, match=f"built for arm64-v8a, the device executes {abi}"):
        binaries.find(str(path), None, abi)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x7fELF"])
def test_no_program(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "benchmark_model"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="no program for Android"):
        binaries.find(str(path), None, "arm64-v8a")
