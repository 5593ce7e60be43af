"""Virtual phones behind real adb servers; a machine that cannot have them skips, unless it is CI."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from android_bench.emulator.root import EmulatorRoot, prepare
from android_bench.phone.server import Server
from evit_mobile.cli.main import main
from tests.virtual_device import android, lane
from tests.virtual_device.android import Profile
from tests.virtual_device.phone import VirtualPhone

DATA = Path(__file__).parent.parent / "data" / "benchmark_model"


@pytest.fixture(scope="session")
def system(cache: Path) -> EmulatorRoot:
    """What virtual phones are made of."""
    with FileLock(cache / "apt.lock"):
        lane.install_missing()
    missing = lane.missing()
    if missing is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return prepare()


@dataclass(frozen=True)
class AdbLane:
    """A server of one generation of adb, on a port and with a home of its own, and the phones that are switched on."""

    binary: Path
    port: int
    folder: Path

    @property
    def server(self) -> Server:
        return Server(self.binary)


def _start(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AdbLane:
    binary = lane.adb_binaries().get(name)
    if binary is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the {name} adb is missing")
        pytest.skip("pip install adbutils brings Google's adb" if name == "google" else "apt install adb")
    (folder / "bin").mkdir()
    (folder / "bin" / "adb").symlink_to(binary)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    # A phone on the test machine's USB or network is none of ours.
    monkeypatch.setenv("ADB_MDNS_AUTO_CONNECT", "0")
    monkeypatch.setenv("ADB_LIBUSB", "0")
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return AdbLane(binary, port, folder)


@pytest.fixture(params=["distribution"])
def adb_lane(
    request: pytest.FixtureRequest, system: EmulatorRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AdbLane]:
    """``request.param`` is the generation; a test that asks for both says so by indirect parameters."""
    started = _start(request.param, tmp_path, monkeypatch)
    yield started
    started.server.run(["kill-server"], timeout_s=20)


@pytest.fixture
def make_phone(system: EmulatorRoot, adb_lane: AdbLane) -> Iterator[Callable[..., VirtualPhone]]:
    """Switches phones on: ``make_phone()`` is a Snapdragon 855."""
    phones: list[VirtualPhone] = []

    def make(
        profile: Profile | str = "snapdragon-855", data_bytes: int | None = None, noexec: bool = False
    ) -> VirtualPhone:
        if isinstance(profile, str):
            profile = android.load_profile(profile)
        phone = VirtualPhone(system, adb_lane.folder / f"phone{len(phones)}", profile, data_bytes, noexec)
        phones.append(phone)
        return phone.start()

    yield make
    for phone in phones:
        phone.stop()
        shutil.rmtree(phone.root, ignore_errors=True)


@pytest.fixture
def phone(make_phone: Callable[..., VirtualPhone]) -> VirtualPhone:
    return make_phone()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[Callable[[Path], str]]:
    """``served(folder)`` is the address, on this machine alone, at which the folder's files are to be had."""
    running: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def serve(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02))
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Ended:
    """How a command of ours ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def evit(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``evit("devices", "--json")`` runs the command line in this process."""

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def bench(evit: Callable[..., Ended], system: EmulatorRoot, tiny_tflite: Path, tmp_path: Path) -> Callable[..., Ended]:
    """``bench(phone, …)`` measures the tiny model in one short round into ``tmp_path / "r.json"``."""

    def run(phone: VirtualPhone | str, *arguments: object, model: Path = tiny_tflite, rounds: int = 1) -> Ended:
        device = f"adb:{phone.serial}" if isinstance(phone, VirtualPhone) else phone
        common = ["--runs", rounds, "--rounds", rounds, "--out", tmp_path / "r.json", "--force", "--reconnect", 1]
        if "--benchmark-binary" not in arguments:
            common += ["--benchmark-binary", system.runner]
        return evit("bench", "--device", device, model, *common, *arguments)

    return run


def _kernel(output: int, inputs: int) -> NDArray[np.float32]:
    return np.random.default_rng(output).standard_normal((output, inputs, 3, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def gathering_tflite(converted_graph: Callable[..., Path]) -> Path:
    """Two convolutions and a GATHER of rows between them, which XNNPACK does not take: two partitions."""
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["image", "first"], ["map"], pads=[1, 1, 1, 1]),
        helper.make_node("Gather", ["map", "rows"], ["chosen"], axis=2),
        helper.make_node("Conv", ["chosen", "second"], ["features"], pads=[1, 1, 1, 1]),
    ]
    rows = np.array([7, 0, 2, 5, 1, 1])
    return converted_graph(
        "gathering", nodes, [1, 8, len(rows), 8], False, first=_kernel(8, 3), second=_kernel(8, 8), rows=rows
    )


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``compiled(statements)`` is an arm64 program whose ``main(count, values)`` they are; by another compiler, one for
    another ABI.
    """

    def build(statements: str, compiler: str = "aarch64-linux-gnu-gcc") -> Path:
        folder = tmp_path_factory.mktemp("program")
        source = folder / "program.c"
        includes = "".join(f"#include <{name}.h>\n" for name in ("stdio", "stdlib", "string", "unistd"))
        source.write_text(f"{includes}int main(int count, char **values) {{ {statements} }}\n")
        subprocess.run([compiler, "-static", "-o", folder / "program", source], check=True)
        return folder / "program"

    return build


@pytest.fixture(scope="session")
def replaying(compiled: Callable[..., Path]) -> Callable[..., Path]:
    """``replaying("05_result_file_m3")`` is an arm64 program that prints what the official benchmark_model printed, and
    writes the files that it wrote then to where its flags say.
    """

    def literal(content: bytes) -> str:
        return "{" + ",".join(map(str, content)) + "}"

    def build(sample: str, **options: str) -> Path:
        parts = {part: DATA / f"{sample}.{part}" for part in ("stdout", "stderr", "csv", "pb")}
        written = {"csv": "--op_profiling_output_file=", "pb": "--result_file_path="}
        code = ""
        for part, path in parts.items():
            content = path.read_bytes() if path.exists() else b""
            if not content:
                continue
            code += f"static const unsigned char {part}_bytes[] = {literal(content)};\n"
            if part in written:
                flag = written[part]
                code += (
                    f'for (int i = 1; i < count; i++) if (!strncmp(values[i], "{flag}", {len(flag)})) {{ FILE *file = '
                )
                code += f'fopen(values[i] + {len(flag)}, "wb"); '
                code += f"fwrite({part}_bytes, 1, {len(content)}, file); fclose(file); }}\n"
            else:
                code += f"fwrite({part}_bytes, 1, {len(content)}, {part});\n"
        return compiled(f"{code} return {(DATA / f'{sample}.rc').read_text().strip()};", **options)

    return build
