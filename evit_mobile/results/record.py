"""The result file: everything that was measured, and everything needed to measure it again.

A file is one JSON document; ``evit_mobile.results.files`` writes and reads it. Field names carry units. Raw samples
are kept if the runner gives them; if it prints only aggregates, those are kept (``PrintedLatency``). Statistics are not
stored: they are computed when a result is read (``evit_mobile.results.stats``).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from evit_mobile.results.conditions import Conditions
from evit_mobile.results.content import Content
from evit_mobile.results.entry import Entry, Instructions, Microseconds, Name, Sha256, Whole
from evit_mobile.results.estimates import Estimate, OpEstimate
from evit_mobile.results.source import Source
from evit_mobile.results.timeline import Timeline

#: 2 added suites: ``ResultSet.suite`` and ``references``, the position of a point on a curve, and points without a
#: model file. 3 added estimates and ``profile_error``. 4 added ``ResultSet.timeline``, and 5
#: ``ResultSet.source``; a file without either is written as 3. Older files can still be read.
SCHEMA_VERSION: Final = 5
#: Points that a file may hold, of which the largest of ours has 20: comparing 1000 takes 10 s.
MOST_POINTS = 1000

#: What a point holds: wall time on a device that has a clock of its own, executed instructions if it has none, or an
#: estimate of the time.
Quantity = Literal["latency_us", "instructions", "estimated_latency_us"]
#: What the points of a suite lie along: tokens of an attention layer, the side of a square input in pixels (of any
#: other, the square root of its pixels), or a published top-1 accuracy in percent.
Along = Literal["tokens", "resolution", "top1"]
#: Why a point of a suite has no value although nothing is broken: it exceeds its memory limit, or its time limit.
Limit = Literal["does not fit", "timed out"]


class Component(Entry):
    """A program or library that took part. ``sha256`` is the hash of its binary, or None if it has none."""

    name: Name
    version: str
    sha256: Sha256 | None = None


class Core(Entry):
    """One logical CPU; ``max_clock_khz`` is None if the system does not report it."""

    index: Annotated[Whole, Field(ge=0)]
    max_clock_khz: Annotated[Whole, Field(gt=0)] | None = None


class DeviceInfo(Entry):
    """The device that was measured.

    ``kind`` is the prefix of ``--device`` (host, adb, qemu, estimate), or ``imported``, and ``name`` the whole of it.
    ``emulated`` is True if the processor named by ``soc`` did not execute the instructions itself.
    """

    kind: Name
    name: Name
    serial: str | None = None
    soc: str
    abi: str
    instruction_sets: tuple[str, ...] = ()
    cores: tuple[Core, ...]
    memory_bytes: Annotated[Whole, Field(gt=0)] | None = None
    os_build: str
    emulated: bool

    @property
    def is_host(self) -> bool:
        """Whether this machine's own processor was measured."""
        return self.kind == "host"

    @property
    def is_phone(self) -> bool:
        """Whether a real Android device was measured."""
        return self.kind == "adb" and not self.emulated

    @property
    def is_counted(self) -> bool:
        """Whether instructions were counted in place of time."""
        return self.kind == "qemu"

    @property
    def is_estimated(self) -> bool:
        """Whether the time was estimated."""
        return self.kind == "estimate"

    @property
    def is_imported(self) -> bool:
        """Whether others measured with other tools."""
        return self.kind == "imported"


class RunSettings(Entry):
    """How a model is run.

    ``cores`` is the requested mask (``all``, or a form that the device understands); each round records the mask in
    force. ``runs`` and ``min_time_s`` are minimums over all rounds together; whichever takes longer applies.
    """

    threads: Annotated[Whole, Field(ge=1)] = 1
    cores: Name = "all"
    runs: Annotated[Whole, Field(ge=1)] = 50
    rounds: Annotated[Whole, Field(ge=1)] = 10
    warmup_runs: Annotated[Whole, Field(ge=0)] = 3
    min_time_s: Annotated[float, Field(ge=0)] = 0.5


class PrintedLatency(Entry):
    """Aggregates of one process, as the tool printed them. What it did not print is None."""

    count: Annotated[Whole, Field(ge=1)]
    mean_us: Microseconds
    std_us: Annotated[float, Field(ge=0)] | None = None
    min_us: Microseconds | None = None
    p5_us: Microseconds | None = None
    median_us: Microseconds | None = None
    p95_us: Microseconds | None = None
    max_us: Microseconds | None = None


