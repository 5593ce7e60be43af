"""Makes Linux namespaces an arm64 device: what ``adbd.py`` enters before it serves."""

from __future__ import annotations

import ctypes
import os

#: ELF, 64 bit, little endian, executable or shared object, AArch64; the mask leaves the ABI byte and the lowest bit of
#: the type free.
ELF_ARM64 = rb"\x7fELF\x02\x01\x01\x00" + rb"\x00" * 8 + rb"\x02\x00\xb7\x00"
ELF_MASK = rb"\xff" * 7 + rb"\x00" + rb"\xff" * 8 + rb"\xfe\xff\xff\xff"
MS_NOEXEC, MS_BIND, MS_REC = 8, 4096, 16384


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]):
        raise OSError(ctypes.get_errno(), f"mount {source} {target}: {os.strerror(ctypes.get_errno())}")


def enter(root: str, qemu: str, data_bytes: int | None, noexec: bool) -> None:
    """Make the namespaces a device: QEMU for arm64 programs, /proc with the profile's cpuinfo, /dev, a /data of its own
    if asked for.
    """
    mount("binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc")
    with open("/proc/sys/fs/binfmt_misc/register", "wb", buffering=0) as register:
        # F: the interpreter is opened now, so it need not be in the root.
        register.write(b":arm64:M::" + ELF_ARM64 + b":" + ELF_MASK + b":" + qemu.encode() + b":F")
    mount("proc", f"{root}/proc", "proc")
    if os.path.exists(f"{root}/virtual/cpuinfo"):
        mount(f"{root}/virtual/cpuinfo", f"{root}/proc/cpuinfo", None, MS_BIND)
    mount("/dev", f"{root}/dev", None, MS_BIND | MS_REC)
    if data_bytes is not None:
        mount("tmpfs", f"{root}/data", "tmpfs", MS_NOEXEC if noexec else 0, f"size={data_bytes}")
    os.makedirs(f"{root}/data/local/tmp", exist_ok=True)
    os.chroot(root)
    os.chdir("/")
