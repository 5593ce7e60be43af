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
    from evit_mobile.tflite.file import Tflite

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

    named: list[tuple[str, Path]] = []
    resolution = models.resolution
    for name in models.names:
        with progress(f"converting {name}"):
            path = convert_cached(name, ConvertOptions(resolution=resolution))
        named.append((name if resolution is None else f"{name}@{resolution}", path))
    named += [(path.stem, path) for path in models.files]
    each = [item for name, path in named for item in _each_signature(name, path)]
    labels = distinct_names([name for name, _, _ in each])
    return [candidate_of(label, path, file, runtime) for label, (_, path, file) in zip(labels, each)]


def _each_signature(name: str, path: Path) -> list[tuple[str, Path, Tflite]]:
    """A file; of one with several resolutions each signature, as the copy in which it is what runs."""
    from evit_mobile.files import cache_folder, whole_file
    from evit_mobile.tflite.file import Tflite

    file = Tflite.read(path)
    copies = []
    for signature in file.alternatives:
        copy = file.at(signature)
        kept = cache_folder("signatures") / f"{copy.sha256[:32]}.tflite"
        with whole_file(kept) as temporary:
            temporary.write_bytes(copy.content)
        copies.append((f"{name} {signature}", kept, Tflite.read(kept)))
    return copies or [(name, path, file)]