class OpTime(Entry):
    """One op under the tool's own profiler, which adds time itself.

    ``partition`` is the number of the delegate's partition, or None for an op that the runtime's own kernel ran.
    ``mean_us`` is 0 if the op took less time than the profiler's clock resolves.
    """

    op: Name
    name: str
    partition: Annotated[Whole, Field(ge=0)] | None = None
    mean_us: Annotated[float, Field(ge=0)]
    calls: Annotated[Whole, Field(ge=0)]


class Round(Entry):
    """One uninterrupted turn of one model: loaded, run once, warmed up, then measured.

    It holds exactly one of ``latency_us`` (a sample per inference), ``printed_latency``, ``instructions`` (a count per
    inference) and ``estimate``.
    ``printed_warmup`` replaces ``warmup_us`` if the tool prints only aggregates; it includes the first inference.
    ``peak_memory_bytes`` is the increase of the process's peak resident set while it loads and runs the model.
    ``result_file`` is the content of benchmark_model's own result file, under its own names, if the build writes one.
    """

    latency_us: tuple[Microseconds, ...] | None = None
    printed_latency: PrintedLatency | None = None
    instructions: tuple[Instructions, ...] | None = None
    estimate: Estimate | None = None
    init_us: Microseconds | None = None
    first_inference_us: Microseconds | None = None
    warmup_us: tuple[Microseconds, ...] = ()
    printed_warmup: PrintedLatency | None = None
    peak_memory_bytes: Annotated[Whole, Field(ge=0)] | None = None
    result_file: dict[str, dict[str, float]] | None = None
    cores_mask: Annotated[str, Field(pattern=r"^0x[0-9a-f]+$")] | None = None
    before: Conditions | None = None
    after: Conditions | None = None

    @model_validator(mode="after")
    def _one_measurement(self) -> Self:
        measured = [
            name for name in ("latency_us", "printed_latency", "instructions", "estimate") if getattr(self, name)
        ]
        if len(measured) != 1:
            raise ValueError(
                f"a round holds one of latency_us, printed_latency, instructions and estimate, not {measured or 'none'}"
            )
        if measured[0] in ("instructions", "estimate") and (
            self.init_us or self.first_inference_us or self.warmup_us or self.printed_warmup
        ):
            raise ValueError("a round that counts instructions or is estimated has no measured times")
        return self

    @property
    def quantity(self) -> Quantity:
        """What ``values`` measure."""
        if self.estimate is not None:
            return "estimated_latency_us"
        return "instructions" if self.instructions else "latency_us"

    @property
    def values(self) -> tuple[float, ...]:
        """One value per inference (microseconds or instructions). Printed aggregates give one value: their median, or
        else their mean.
        """
        if self.printed_latency is not None:
            return (self.printed_latency.median_us or self.printed_latency.mean_us,)
        if self.estimate is not None:
            return (self.estimate.estimated_latency_us,)
        return self.latency_us or self.instructions or ()


class Accuracy(Entry):
    """A published ImageNet top-1 accuracy in percent, and its source. It is quoted, not measured."""

    top1_percent: Annotated[float, Field(gt=0, le=100)]
    source: Name


class Place(Entry):
    """The position of a point on the curves of its suite.

    ``series`` is the curve's name and ``model`` the model's. ``tokens`` and ``attention`` describe a model of one
    attention layer. ``macs`` are multiply-accumulates per inference, counted on the PyTorch module. ``memory_bytes`` is
    the predicted peak of weights and activations.
    """

    series: Name
    model: Name
    side: Annotated[float, Field(ge=1, lt=1e9)]
    tokens: Annotated[Whole, Field(ge=1)] | None = None
    attention: Literal["linear", "softmax"] | None = None
    macs: Annotated[Whole, Field(ge=0)] | None = None
    memory_bytes: Annotated[Whole, Field(ge=0)] | None = None
    accuracy: Accuracy | None = None


class Suite(Entry):
    """The suite of a result file: its name and title, the axis of its points, and how they were measured.

    ``figure`` is the paper's figure, such as ``figure-2-left``, or None. ``counts_only`` is True if MACs are counted
    and nothing is measured. ``seed`` determines the order of the points. ``budget_s`` is the time that one invocation
    may measure. A point is done once its 95 % interval is narrower than ``interval_percent`` of its median.
    ``memory_limit_bytes`` is the limit per point. ``sha256`` is the hash of the suite file.
    """

    name: Name
    title: Name
    figure: Name | None = None
    along: Along
    counts_only: bool = False
    seed: Annotated[Whole, Field(ge=0)] = 0
    budget_s: Annotated[float, Field(gt=0)] | None = None
    interval_percent: Annotated[float, Field(gt=0)] | None = None
    memory_limit_bytes: Annotated[Whole, Field(gt=0)] | None = None
    sha256: Sha256


