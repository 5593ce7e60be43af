"""Parameters and multiply-accumulates of our models, kept with the version: counting them anew takes PyTorch and many
seconds.

``counts.json`` holds for each registered model the whole numbers at its own resolution. ``make counts`` writes it; a
test counts anew.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from evit_mobile.models.registry import ModelSpec

FILE = Path(__file__).with_name("counts.json")


@dataclass(frozen=True)
class Counts:
    """Of one model at one resolution: trainable parameters, and multiply-accumulates of one run."""

    resolution: str
    parameters: int
    macs: int


def counts_of(spec: ModelSpec) -> Counts:
    """The counts of ``spec`` at its own resolution; counted anew where it came to be after the file, or elsewhere."""
    kept = _kept().get(spec.name)
    return kept if kept is not None and kept.resolution == str(spec.resolution) else count_anew(spec)


def count_anew(spec: ModelSpec) -> Counts:
    """The counts of ``spec`` by building its module; nothing is computed."""
    from evit_mobile.models.counting import count_macs, count_parameters

    module = spec.build(spec.resolution)
    parameters = count_parameters(module)
    return Counts(str(spec.resolution), parameters, count_macs(module, spec.resolution, spec.channels))


@functools.cache
def _kept() -> dict[str, Counts]:
    return {name: Counts(**entry) for name, entry in json.loads(FILE.read_text()).items()}


def main() -> None:
    """Count every registered model and write the file."""
    from evit_mobile.files import whole_file
    from evit_mobile.models import all_models

    document = {spec.name: asdict(count_anew(spec)) for spec in all_models()}
    with whole_file(FILE) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
