"""``evit-mobile runtimes``: list and install the TFLite runtimes that models are checked on."""

from __future__ import annotations

import dataclasses
from typing import Sequence

import click

from evit_mobile.cli.options import json_option, print_json, progress, table_console
from evit_mobile.errors import MachineError, RequestError
from evit_mobile.runtimes import RUNTIMES, Runtime


@click.group("runtimes", invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the TFLite runtimes that models are checked on, or install them.

    Each but litert lives in an environment of its own under the cache folder (EVIT_MOBILE_CACHE moves it).
    """
    if context.invoked_subcommand is None:
        _show(list(RUNTIMES.values()), as_json)
    elif as_json:
        raise RequestError(
            "--json stands before install", hint=f"write: evit-mobile runtimes {context.invoked_subcommand} … --json"
        )


@command.command("install")
@click.argument("names", nargs=-1, required=True, metavar="NAME…|all")
@json_option
def install(names: Sequence[str], as_json: bool) -> None:
    """Install runtimes, or repair those that are half-made; what is there already is checked and kept."""
    chosen = _chosen(names)
    failures: list[MachineError] = []
    for runtime in chosen:
        status = runtime.status()
        try:
            with progress(f"{status.package} {status.version}") as show:
                is_new = runtime.install(show)
        except MachineError as error:
            failures.append(error)  # the others may still do: they need another Python, or no network
            continue
        if not as_json:
            click.echo(f"{runtime.name}: {runtime.version()} {'installed' if is_new else 'is ready'}")
    if as_json:
        _show(chosen, as_json)
    for failure in failures[:-1]:
        click.echo(f"error: {failure}", err=True)
    if failures:
        raise failures[-1]


def _chosen(names: Sequence[str]) -> list[Runtime]:
    if "all" in names:
        return list(RUNTIMES.values())
    for name in names:
        if name not in RUNTIMES:
            raise RequestError(f"there is no runtime {name!r}", hint=f"there are {', '.join(RUNTIMES)}; or all")
    return [RUNTIMES[name] for name in dict.fromkeys(names)]


def _show(runtimes: Sequence[Runtime], as_json: bool) -> None:
    states = [runtime.status() for runtime in runtimes]
    if as_json:
        print_json([dataclasses.asdict(state) for state in states])
        return
    from rich.table import Table

    table = Table("runtime", "package", "version", "python", "state", box=None, pad_edge=False)
    table.add_column("path", overflow="fold")
    for state in states:
        table.add_row(
            state.name, state.package, state.version, state.python or "", state.problem or "installed", state.path
        )
    table_console().print(table)
    missing = [state.name for state in states if not state.installed]
    if missing:
        click.echo(f"\nto install: evit-mobile runtimes install {' '.join(missing)}")
