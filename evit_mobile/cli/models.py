"""``evit-mobile models``."""

from __future__ import annotations

from typing import Any, Callable

import click

from evit_mobile.cli.options import json_option, print_json, progress, table_console


@click.command("models")
@click.option(
    "--paper", is_flag=True, help="The paper's Tables 1 to 3 and figure 1 (middle) beside our counts; needs timm."
)
@json_option
def command(paper: bool, as_json: bool) -> None:
    """List the models, with counted MACs and parameters beside the paper's."""
    if paper:
        with progress("counting") as say:
            tables = _paper_counts(say)
        if as_json:
            print_json(tables)
        else:
            _print_paper(tables)
        return
    rows = _rows()
    if as_json:
        print_json(rows)
    else:
        _print_models(rows)


def _rows() -> list[dict[str, Any]]:
    from evit_mobile.models import all_models
    from evit_mobile.models.counts import counts_of

    rows = []
    for spec in all_models():
        counts = counts_of(spec)
        rows.append(
            {
                "name": spec.name,
                "task": spec.task,
                "resolution": str(spec.resolution),
                "variants": list(spec.variants),
                "params_m": counts.parameters / 1e6,
                "macs_m": counts.macs / 1e6,
                "paper_params_m": spec.paper.params_m if spec.paper else None,
                "paper_macs_m": spec.paper.macs_m if spec.paper else None,
            }
        )
    return rows


def _paper_counts(say: Callable[[str], None]) -> dict[str, Any]:
    from evit_mobile.models import paper

    rows = []
    for row in paper.ROWS:
        say(f"counting {row.title}")
        params_m, macs_m = paper.count(row.model, row.resolution)
        rows.append(
            {
                "table": row.table,
                "title": row.title,
                "name": row.model,
                "resolution": str(row.resolution),
                "params_m": params_m,
                "macs_m": macs_m,
                "paper_params_m": row.params_m,
                "paper_macs_m": row.macs_m,
                "macs_deviation": macs_m / row.macs_m - 1,
                "params_bound_m": paper.parameter_bound(row) if row.table < 3 else None,
            }
        )
    say("counting figure 1")
    figure = paper.figure_1()
    return {
        "tables": rows,
        "figure_1_middle": {
            "sides": list(paper.FIGURE_1_SIDES),
            "macs_m": figure,
            "overtaken_at": paper.overtaken_at(figure),
        },
    }


def _print_models(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(
        "name",
        "task",
        "resolution",
        "params M",
        "paper",
        "MACs M",
        "paper",
        "variants",
        title="Counted, beside the paper's",
    )
    for row in rows:
        table.add_row(
            row["name"],
            row["task"],
            row["resolution"],
            *_figures(row),
            " ".join(f"+{name}" for name in row["variants"]),
        )
    table_console().print(table)


def _print_paper(counted: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(
        "table",
        "model",
        "ours",
        "resolution",
        "params M",
        "paper",
        "MACs M",
        "paper",
        title="The paper's models, counted",
    )
    for row in counted["tables"]:
        table.add_row(str(row["table"]), row["title"], row["name"], row["resolution"], *_figures(row))
    table_console().print(table)
    click.echo(_parameters_explained(counted["tables"]))
    figure = counted["figure_1_middle"]
    names = list(figure["macs_m"])
    table = Table("side", *(f"{name} MACs M" for name in names), title="Figure 1 (middle): MACs against resolution")
    for side, *macs in zip(figure["sides"], *figure["macs_m"].values()):
        table.add_row(str(side), *(f"{value:.0f}" for value in macs))
    table_console().print(table)
    at = figure["overtaken_at"]
    click.echo(
        f"{names[0]} needs more than {names[1]} from {at}x{at} on"
        if at
        else f"{names[0]} never needs more than {names[1]}"
    )


def _parameters_explained(rows: list[dict[str, Any]]) -> str:
    """Why detectors and segmenters have fewer parameters than the paper says."""
    bounds = ", ".join(
        f"{row['name']} {row['params_bound_m']:.1f} M" for row in rows if row["params_bound_m"] is not None
    )
    return (
        "Parameters in tables 1 and 2: the paper's cannot all be convolutions of its own MACs. A weight is used once "
        "at each\n"
        "place of its map, and the coarsest map is H/32 x W/32. With all that the backbone leaves (+3 %) spent there, "
        "the most\n"
        f"that a model can have is {bounds}.\n"
        "Ours keep the MACs.\n"
    )


def _figures(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Cells: parameters, the paper's, multiply-accumulates, the paper's."""
    cells = []
    for key, form in (("params_m", ".2f"), ("macs_m", ".1f")):
        stated = row[f"paper_{key}"]
        cells += [
            f"{row[key]:{form}}",
            "–" if stated is None else f"{stated:g} ({100 * (row[key] / stated - 1):+.1f} %)",
        ]
    return cells[0], cells[1], cells[2], cells[3]
