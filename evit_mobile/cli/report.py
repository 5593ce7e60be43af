"""``evit-mobile report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import force_option, progress, weights_option
from evit_mobile.errors import EvitMobileError, RequestError

if TYPE_CHECKING:
    from evit_mobile.api.file_page import FilePage, Parity
    from evit_mobile.results.draw.chart import Chart
    from evit_mobile.results.page.file_section import FileSection
    from evit_mobile.results.page.pictures import Illustration
    from evit_mobile.results.record import ResultSet
    from evit_mobile.tflite.file import Tflite

SUFFIX = ".tflite"


@click.command("report")
@click.argument(
    "files", nargs=-1, required=True, metavar="[FILE.tflite] [RESULTS.json...]", type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The page to write.  [default: report.html beside the first file]",
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
    help="Show this picture, as run writes it, beside the charts of the first file; repeatable.",
)
@click.option(
    "--parity",
    "parity_file",
    metavar="PARITY.json",
    type=click.Path(path_type=Path),
    help="FILE.tflite: what verify --json said of it.  [default: it is verified now]",
)
@click.option("--no-verify", is_flag=True, help="FILE.tflite: leave parity out.")
@click.option("--model", metavar="package.module:factory|FILE.onnx", help="FILE.tflite: its source, as for verify.")
@weights_option
@force_option
def command(
    files: tuple[Path, ...],
    out: Path | None,
    folder: Path | None,
    pictures: tuple[Path, ...],
    force: bool,
    **values: Any,
) -> None:
    """Make one self-contained HTML page from result files, or their charts as files.

    With a .tflite the page is about that file: ops, the delegate's partitions, precisions, cost by block, parity and
    classes, beside what was measured with it. A result belongs to it by the file's SHA-256.

    \b
    evit-mobile report results.json --out report.html
    evit-mobile report model.tflite results.json --out model.html
    evit-mobile report model.tflite --parity parity.json --out model.html
    """
    from evit_mobile.files import check_output, whole_file
    from evit_mobile.results.draw.export import export
    from evit_mobile.results.files import load
    from evit_mobile.results.page.pictures import read_picture
    from evit_mobile.results.page.report import render

    parity = _ParityOptions(**values)
    models = [path for path in files if path.suffix.lower() == SUFFIX]
    parity.check(models)
    if out is None and folder is None:
        out = files[0].with_name("report.html")
    results = [(path.name, load(path)) for path in files if path not in models]
    shown = [read_picture(path) for path in pictures]
    if out is not None:
        check_output(out, force=force, inputs=(*files, *pictures, *parity.inputs))
    sections: Sequence[FileSection] = ()
    if models:
        page = _page_of(models[0], results, parity, shown)
        results, sections, shown = [*page.results], page.sections, []
    with progress("drawing"):
        exported = export(results, folder, force=force, more=_charts_of(sections)) if folder is not None else []
        if out is not None:
            html = render(results, shown, sections)
            with whole_file(out) as temporary:
                temporary.write_text(html, encoding="utf-8")
    for path in (*exported, *filter(None, [out])):
        click.echo(str(path))


@dataclass(frozen=True)
class _ParityOptions:
    """Where the page takes parity from."""

    parity_file: Path | None
    no_verify: bool
    model: str | None
    weights: Path | None

    @property
    def inputs(self) -> tuple[Path | str | None, ...]:
        """The files among them."""
        return self.parity_file, self.model, self.weights

    def check(self, models: Sequence[Path]) -> None:
        """Refuse what contradicts itself, or is about no .tflite.

        Raises:
            RequestError: see above; or there are several .tflite.
        """
        if len(models) > 1:
            raise RequestError("a page is about one .tflite", hint=f"leave out {models[1]}")
        if not models and (any(self.inputs) or self.no_verify):
            raise RequestError("--parity, --no-verify, --model and --weights are about a .tflite", hint="name one")
        if self.parity_file is not None and (self.no_verify or self.model or self.weights):
            raise RequestError("--parity says what verify said already", hint="leave out the other options of parity")

    def of(self, file: Tflite, path: Path) -> Parity:
        """What was said of ``file``, or what is said now; a source that is not at hand is no fault of the page.

        Raises:
            RequestError: the report that was given is of another file.
        """
        from converters.parity.document import read_reports
        from converters.parity.reference import SourceRequest
        from evit_mobile.api.checks import verify
        from evit_mobile.api.file_page import Parity

        if self.no_verify:
            return Parity()
        if self.parity_file is not None:
            return Parity.given(read_reports(self.parity_file), file, self.parity_file.name)
        request = SourceRequest(self.model, weights=self.weights)
        try:
            return Parity([verify(path, request, signature=name) for name in file.alternatives or (None,)])
        except EvitMobileError as error:
            if self.model is not None or self.weights is not None:
                raise
            return Parity(why_not=str(error))


def _page_of(
    path: Path, results: Sequence[tuple[str, ResultSet]], parity: _ParityOptions, shown: Sequence[Illustration]
) -> FilePage:
    from evit_mobile.api.file_page import file_page
    from evit_mobile.tflite.file import Tflite

    file = Tflite.read(path)
    with progress(f"verifying and inspecting {path}"):
        return file_page(file, results, parity.of(file, path), shown)


def _charts_of(sections: Sequence[FileSection]) -> list[tuple[str, Chart]]:
    """The charts of a file's page, for files of their own."""
    return [
        (f"{section.name}-{chart.key}", chart)
        for section in sections
        for part in section.parts
        for chart in part.charts
    ]
