"""Estimates of the paper's networks and its rivals: ``python -m benchmarks.estimate.paper`` writes
benchmarks/results/estimate_paper.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.estimate.devices import find_device
from android_bench.estimate.timing import cost, total_us
from benchmarks.estimate.works import works
from benchmarks.results_files import out_option, write_results
from evit_mobile.specs import Precision

OUT = Path(__file__).parent.parent / "results" / "estimate_paper.md"
DEVICES = ("snapdragon-855", "snapdragon-855-gold")
THREADS = (1, 4)


@dataclass(frozen=True)
class Network:
    """A network at an input size under a precision; ``top1`` is the published ImageNet accuracy of a classifier in
    percent.
    """

    model: str
    resolution: str
    precision: str = "fp32"
    top1: float | None = None


#: Accuracies: arXiv 2205.14756 v1, Table 3; arXiv 1905.11946, Table 2; arXiv 1905.02244, Table 3.
NETWORKS = (
    Network("base-r192", "192", top1=77.7),
    *(
        Network("base-r224", "224", precision.value, 78.6 if precision is Precision.FP32 else None)
        for precision in Precision
    ),
    Network("base-r224-w1.2", "224", top1=79.7),
    *(Network(f"det-r{side}", str(side)) for side in (416, 512, 608)),
    *(Network(f"seg-r{width}", f"{width // 2}x{width}") for width in (1408, 1536, 2048)),
    *(Network("timm:mobilenetv3_large_100", "224", *more) for more in (("fp32", 75.2), ("fp16",))),
    Network("timm:efficientnet_b0", "224", top1=77.1),
    Network("timm:efficientnet_b1", "240", top1=79.1),
)


@dataclass(frozen=True)
class Estimated:
    """One network on one core (or several) of a device."""

    network: Network
    device: str
    threads: int
    ms: float
    low_ms: float
    high_ms: float
    instructions: int
    cycles: int
    wait_cycles: int


def estimated(network: Network, name: str) -> list[Estimated]:
    """The network's estimates on a device, for each number of threads that it has cores for."""
    device = find_device(name)
    rows = []
    for threads in (threads for threads in THREADS if threads <= len(device.clocks_ghz)):
        costs = [
            cost(work, device, threads) for work in works(network.model, name, network.precision, network.resolution)
        ]
        ms, error = total_us(costs) / 1e3, device.error.value
        cycles, waiting = sum(op.cycles for op in costs), sum(op.wait_cycles for op in costs)
        instructions = sum(op.instructions for op in costs)
        interval = (ms / (1 + error), ms * (1 + error))
        rows.append(Estimated(network, name, threads, ms, *interval, instructions, round(cycles), round(waiting)))
    return rows


def table(rows: Sequence[Estimated]) -> str:
    """The Markdown page."""
    lines = [
        "# Estimates of the paper's networks on a Snapdragon 855",
        "",
        "Made by `python -m benchmarks.estimate.paper`. **Estimated, not measured**; the interval is the error that "
        "such estimates have",
        "against published latencies (estimate.md). LiteRT 2.1.2 with XNNPACK; weights are seeded, on which the work "
        "does not depend.",
        "",
        "| network | input | precision | published top-1 | device | threads | estimated, ms | interval | M instr. | M "
        "cycles | waiting |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        network = row.network
        cells = [
            network.model,
            network.resolution,
            network.precision,
            f"{network.top1:g}" if network.top1 else "",
            row.device,
        ]
        cells += [
            str(row.threads),
            f"{row.ms:.2f}",
            f"{row.low_ms:.2f}–{row.high_ms:.2f}",
            f"{row.instructions / 1e6:.1f}",
        ]
        cells += [f"{row.cycles / 1e6:.1f}", f"{row.wait_cycles / row.cycles:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@click.command()
@out_option(OUT)
def main(out: Path) -> None:
    """Estimate every network on every device."""
    rows = []
    for network in NETWORKS:
        for name in DEVICES:
            rows += estimated(network, name)
        click.echo(f"{network.model} {network.precision} {network.resolution}", err=True)
    write_results(out, table(rows), [asdict(row) for row in rows])
    click.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
