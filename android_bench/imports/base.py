"""What is read of a file that another tool wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from evit_mobile.results.content import Content
from evit_mobile.results.record import PrintedLatency, Round

#: What tools give of a run besides its mean and deviation, as they and ``PrintedLatency`` call it.
AGGREGATES = ("min", "max", "median", "p5", "p95")


@dataclass(frozen=True)
class Found:
    """What one file says. None, or empty, is what it does not say.

    Attributes:
        round: what it measured.
        content: what the model holds.
        model: the name of the model's file, without folder and ending.
        threads: of the CPU's kernels.
        accelerators: what the model ran on, e.g. ``CPU``, ``NPU``.
    """

    round: Round | None = None
    content: Content = Content()
    model: str | None = None
    threads: int | None = None
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """A form that another tool writes.

    Attributes:
        name: in words, for messages and pages.
        tool: the name of the tool.
        recognises: whether a file's content looks like it.
        read: the content as a ``Found``; raises ``EvitMobileError`` or pydantic's ``ValidationError`` if it is broken.
    """

    name: str
    tool: str
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes], Found]


def stem_of(path: object) -> str | None:
    """The name of a model's file without its folder and ending; None if there is none."""
    stem = PurePosixPath(str(path or "").replace("\\", "/")).stem
    return stem if stem.strip() else None


def warmup(runs: int, mean_us: float | None) -> PrintedLatency | None:
    """The warm-up runs; None where there were none, or their mean is not known."""
    return PrintedLatency(count=runs, mean_us=mean_us) if runs and mean_us else None


def positive(value: float | None, scale: float = 1.0) -> float | None:
    """``value`` scaled; None for 0, which tools write for what they did not measure."""
    return value * scale if value else None
