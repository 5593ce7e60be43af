"""``evit-mobile report``."""

from __future__ import annotations

from pathlib import Path

import click

from evit_mobile.cli.options import force_option, progress


@click.command("report")
@click.argument("files", nargs=-1, required=True, metavar="RESULTS.json...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The page to write.  [default: report.html beside the first result file]",
)
@click.option(
    "--export",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write every chart as PNG, SVG and CSV here; no page then, unless --out asks for one.",
)
@click.option(
    "--picture",
    "pictures",
    multiple=True,
    metavar="PNG",
    type=click.Path(path_type=Path),
    help="Show this picture, as run writes it, beside the charts of the first result file; repeatable.",
)
@force_option
def command(
    files: tuple[Path, ...], out: Path | None, folder: Path | None, pictures: tuple[Path, ...], force: bool
) -> None:
    """Make one self-contained HTML page from result files, or their charts as files."""
    from evit_mobile.files import check_output, whole_file
    from evit_mobile.results.draw.export import export
    from evit_mobile.results.files import load
    from evit_mobile.results.page.pictures import read_picture
    from evit_mobile.results.page.report import render

    if out is None and folder is None:
        out = files[0].with_name("report.html")
    results = [(path.name, load(path)) for path in files]
    shown = [read_picture(path) for path in pictures]
    if out is not None:
        check_output(out, force=force, inputs=(*files, *pictures))
    with progress("drawing"):
        exported = export(results, folder, force=force) if folder is not None else []
        if out is not None:
            page = render(results, shown)
            with whole_file(out) as temporary:
                temporary.write_text(page, encoding="utf-8")
    for path in (*exported, *filter(None, [out])):
        click.echo(str(path))
