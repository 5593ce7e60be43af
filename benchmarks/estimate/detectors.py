"""EfficientDet-Lite estimated for a Raspberry Pi 5 beside published latencies: ``python -m
benchmarks.estimate.detectors`` writes benchmarks/results/estimate_detectors.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.estimate.devices import find_device
from android_bench.estimate.timing import cost, total_us
from benchmarks.estimate.validate import changed
from benchmarks.estimate.works import works
from benchmarks.results_files import out_option, write_results

OUT = Path(__file__).parent.parent / "results" / "estimate_detectors.md"
DEVICE = "raspberry-pi-5"
#: Milliseconds on one core, fp32, TFLite 2.18 with XNNPACK in 13 to 21 partitions (NobuoTsukamoto/benchmarks).
PUBLISHED_MS = {"lite0": (320, 104.0), "lite1": (384, 199.0)}


@dataclass(frozen=True)
class Detector:
    """One network: milliseconds as published, estimated, and estimated as if waiting never overlapped with
    computing.
    """

    name: str
    resolution: int
    published_ms: float
    estimated_ms: float
    without_overlap_ms: float
    instructions: int


def estimated(name: str) -> Detector:
    """The network built here (``efficientdet.py``) on one core."""
    resolution, published_ms = PUBLISHED_MS[name]
    device = find_device(DEVICE)
    done = works(f"benchmarks.estimate.efficientdet:{name}", DEVICE, "fp32", str(resolution))
    apart = changed(device, {"overlap_power": 1.0})
    return Detector(
        name,
        resolution,
        published_ms,
        total_us([cost(work, device) for work in done]) / 1e3,
        total_us([cost(work, apart) for work in done]) / 1e3,
        sum(work.instructions for work in done),
    )


def table(rows: Sequence[Detector]) -> str:
    """The Markdown page."""
    lines = [
        "# EfficientDet-Lite on a Raspberry Pi 5, estimated against published",
        "",
        "Made by `python -m benchmarks.estimate.detectors`. **Estimated, not measured**: networks built here as "
        "google/automl describes them,",
        "fp32, one thread, one partition, up to boxes and scores of all anchors. Published: NobuoTsukamoto/benchmarks, "
        "TFLite 2.18 with XNNPACK,",
        "13 to 21 partitions, with the selection of boxes behind.",
        "",
        "| network | input | published, ms | estimated, ms | error | without overlap, ms | error | M instr. |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [f"EfficientDet-{row.name.capitalize()}", str(row.resolution), f"{row.published_ms:.0f}"]
        for ms in (row.estimated_ms, row.without_overlap_ms):
            cells += [f"{ms:.1f}", f"{ms / row.published_ms - 1:+.1%}"]
        lines.append(f"| {' | '.join([*cells, f'{row.instructions / 1e6:.1f}'])} |")
    return "\n".join(lines) + "\n"


@click.command()
@out_option(OUT)
def main(out: Path) -> None:
    """Estimate the detectors that have a published latency."""
    rows = [estimated(name) for name in PUBLISHED_MS]
    write_results(out, table(rows), [asdict(row) for row in rows])
    click.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
