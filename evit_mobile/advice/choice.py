"""Which of several files of one model to ship, as values: what is required, what each file offers, and the choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.report import Conversion
from evit_mobile.errors import RequestError
from evit_mobile.results.record import Point, Quantity, ResultSet
from evit_mobile.results.summary import ratio_of, show, significant, summary_of, unit
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, Precision

#: Files whose times are nearer than this share count as equally fast: the more accurate one is shipped.
EQUAL = 0.02
#: By what is compared: what the faster of two files does.
_FASTER: dict[Quantity, str] = {
    "latency_us": "is {times} times as fast as {other} ({values}, measured)",
    "estimated_latency_us": "is estimated to be {times} times as fast as {other} ({values})",
    "instructions": "executes 1/{times} of the instructions of {other} ({values})",
}


@dataclass(frozen=True)
class Requirement:
    """What a file has to keep to be shipped.

    Attributes:
        min_sqnr_db: SQNR against fp32, in dB. None takes 30, unless there is a ``max_drop``.
        max_drop: what its accuracy on ``data`` may be below fp32's, in percentage points; None takes any.
        data: a folder of pictures with their answers, as ``evit-mobile evaluate`` takes it.
        labels: class names of that data; None takes the model's own.
        limit: take so many of the pictures; None takes all.
    """

    min_sqnr_db: float | None = None
    max_drop: float | None = None
    data: Path | None = None
    labels: Sequence[str] | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and self.data is None:
            raise RequestError("a drop of accuracy needs pictures with answers", hint="name their folder by --data")
        if self.data is None and (self.labels is not None or self.limit is not None):
            raise RequestError("--labels and --limit are for --data")

    @property
    def bound_db(self) -> float | None:
        """The SQNR that is asked for; None where only accuracy is."""
        by_drop_alone = self.min_sqnr_db is None and self.max_drop is not None
        return None if by_drop_alone else self.min_sqnr_db or DEFAULT_MIN_SQNR_DB

    def __str__(self) -> str:
        parts = [] if self.bound_db is None else [f"{self.bound_db:g} dB"]
        parts += [] if self.max_drop is None else [f"a drop of at most {self.max_drop:g} points"]
        return " and ".join(parts)


@dataclass(frozen=True)
class Option:
    """One precision of the model, or a mix.

    Attributes:
        precision: of the file; of a mix the smallest that is in it.
        conversion: the file; None where it was refused.
        memory_bytes: what running it needs: constants, their packed copy, and the activations that are alive together.
        point: its rounds on the device.
        sqnr_db: SQNR of its worst output against fp32; infinite where there is no difference, None where it is unknown.
        accuracy: its accuracy on the data, from 0 to 1; None without data.
        refusal: why there is no file, or no figure.
        label: see ``name``.
    """

    precision: Precision
    conversion: Conversion | None = None
    memory_bytes: int | None = None
    point: Point | None = None
    sqnr_db: float | None = None
    accuracy: float | None = None
    refusal: str | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """The precision, or ``fp16 mix``, ``int8 mix``."""
        return self.label or self.precision

    @property
    def value(self) -> float | None:
        """The median of what was measured, in microseconds (or instructions); None where nothing was."""
        return None if self.point is None or not self.point.rounds else summary_of(self.point).median

    @property
    def quality(self) -> float | None:
        """What a chart shows against time: accuracy where there is one, else SQNR."""
        return self.sqnr_db if self.accuracy is None else self.accuracy


@dataclass(frozen=True)
class Advice:
    """Every option, and which to ship.

    Attributes:
        model, device: by their names.
        requirement: what a file has to keep.
        options: one for each precision, and mixes of them; fp32, the reference, is the first.
        chosen: the one to ship.
        tested_on: the inputs of the SQNR, in words.
        figure: name of the accuracy: ``top1``, ``ap`` or ``miou``; None without data.
        results: everything that was measured; ``evit_mobile.results.files.save`` writes it.
        warnings: what the user should know.
    """

    model: str
    device: str
    requirement: Requirement
    options: tuple[Option, ...]
    chosen: Option
    tested_on: str
    figure: str | None
    results: ResultSet = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def reference(self) -> Option:
        """fp32."""
        return self.options[0]

    def drop(self, option: Option) -> float | None:
        """What the accuracy of ``option`` is below fp32's, in percentage points."""
        if option.accuracy is None or self.reference.accuracy is None:
            return None
        return 100 * (self.reference.accuracy - option.accuracy)

    def holds(self, option: Option) -> bool:
        """Whether ``option`` keeps what is required."""
        return keeps(option, self.reference, self.requirement)

    def front(self) -> list[Option]:
        """The options that no other beats in both time and quality, the fastest first."""
        measured = sorted(
            (option for option in self.options if option.value is not None and option.quality is not None),
            key=lambda option: (option.value, -(option.quality or 0)),
        )
        front: list[Option] = []
        for option in measured:
            if not front or (option.quality or 0) > (front[-1].quality or 0):
                front.append(option)
        return front

    def save(self, path: Path | str) -> Path:
        """Write the chosen file to ``path``; see ``Conversion.save``."""
        assert self.chosen.conversion is not None
        return self.chosen.conversion.save(path)

    def sentence(self) -> str:
        """Which file to ship, and why."""
        return " ".join(_sentences(self))

    def to_json(self) -> dict[str, Any]:
        """Plain values; times stand under a name that says whether they are measured or estimated."""
        front = self.front()
        return {
            "model": self.model,
            "device": self.results.device.model_dump(mode="json"),
            "min_sqnr_db": self.requirement.bound_db,
            "max_drop_points": self.requirement.max_drop,
            "tested_on": self.tested_on,
            "accuracy_figure": self.figure,
            "options": [
                {**_plain(option), "drop_points": self.drop(option), "holds": self.holds(option),
                 "on_pareto_front": option in front}
                for option in self.options
            ],
            "chosen": self.chosen.name,
            "advice": self.sentence(),
        }  # fmt: skip


