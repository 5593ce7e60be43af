"""The chart of a file's costs by block of its network."""

from __future__ import annotations

from collections.abc import Sequence

from evit_mobile.results.costs import BlockCost, BlockTimes, shares
from evit_mobile.results.draw.chart import Cell, Chart
from evit_mobile.results.draw.interval_plot import Form, Theme
from evit_mobile.results.draw.share_plot import share_plot

#: Blocks that are drawn of a network of more: the costliest. The table beside the picture has all.
MOST_DRAWN = 40
CAPTION = (
    "Multiply-accumulates and bytes are counted from the file: weights, and the values that each op reads and writes."
)
_HEADER = ("block", "ops", "outside", "precision", "M MACs", "weights, kB", "values, kB")


def cost_chart(name: str, blocks: Sequence[BlockCost], times: Sequence[BlockTimes] = ()) -> Chart:
    """Shares of each block; at least one block.

    Args:
        name: of the file.
        times: of results of this very file.
    """
    quantities = {
        "multiply-accumulates": shares([block.macs for block in blocks]),
        "bytes of weights and values": shares([block.weight_bytes + block.activation_bytes for block in blocks]),
        **{entry.label: shares([entry.times_us.get(block.name, 0.0) for block in blocks]) for entry in times},
    }
    drawn = _costliest([*zip(*quantities.values())])
    names = [blocks[place].name for place in drawn]
    shown = {label: [values[place] for place in drawn] for label, values in quantities.items()}
    title = f"Cost by block: {name}"

    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return share_plot(names, shown, theme, form, title if titled else None)

    words = "; ".join(
        f"{blocks[place].name} {', '.join(f'{values[place]:.1%} of {label}' for label, values in quantities.items())}"
        for place in drawn
    )
    notes = (f"Drawn are the {MOST_DRAWN} of {len(blocks)} blocks that cost most.",) if len(drawn) < len(blocks) else ()
    header = (*_HEADER, *(f"{entry.label}, ms" for entry in times))
    cells = tuple(_cells(block, times) for block in blocks)
    return Chart("cost-by-block", title, CAPTION, f"{title}: {words}", notes, header, cells, draw)


def _costliest(shares_of: Sequence[Sequence[float]]) -> list[int]:
    """Places of the blocks with the largest share of anything, in their order."""
    return sorted(sorted(range(len(shares_of)), key=lambda place: -max(shares_of[place]))[:MOST_DRAWN])


def _cells(block: BlockCost, times: Sequence[BlockTimes]) -> tuple[Cell, ...]:
    precisions = ", ".join(f"{count} {name}" for name, count in block.precisions.items())
    return (
        block.name,
        block.ops,
        block.undelegated,
        precisions if len(block.precisions) > 1 else next(iter(block.precisions), ""),
        block.macs / 1e6,
        block.weight_bytes / 1e3,
        block.activation_bytes / 1e3,
        *(_ms(entry.times_us.get(block.name)) for entry in times),
    )


def _ms(time_us: float | None) -> float | None:
    return time_us / 1e3 if time_us is not None else None
