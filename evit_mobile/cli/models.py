"""``evit-mobile models``."""

from __future__ import annotations

from typing import Any

import click

from evit_mobile.cli.options import json_option, print_json, progress


@click.command("models")
@json_option
def command(as_json: bool) -> None:
    """List the models, with counted MACs and parameters beside the paper's."""
    with progress("counting"):
        rows = [row for row in _rows()]
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "task", "resolution", "params M", "paper", "MACs M", "paper", title="Counted, beside the paper's")
    for row in rows:
        table.add_row(
            row["name"], row["task"], row["resolution"], f"{row['params_m']:.2f}", _paper(row["paper_params_m"], row["params_m"]),
            f"{row['macs_m']:.1f}", _paper(row["paper_macs_m"], row["macs_m"]),
        )  # fmt: skip
    Console().print(table)


def _rows() -> list[dict[str, Any]]:
    from evit_mobile.models import all_models
    from evit_mobile.models.counting import count_macs, count_parameters

    rows = []
    for spec in all_models():
        module = spec.build()
        parameters = count_parameters(module)
        rows.append(
            {
                "name": spec.name,
                "task": spec.task,
                "resolution": str(spec.resolution),
                "params_m": parameters / 1e6,
                "macs_m": count_macs(module, spec.resolution, spec.channels) / 1e6,
                "paper_params_m": spec.paper.params_m if spec.paper else None,
                "paper_macs_m": spec.paper.macs_m if spec.paper else None,
            }
        )
    return rows


def _paper(figure: float | None, ours: float) -> str:
    return "–" if figure is None else f"{figure:g} ({100 * (ours / figure - 1):+.1f} %)"