def keeps(option: Option, reference: Option, requirement: Requirement) -> bool:
    """Whether ``option`` has figures, and they are as required of it beside ``reference``."""
    if option.value is None:
        return False
    if option is reference:
        return True
    bound, drop = requirement.bound_db, requirement.max_drop
    near = bound is None or (option.sqnr_db is not None and option.sqnr_db >= bound)
    if drop is None:
        return near
    if option.accuracy is None or reference.accuracy is None:
        return False
    return near and 100 * (reference.accuracy - option.accuracy) <= drop


def choose(options: Sequence[Option], requirement: Requirement) -> Option | None:
    """The fastest option that keeps what is required, of equally fast ones the most accurate; None if nothing ran."""
    held = [option for option in options if keeps(option, options[0], requirement)]
    if not held:
        return None
    fastest = min(held, key=lambda option: option.value or 0)
    equal = [option for option in held if not _is_slower(option, fastest)]
    return max(equal, key=lambda option: (option.sqnr_db or 0, -(option.value or 0)))


def _is_slower(option: Option, fastest: Option) -> bool:
    """Whether ``option`` takes more time than ``fastest``, as far as one can tell."""
    assert option.point is not None and fastest.point is not None
    ratio = ratio_of(option.point, fastest.point)
    # Two files of one network err alike in an estimate: its interval says nothing about their ratio.
    unsure = option.point.quantity == "latency_us" and ratio.interval is not None and ratio.verdict is None
    return ratio.value > 1 + EQUAL and not unsure


def _plain(option: Option) -> dict[str, Any]:
    summary = summary_of(option.point) if option.point is not None and option.point.rounds else None
    quantity = option.point.quantity if option.point is not None else None
    report = option.conversion.report if option.conversion is not None else None
    return {
        "name": option.name,
        "precision": option.precision,
        "bytes": report.bytes_tflite if report is not None else None,
        "sha256": report.sha256 if report is not None else None,
        "memory_bytes": option.memory_bytes,
        **({quantity: dataclasses.asdict(summary)} if quantity is not None and summary is not None else {}),
        "sqnr_db": None if option.sqnr_db == float("inf") else option.sqnr_db,
        "accuracy": option.accuracy,
        "refusal": option.refusal,
    }


def _sentences(advice: Advice) -> Iterator[str]:
    chosen, reference = advice.chosen, advice.reference
    if chosen is reference or reference.value is None:
        yield f"Ship {chosen.name}: no faster file keeps {advice.requirement}."
    else:
        kept = f"it keeps {_figure(advice, chosen)}, where {advice.requirement} is asked for"
        yield f"Ship {chosen.name}: {kept}, and {_faster(chosen, reference)}."
    for option in advice.options:
        if option.value is not None and chosen.value is not None and option.value < chosen.value / (1 + EQUAL):
            yield f"{option.name} keeps {_figure(advice, option)}, though it {_faster(option, chosen)}."


def _faster(option: Option, other: Option) -> str:
    assert option.point is not None and option.value is not None and other.value is not None
    quantity = option.point.quantity or "latency_us"
    times = significant(other.value / option.value, 3)
    values = f"{show(quantity, option.value)} against {show(quantity, other.value)} {unit(quantity)}"
    return _FASTER[quantity].format(times=times, other=other.name, values=values)


def _figure(advice: Advice, option: Option) -> str:
    drop = advice.drop(option)
    parts = [] if option.sqnr_db is None else [f"{option.sqnr_db:.1f} dB"]
    parts += [] if drop is None else [f"{advice.figure} within {max(drop, 0.0):.2f} points of fp32"]
    return " and ".join(parts) or "an accuracy that could not be measured"
