"""The models that ``bench`` is asked to measure: files, and names that are converted first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evit_mobile.cli.options import progress
from evit_mobile.errors import RequestError
from evit_mobile.specs import Resolution

if TYPE_CHECKING:
    from android_bench.suites.rounds import Candidate

#: What is measured when nothing is named.
DEFAULT_MODEL = "base-r224"


@dataclass(frozen=True)
class NamedModels:
    """What to measure: files, and names to convert at ``resolution``; ``profile`` asks for the time by op, too."""

    files: tuple[Path, ...]
    names: tuple[str, ...]
    resolution: Resolution | None
    profile: bool

    @classmethod
    def of(
        cls, files: tuple[Path, ...], names: tuple[str, ...], resolution: Resolution | None, profile: bool
    ) -> NamedModels:
        """What the command line names, or else the default model.

        Raises:
            RequestError: there is a resolution, and nothing to convert.
        """
        if files and not names and resolution is not None:
            raise RequestError(
                "--resolution is for conversions, and nothing is converted", hint="leave it out, or name a --model"
            )
        return cls(files, names or (() if files else (DEFAULT_MODEL,)), resolution, profile)


def candidates_of(models: NamedModels, runtime: str) -> list[Candidate]:
    """The models to measure, converted where they are named, under names that differ."""
    from converters.options import ConvertOptions
    from converters.pipeline import convert_cached
    from evit_mobile.campaign import candidate_of, distinct_names
    from evit_mobile.tflite.file import Tflite

    named: list[tuple[str, Path]] = []
    resolution = models.resolution
    for name in models.names:
        with progress(f"converting {name}"):
            path = convert_cached(name, ConvertOptions(resolution=resolution))
        named.append((name if resolution is None else f"{name}@{resolution}", path))
    named += [(path.stem, path) for path in models.files]
    labels = distinct_names([name for name, _ in named])
    return [candidate_of(label, path, Tflite.read(path), runtime) for label, (_, path) in zip(labels, named)]
