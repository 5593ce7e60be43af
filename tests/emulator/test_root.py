"""Setting up: what is missing is named, what is there is checked, what was damaged is made anew."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from android_bench.emulator import parts
from android_bench.emulator.cpus import CPUS
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import (
    LITERT_RELEASES,
    NEEDS,
    EmulatorRoot,
    _fetch_litert,
    _make_root,
    missing,
    prepare,
)
from evit_mobile.cli.emulator import command
from evit_mobile.errors import DeviceError, MachineError

LOCK = Path(parts.__file__).with_name(f"litert-{LITERT_RELEASES[0]}-arm64.txt")


def test_each_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = missing()
    for need in NEEDS:
        assert any(line.startswith(need.program) and line.endswith(f"apt-get install {need.package}") for line in lines)
    with pytest.raises(MachineError, match=f"cannot be set up: qemu-aarch64 .*and {len(lines) - 1} more"):
        prepare()


def test_statically_linked_qemu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plugins, ``-h`` does not list them."""
    program = tmp_path / "qemu-aarch64"
    program.write_text("#!/bin/sh\necho 'Argument Env-variable Description'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert (
        f"{program} takes no plugins (it is linked statically, or built without them): apt-get install qemu-user"
        in missing()
    )


def test_setup_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(command, ["setup"])
    assert isinstance(result.exception, MachineError)
    assert "apt-get install" in str(result.exception)


def test_second_setup_changes_nothing(root: EmulatorRoot) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root.runner, root.plugin, *root.litert.values(), root.root)}
    assert prepare() == root
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(root.litert) == set(LITERT_RELEASES)


def test_changed_or_missing_file_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "part"

    def make(place: Path) -> None:
        (place / "a").write_text("one")
        (place / "b").write_text("two")

    assert parts.ensure(folder, "key", make)
    assert not parts.ensure(folder, "key", make)
    (folder / "a").write_text("onE")
    assert parts.ensure(folder, "key", make)
    assert (folder / "a").read_text() == "one"
    (folder / "b").unlink()
    assert parts.ensure(folder, "key", make)
    (folder / "added later").touch()
    assert not parts.ensure(folder, "key", make)
    assert parts.ensure(folder, "another key", make)


def test_failed_part_leaves_nothing(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        (place / "half").touch()
        script = "echo working; echo 'E: no such package' >&2; echo 'E: later' >&2; exit 100"
        parts.command(["sh", "-c", script], "unpacking", "try again")

    with pytest.raises(MachineError, match=r"^unpacking failed: E: no such package \(try again\)$"):
        parts.ensure(tmp_path / "part", "key", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".part.lock"]


def test_wheel_with_another_hash_is_one_line(root: EmulatorRoot, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(re.sub("[0-9a-f]{8}$", "0" * 8, LOCK.read_text().strip()))
    with pytest.raises(MachineError, match="(?i)^fetching LiteRT for arm64 failed: .*hash") as failed:
        parts.ensure(tmp_path / "litert", "key", functools.partial(_fetch_litert, lock=lock))
    assert "\n" not in str(failed.value) and not (tmp_path / "litert").exists()


def test_release_without_packages_is_one_line(root: EmulatorRoot, tmp_path: Path) -> None:
    with pytest.raises(
        MachineError, match="^unpacking the arm64 packages of lenny-and-squiggy failed: E: .*Release"
    ) as failed:
        parts.ensure(tmp_path / "root", "key", lambda place: _make_root(place, "lenny-and-squiggy"))
    assert "\n" not in str(failed.value) and not (tmp_path / "root").exists()


def test_root_needs_no_user_namespace(root: EmulatorRoot, tmp_path: Path) -> None:
    """In a user namespace that may not have another one, as on a kernel without them."""
    may_not = "echo 0 > /proc/sys/user/max_user_namespaces && ! unshare --user true 2>&-"
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c", may_not + ' && "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip(
            "this machine has no user namespace to forbid others in: what the other tests use was made without one"
        )
    script = "import sys, pathlib\nfrom android_bench.emulator import root\n"
    script += "root._make_root(pathlib.Path(sys.argv[1]), sys.argv[2])"
    done = subprocess.run(
        [*inside, sys.executable, "-c", script, tmp_path, root.distribution], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lib/ld-linux-aarch64.so.1").exists()


def test_absent_program_is_one_line() -> None:
    with pytest.raises(MachineError, match="asking failed: there is no no-such-program"):
        parts.command(["no-such-program"], "asking", "install it")


def test_refused_plugin_is_one_line(root: EmulatorRoot, small_tflite: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "icount.so"
    plugin.write_text("no library")
    qemu = Qemu(dataclasses.replace(root, plugin=plugin), CPUS["cortex-a76"], LITERT_RELEASES[0])
    with pytest.raises(MachineError, match="refuses the instruction counter: .*icount.so"):
        qemu.count(small_tflite, 2)


def test_wrong_litert_library_is_one_line(root: EmulatorRoot, small_tflite: Path, tmp_path: Path) -> None:
    """One that is no library, and one that is a library of this machine."""
    for content in (b"no library", Path("/proc/self/exe").read_bytes()):
        library = tmp_path / "libLiteRt.so"
        library.write_bytes(content)
        qemu = Qemu(
            dataclasses.replace(root, litert={LITERT_RELEASES[0]: library}), CPUS["cortex-a76"], LITERT_RELEASES[0]
        )
        with pytest.raises(DeviceError, match="libLiteRt.so") as failed:
            qemu.signature(small_tflite)
        assert "\n" not in str(failed.value)


def test_processor_that_this_qemu_lacks_is_one_line(root: EmulatorRoot) -> None:
    cpu = dataclasses.replace(CPUS["cortex-a76"], name="cortex-x99")
    with pytest.raises(MachineError, match="does not know the processor cortex-x99"):
        Qemu(root, cpu, LITERT_RELEASES[0])
