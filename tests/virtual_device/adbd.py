"""The device side of the ADB protocol, over TCP, in front of an arm64 root: what adbd is on a phone.

Run as the first process of namespaces of its own, so that nothing of this machine changes and its end is the end of all
that it started:

    unshare --user --map-root-user --mount --pid --fork --kill-child python adbd.py --root ROOT --qemu QEMU

It registers QEMU for arm64 programs with its user namespace's own binfmt_misc (Linux 6.7), enters the root and prints
its port. Shell commands then are arm64 processes, and pushed files are files in the root. It reads faults from stdin, a
JSON object a line with values for ``Faults``, and answers each with an empty line.

Protocol: AOSP, packages/modules/adb/{protocol.txt,SYNC.TXT,shell_protocol.h}.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import encodings.idna  # noqa: F401  (asyncio's; not to be found any more once we are in the root)
import json
import os
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from namespace import enter  # beside this script; its folder is the first on the path

VERSION, VERSION_SKIPS_CHECKSUM = 0x01000001, 0x01000001
MAX_PAYLOAD = 1 << 20
HEADER = struct.Struct("<4sIIIII")
SYNC_REQUEST = struct.Struct("<4sI")
SHELL_PACKET = struct.Struct("<BI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
AUTH_TOKEN = 1

FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"


@dataclass
class Faults:
    """What goes wrong; all of it can be changed while the device runs.

    Attributes:
        authorized: whether the user has allowed this computer.
        mute: connections are taken and never answered, as by a phone that hangs.
        unplugged: the cable is pulled, and the phone lives on; connections are cut, and refused until it is plugged in
            again.
        truncate_push: only the first so many bytes of each pushed file are kept, and the push is reported whole.
        vanish_in_push: the device is gone after so many bytes of a push.
        vanish_in_shell: the device is gone ``vanish_after_s`` seconds after the start of a command that holds this
            text.
    """

    authorized: bool = True
    mute: bool = False
    unplugged: bool = False
    truncate_push: int | None = None
    vanish_in_push: int | None = None
    vanish_in_shell: str | None = None
    vanish_after_s: float = 0.3


def vanish() -> None:
    """The cable is pulled: we are the first process of the PID namespace, so all else ends with us."""
    os._exit(0)


class Stream:
    """One opened service. A write waits until the host has acknowledged the one before."""

    def __init__(self, link: Link, local: int, remote: int) -> None:
        self.link, self.local, self.remote = link, local, remote
        self.incoming = asyncio.StreamReader()
        self.acknowledged = asyncio.Event()
        self.closed = False

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.link.max_payload):
            if self.closed:
                raise ConnectionResetError
            self.acknowledged.clear()
            self.link.send(b"WRTE", self.local, self.remote, data[start : start + self.link.max_payload])
            await self.acknowledged.wait()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.link.streams.pop(self.local, None)
            self.acknowledged.set()
            self.incoming.feed_eof()
            self.link.send(b"CLSE", self.local, self.remote)


class Link:
    """The connection of one adb server."""

    def __init__(self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.device, self.reader, self.writer = device, reader, writer
        self.streams: dict[int, Stream] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.max_payload, self.checksums, self.last_id = 4096, True, 0

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        checksum = sum(data) & 0xFFFFFFFF if self.checksums else 0
        magic = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        self.writer.write(HEADER.pack(command, first, second, len(data), checksum, magic) + data)

    async def serve(self) -> None:
        handlers = {
            b"CNXN": self._connect,
            b"AUTH": self._authenticate,
            b"OPEN": self._open,
            b"OKAY": self._okay,
            b"WRTE": self._write,
            b"CLSE": self._close,
        }
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                command, first, second, length, _, _ = HEADER.unpack(await self.reader.readexactly(HEADER.size))
                data = await self.reader.readexactly(length)
                if not self.device.faults.mute:
                    handlers[command](first, second, data)
        for stream in list(self.streams.values()):
            stream.close()
        self.writer.close()

    def _connect(self, version: int, max_payload: int, _: bytes) -> None:
        self.max_payload = min(max_payload, MAX_PAYLOAD)
        self.checksums = version < VERSION_SKIPS_CHECKSUM
        if self.device.faults.authorized:
            self.send(b"CNXN", VERSION, MAX_PAYLOAD, self.device.banner)
        else:
            self.send(b"AUTH", AUTH_TOKEN, 0, os.urandom(20))

    def _authenticate(self, kind: int, _: int, __: bytes) -> None:
        # The host answers a token by a signature, one key after the other; after the last by its public key, for the
        # user to accept.
        if kind == 2:
            self.send(b"AUTH", AUTH_TOKEN, 0, os.urandom(20))

    def _open(self, remote: int, _: int, destination: bytes) -> None:
        service = self.device.service(destination.rstrip(b"\0").decode())
        if service is None:
            self.send(b"CLSE", 0, remote)
            return
        self.last_id += 1
        stream = self.streams[self.last_id] = Stream(self, self.last_id, remote)
        self.send(b"OKAY", stream.local, stream.remote)
        task = asyncio.create_task(self._run(service, stream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, service: Callable[[Stream], Awaitable[None]], stream: Stream) -> None:
        try:
            await service(stream)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            stream.close()

    def _okay(self, _: int, local: int, __: bytes) -> None:
        if local in self.streams:
            self.streams[local].acknowledged.set()

    def _write(self, remote: int, local: int, data: bytes) -> None:
        if local in self.streams:
            self.streams[local].incoming.feed_data(data)
            self.send(b"OKAY", local, remote)

    def _close(self, _: int, local: int, __: bytes) -> None:
        if local in self.streams:
            self.streams[local].close()


class Device:
    """The services of the device, and what goes wrong with them."""

    def __init__(self, banner: str) -> None:
        self.banner = f"device::{banner};features={FEATURES}".encode()
        self.faults = Faults()

    def service(self, destination: str) -> Callable[[Stream], Awaitable[None]] | None:
        head, _, command = destination.partition(":")
        name, *arguments = head.split(",")
        if name in ("shell", "exec"):
            return lambda stream: self._shell(stream, command, "v2" in arguments)
        return self._sync if destination == "sync:" else None

    async def _shell(self, stream: Stream, command: str, v2: bool) -> None:
        """One command; in version 2 of the protocol with a stderr and an exit code of its own."""
        if self.faults.vanish_in_shell is not None and self.faults.vanish_in_shell in command:
            asyncio.get_running_loop().call_later(self.faults.vanish_after_s, vanish)
        environment = {"PATH": "/system/bin", "HOME": "/", "TMPDIR": "/data/local/tmp"}
        process = await asyncio.create_subprocess_exec(
            "/system/bin/sh",
            "-c",
            command,
            env=environment,
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE if v2 else asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

        async def pump(source: asyncio.StreamReader | None, kind: int) -> None:
            while source is not None and (data := await source.read(32768)):
                await stream.write(SHELL_PACKET.pack(kind, len(data)) + data if v2 else data)

        listener = asyncio.create_task(self._shell_input(stream, process, v2))
        try:
            await asyncio.gather(pump(process.stdout, STDOUT), pump(process.stderr, STDERR))
            code = await process.wait()
            if v2:
                await stream.write(SHELL_PACKET.pack(EXIT, 1) + bytes([code if code >= 0 else 128 - code]))
        finally:
            listener.cancel()

    async def _shell_input(self, stream: Stream, process: asyncio.subprocess.Process, v2: bool) -> None:
        """Stdin until the host goes away; then the shell is told by SIGHUP, and what it started may live on, as on a
        phone.
        """
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not stream.incoming.at_eof():
                kind, length = (
                    SHELL_PACKET.unpack(await stream.incoming.readexactly(SHELL_PACKET.size)) if v2 else (STDIN, 0)
                )
                data = await (stream.incoming.readexactly(length) if v2 else stream.incoming.read(32768))
                if kind == STDIN:
                    process.stdin.write(data)
                    await process.stdin.drain()
                elif kind == CLOSE_STDIN:
                    process.stdin.close()
        if stream.closed and process.returncode is None:
            process.send_signal(signal.SIGHUP)
            process.stdin.close()

    async def _sync(self, stream: Stream) -> None:
        """File transfer: what ``adb push`` asks for."""
        while True:
            request, length = SYNC_REQUEST.unpack(await stream.incoming.readexactly(SYNC_REQUEST.size))
            if request == b"QUIT":
                return
            path = (await stream.incoming.readexactly(length)).decode()
            try:
                if request in (b"STAT", b"LST2", b"STA2"):
                    await stream.write(request + status(path, request))
                elif request == b"SEND":
                    await self._receive(stream, path)
                    await stream.write(SYNC_REQUEST.pack(b"OKAY", 0))
                else:
                    raise OSError(0, "not supported", request.decode())
            except OSError as error:
                words = (error.strerror or "").encode()
                await stream.write(SYNC_REQUEST.pack(b"FAIL", len(words)) + words)

    async def _receive(self, stream: Stream, destination: str) -> None:
        path, _, mode = destination.rpartition(",")
        content = bytearray()
        # The host sends all without waiting, so all is read before anything is answered.
        while True:
            kind, length = SYNC_REQUEST.unpack(await stream.incoming.readexactly(SYNC_REQUEST.size))
            if kind == b"DONE":
                break
            content += await stream.incoming.readexactly(length)
            if self.faults.vanish_in_push is not None and len(content) >= self.faults.vanish_in_push:
                vanish()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content[: self.faults.truncate_push])
        os.chmod(path, int(mode) & 0o777)


def status(path: str, request: bytes) -> bytes:
    try:
        entry, error = (os.stat if request == b"STA2" else os.lstat)(path), 0
    except OSError as problem:
        entry, error = os.stat_result([0] * 10), problem.errno or 0
    if request == b"STAT":
        return struct.pack("<3I", entry.st_mode, entry.st_size & 0xFFFFFFFF, int(entry.st_mtime))
    return struct.pack(
        "<I2Q4IQ3q",
        error,
        entry.st_dev or 0,
        entry.st_ino,
        entry.st_mode,
        entry.st_nlink,
        entry.st_uid,
        entry.st_gid,
        entry.st_size,
        int(entry.st_atime),
        int(entry.st_mtime),
        int(entry.st_ctime),
    )


async def serve(device: Device, port: int) -> None:
    links: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links[writer] = asyncio.current_task()
        await Link(device, reader, writer).serve()
        del links[writer]

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        for name, value in json.loads(line).items():
            setattr(device.faults, name, value)
        if device.faults.unplugged and server.is_serving():
            server.close()
            for writer in list(links):
                writer.transport.abort()
        if not device.faults.unplugged and not server.is_serving():
            server = await asyncio.start_server(accept, "127.0.0.1", port)
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--qemu", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--banner", default="ro.product.name=virtual;ro.product.model=Virtual;ro.product.device=virtual"
    )
    parser.add_argument("--data-bytes", type=int)
    parser.add_argument("--noexec", action="store_true")
    arguments = parser.parse_args()
    enter(os.path.abspath(arguments.root), arguments.qemu, arguments.data_bytes, arguments.noexec)
    asyncio.run(serve(Device(arguments.banner), arguments.port))


if __name__ == "__main__":
    main()
