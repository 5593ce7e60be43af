"""Where the results of ``bench`` go."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from evit_mobile.campaign import BenchOptions
    from evit_mobile.cli.named_models import NamedModels

FOLDER = Path("results")


def result_path(device: str, models: NamedModels, options: BenchOptions, started: datetime) -> Path:
    """The result file that ``options`` name, or else one named by device and time.

    Raises:
        RequestError: it cannot be written, or nothing says which one to resume.
    """
    from evit_mobile.files import check_output
    from evit_mobile.results.files import file_name

    if options.resume and options.out is None:
        raise RequestError("--resume does not say which file to continue", hint="name the result file by --out")
    place = options.out or (FOLDER / "new.json" if FOLDER.is_dir() else FOLDER)
    check_output(place, force=options.force or options.resume, inputs=models.files)
    return options.out or FOLDER / file_name(device, started)


def how_to_go_on(out: Path) -> str:
    """What to say when a measurement was cut short."""
    return f"what was measured so far is in {out}; the same command with --out {out} --resume goes on"
