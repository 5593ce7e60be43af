"""``evit-mobile devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import json_option, print_json, progress
from evit_mobile.errors import DeviceError, RequestError

if TYPE_CHECKING:
    from android_bench.phone.server import Attached, Server


@click.command("devices")
@json_option
def command(as_json: bool) -> None:
    """List the Android devices that adb sees, and what to do about those that cannot be used."""
    from android_bench.phone.server import Server, find_binary

    server = Server(find_binary())
    with progress("asking adb"):
        devices = [_look(server, device) for device in server.devices()]
    if as_json:
        print_json(devices)
        return
    if not devices:
        click.echo("adb sees no device (connect a phone by USB and allow USB debugging on it)")
    for device in devices:
        _print(device)


def _look(server: Server, device: Attached) -> dict[str, Any]:
    """What there is to say of one device; ``todo`` is None and everything else known where it can be used."""
    from android_bench.cores import mask_of
    from android_bench.phone.adb import Adb
    from android_bench.phone.conditions import hottest, sample
    from android_bench.phone.facts import clusters, read_facts

    row: dict[str, Any] = {"serial": device.serial, "state": device.state, "todo": device.todo}
    if device.todo is not None:
        return row
    try:
        adb = Adb(server, device.serial)
        facts, conditions = read_facts(adb), sample(adb)
    except (DeviceError, RequestError) as error:  # the others may be sound
        return {**row, "todo": str(error)}
    return {
        **row,
        "model": facts.model,
        "soc": facts.soc,
        "abi": facts.abi,
        "android": facts.get("ro.build.version.release"),
        "emulated": facts.is_emulated,
        "clusters": [
            {
                "name": cluster.name,
                "cores": list(cluster.cores),
                "mask": hex(mask_of(cluster.cores)),
                "max_clock_khz": cluster.max_clock_khz,
            }
            for cluster in clusters(facts.processors)
        ],
        "battery_percent": conditions.battery_percent,
        "thermal_status": conditions.thermal_status,
        "temperature_celsius": hottest(conditions),
    }


def _print(device: dict[str, Any]) -> None:
    from evit_mobile.text import visible

    if "soc" not in device:
        click.echo(visible(f"{device['serial']}  {device['state']}: {device['todo']}"))
        return
    emulated = ", emulated" if device["emulated"] else ""
    click.echo(
        visible(
            f"{device['serial']}  {device['model']}, {device['soc']}, {device['abi']}, Android "
            f"{device['android']}{emulated}"
        )
    )
    for cluster in device["clusters"]:
        clock = f" up to {cluster['max_clock_khz'] / 1e6:.2f} GHz" if cluster["max_clock_khz"] else ""
        click.echo(f"    --cores {cluster['name']:7} {len(cluster['cores'])} of them{clock}, mask {cluster['mask']}")
    state = []
    if device["battery_percent"] is not None:
        state.append(f"battery {device['battery_percent']:.0f} %")
    if device["temperature_celsius"] is not None:
        state.append(f"processor {device['temperature_celsius']:.0f} °C")
    if device["thermal_status"] is not None:
        state.append("throttling" if device["thermal_status"] else "not throttling")
    if state:
        click.echo(f"    {', '.join(state)}")
