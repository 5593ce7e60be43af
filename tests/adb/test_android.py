"""Names, clusters, masks and adb's words, without a device."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from android_bench.phone.adb import Adb
from android_bench.phone.errors import AdbError, TransientAdbError, error_of
from android_bench.phone.facts import Facts, Processor, clusters, parse_cores
from android_bench.phone.server import Server
from android_bench.phone.snapdragon import soc_name
from evit_mobile.errors import RequestError
from tests.virtual_device.android import load_profile


def processors(profile: str) -> tuple[Processor, ...]:
    return tuple(
        Processor(core, cluster.max_khz, cluster.min_khz, cluster.capacity)
        for cluster in load_profile(profile).clusters
        for core in cluster.cores
    )


@pytest.mark.parametrize(
    ("model", "platform", "name"),
    [
        ("SM8150", "msmnile", "Snapdragon 855 (SM8150)"),
        ("SM8150-AC", "msmnile", "Snapdragon 855 (SM8150-AC)"),
        ("", "msmnile", "Snapdragon 855 (SM8150)"),
        ("SM8650", "pineapple", "Snapdragon 8 Gen 3 (SM8650)"),
        ("Tensor G3", "zuma", "Tensor G3"),
        ("", "mt6989", "mt6989"),
        ("", "", "unknown"),
    ],
)
def test_soc_name(model: str, platform: str, name: str) -> None:
    assert soc_name(model, platform) == name


def test_masks_of_a_snapdragon_855() -> None:
    cores = processors("snapdragon-855")
    assert {name: parse_cores(name, cores) for name in ("all", "prime", "big", "little", "0xF0", "7")} == {
        "all": None,
        "prime": 0x80,
        "big": 0x70,
        "little": 0x0F,
        "0xF0": 0xF0,
        "7": 0x7,
    }


def test_two_middle_clusters_are_both_big() -> None:
    assert parse_cores("big", processors("snapdragon-8-gen-3")) == 0b01111100


@pytest.mark.parametrize("text", ["0", "", "x", "0x100", "fastest", "-1"])
def test_what_is_no_set_of_cores(text: str) -> None:
    with pytest.raises(RequestError):
        parse_cores(text, processors("snapdragon-855"))


def test_cores_that_the_device_does_not_tell_apart() -> None:
    unknown = [Processor(core, None, None, None) for core in range(4)]
    assert parse_cores("0xc", unknown) == 0xC and parse_cores("all", unknown) is None
    with pytest.raises(RequestError, match="does not say which of its cores are big"):
        parse_cores("big", unknown)


def test_a_device_with_one_kind_of_core() -> None:
    [only] = clusters([Processor(core, None, None, None) for core in range(4)])
    assert (only.name, only.cores, only.max_clock_khz) == ("big", (0, 1, 2, 3), None)


@pytest.mark.parametrize(
    ("properties", "emulated"),
    [
        ({"ro.kernel.qemu": "1"}, True),
        ({"ro.boot.qemu": "1"}, True),
        ({"ro.hardware": "ranchu"}, True),
        ({"ro.hardware": "qcom"}, False),
    ],
)
def test_emulated(properties: dict[str, str], emulated: bool) -> None:
    facts = Facts({"ro.product.cpu.abi": "arm64-v8a", **properties}, processors("snapdragon-855"), ("asimd",), None)
    assert facts.describe("adb:x", "x").emulated is emulated


@pytest.mark.parametrize(
    ("stderr", "transient"),
    [
        ("error: device offline\n", True),
        ("adb: device 'R58' not found\n", True),
        ("adb: error: failed to get feature set: device offline\n", True),
        ("error: closed\n", True),
        ("", True),
        ("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n", False),
        ("adb server version (32) doesn't match this client (41); killing...\nerror: cannot connect to daemon\n", True),
        (
            "adb: error: failed to copy 'm' to '/data/local/tmp/m': remote write failed: No space left on device\n",
            False,
        ),
        ("adb: error: failed to copy 'm' to '/system/m': remote couldn't create file: Read-only file system\n", False),
    ],
)
def test_which_errors_are_worth_another_try(stderr: str, transient: bool) -> None:
    process = subprocess.CompletedProcess(["adb", "shell"], 1, "", stderr)
    error = error_of(process, "R58")
    assert isinstance(error, AdbError) and isinstance(error, TransientAdbError) is transient
    assert error.serial == "R58" and error.process is process


def test_two_adbs_that_take_the_server_from_each_other() -> None:
    stderr = (
        "adb server version (32) doesn't match this client (41); killing...\n"
        "* failed to start daemon\nerror: cannot connect to daemon\n"
    )
    error = error_of(subprocess.CompletedProcess(["adb", "devices"], 1, "", stderr), None)
    assert str(error).startswith("cannot connect to daemon (two versions of adb take the server from each other")


@pytest.mark.parametrize(
    "serial",
    [
        "R58M123ABCD",
        "emulator-5554",
        "192.168.1.7:5555",
        "[fe80::1%wlan0]:5555",
        "adb-R58M123-AbCdEf._adb-tls-connect._tcp",
        "adb-R58M123-AbCdEf (2)._adb-tls-connect._tcp",
    ],
)
def test_serials(serial: str) -> None:
    assert Adb(Server(Path("adb")), serial).serial == serial


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_a_shell_of_before_android_7(tmp_path: Path, end: str) -> None:
    """Its lines end as a terminal's do, and adb does not pass exit codes on."""
    adb = tmp_path / "adb"
    adb.write_text(f"#!/bin/sh\nsh -c \"$4\" | sed 's/$/{repr(end)[1:-3]}/'\n")
    adb.chmod(0o755)
    output = Adb(Server(adb), "R58M123").shell("echo one; echo two; exit 3")
    assert (output.stdout, output.exit_code) == ("one\ntwo\n", 3)


def test_a_server_has_one_address_however_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a device goes by it."""
    for name in ("ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    adb = Path("adb")
    assert {Server(adb).address, Server(adb, "127.0.0.1", 5037).address, Server(adb, port=5037).address} == {
        "localhost:5037"
    }
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5038")
    assert Server(adb).address == Server(adb, "localhost", 5038).address != Server(adb, "lab", 5038).address