class Point(Content):
    """One model under one setting: its rounds in the order of measurement, and the reason if it stopped early.

    A point of a suite has a ``place``. If its model does not fit or took too long, ``limit`` says so and ``error``
    gives the details. ``model_sha256`` and ``model_bytes`` are None if there is no file.
    The fields of ``Content`` say what the file holds.
    ``profile`` comes from a separate run, in the order of execution; an estimate has ``op_estimates`` instead.
    ``profile_error`` is the reason if a profile was asked for and failed; the rounds count all the same.
    """

    name: Name
    model_sha256: Sha256 | None = None
    model_bytes: Annotated[Whole, Field(ge=1)] | None = None
    resolution: str | None = None
    settings: RunSettings
    rounds: tuple[Round, ...] = ()
    profile: tuple[OpTime, ...] = ()
    op_estimates: tuple[OpEstimate, ...] = ()
    profile_error: Name | None = None
    error: Name | None = None
    place: Place | None = None
    limit: Limit | None = None

    @model_validator(mode="after")
    def _has_model(self) -> Self:
        if (self.model_sha256 is None) != (self.model_bytes is None):
            raise ValueError("model_sha256 and model_bytes go together")
        return self

    @model_validator(mode="after")
    def _one_quantity(self) -> Self:
        if len({entry.quantity for entry in self.rounds}) > 1:
            raise ValueError("the rounds of a point must all measure the same quantity")
        return self

    @property
    def quantity(self) -> Quantity | None:
        """The quantity that was measured, or None before the first round."""
        return self.rounds[0].quantity if self.rounds else None

    @property
    def values(self) -> list[tuple[float, ...]]:
        """The values of each round; see ``Round.values``."""
        return [entry.values for entry in self.rounds]

    @property
    def is_complete(self) -> bool:
        """Whether every requested round is here."""
        return self.error is None and len(self.rounds) >= self.settings.rounds


class ResultSet(Entry):
    """A result file. ``command`` is the argument vector. Name and settings together identify a point.

    For a suite, ``references`` holds one model per setting that was measured in turn with the points from beginning to
    end. Its rounds show whether the machine stayed the same. A sustained or a paced run has a ``timeline``, and points
    without rounds. Imported figures have a ``source``.
    """

    schema_version: Literal[1, 2, 3, 4, 5] = 3
    created: AwareDatetime
    command: tuple[str, ...]
    components: tuple[Component, ...]
    device: DeviceInfo
    points: Annotated[tuple[Point, ...], Field(max_length=MOST_POINTS)] = ()
    suite: Suite | None = None
    references: Annotated[tuple[Point, ...], Field(max_length=MOST_POINTS)] = ()
    timeline: Timeline | None = None
    source: Source | None = None

    @model_validator(mode="after")
    def _imported(self) -> Self:
        if self.device.is_imported != (self.source is not None) or (self.source and self.schema_version < 5):
            raise ValueError("a result has a source if it was imported; its schema version is 5")
        if self.source is None and any(point.rounds and point.model_sha256 is None for point in self.points):
            raise ValueError("a point that was measured has a model_sha256 and model_bytes")
        return self

    @model_validator(mode="after")
    def _on_timeline(self) -> Self:
        if self.timeline is None:
            return self
        if self.schema_version < 4 or self.suite is not None or any(point.rounds for point in self.points):
            raise ValueError("a result with a timeline has schema version 4, no suite and no rounds")
        unknown = {turn.point for turn in self.timeline.turns} - {point.name for point in self.points}
        if unknown:
            raise ValueError(f"the timeline has a turn of {min(unknown)!r}, which is no point")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [(point.name, point.settings.model_dump_json()) for point in self.points]
        if len(set(keys)) < len(keys):
            raise ValueError("two points have the same name and settings")
        quantities = {point.quantity for point in (*self.points, *self.references)} - {None}
        if self.device.is_counted and (not self.device.emulated or "latency_us" in quantities):
            raise ValueError("a qemu device is emulated and has instructions, never latency_us")
        if self.device.is_estimated != ("estimated_latency_us" in quantities) and quantities:
            raise ValueError("an estimate device has estimated_latency_us and nothing else does")
        if self.device.is_estimated and (not self.device.emulated or len(quantities) > 1):
            raise ValueError("an estimate device is emulated and has estimated_latency_us alone")
        return self

    def with_points(self, points: tuple[Point, ...]) -> ResultSet:
        """The same result with other points, validated again."""
        return self.evolve(points=points)
