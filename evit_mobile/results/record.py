"""The result file: everything that was measured, and everything that is needed to measure it again.

One JSON document a file, written by ``save`` and read by ``load``. Units stand in the field names. Raw samples are kept where
the runner gives them; where it prints aggregates alone, what it printed is kept (``PrintedLatency``). Nothing here is a statistic:
those are computed from a result when it is read (``evit_mobile.results.stats``).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from evit_mobile.errors import RequestError
from evit_mobile.files import whole_file
from evit_mobile.results.entry import Entry, Instructions, Microseconds, Name, Sha256, Whole
from evit_mobile.results.estimates import Estimate, OpEstimate

#: 2 added suites: ``ResultSet.suite`` and ``references``, what a point is of a curve, and points without a model file. 3 added
#: estimates. Older files are read as they are.
SCHEMA_VERSION: Final = 3
EXPECTED = "expected a file written by evit-mobile bench"

#: What a point holds: wall time on a device that has a clock of its own, executed instructions if it has none, or an estimate of the time.
Quantity = Literal["latency_us", "instructions", "estimated_latency_us"]
#: What the points of a suite lie along: tokens of an attention layer, the side of a square input in pixels (of any other, the square
#: root of its pixels), or a published top-1 accuracy in percent.
Along = Literal["tokens", "resolution", "top1"]
#: Why a point of a suite has no value though nothing is broken: it needs more memory than it may have, or takes more time.
Limit = Literal["does not fit", "timed out"]


class Component(Entry):
    """A program or library that took part; ``sha256`` is of its binary, None where it has none."""

    name: Name
    version: str
    sha256: Sha256 | None = None


class Core(Entry):
    """One logical CPU; ``max_clock_khz`` is None where the system does not say."""

    index: Annotated[Whole, Field(ge=0)]
    max_clock_khz: Annotated[Whole, Field(gt=0)] | None = None


class DeviceInfo(Entry):
    """What was measured on.

    ``kind`` is the prefix of ``--device`` (host, adb, qemu, estimate) and ``name`` all of it. ``emulated`` is True for anything whose
    instructions were not executed by the processor that ``soc`` names.
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


class RunSettings(Entry):
    """How a model is run.

    ``cores`` is the mask that was asked for (``all``, or what the device understands); the mask that was in force stands in each
    round. ``runs`` and ``min_time_s`` are least values over all rounds together: the larger one decides.
    """

    threads: Annotated[Whole, Field(ge=1)] = 1
    cores: Name = "all"
    runs: Annotated[Whole, Field(ge=1)] = 50
    rounds: Annotated[Whole, Field(ge=1)] = 10
    warmup_runs: Annotated[Whole, Field(ge=0)] = 3
    min_time_s: Annotated[float, Field(ge=0)] = 0.5


class Conditions(Entry):
    """The device's state at one moment; empty or None where it does not say.

    ``clocks_khz`` and ``temperatures_celsius`` go by core number and by sensor. ``clock_limits_khz``, by core, is the highest clock
    that the system allows now: below the core's maximum it is throttled. ``thermal_status`` is Android's 0 (none) to 6.
    """

    at: AwareDatetime
    load_average_1min: float | None = None
    clocks_khz: dict[str, Whole] = {}
    temperatures_celsius: dict[str, float] = {}
    clock_limits_khz: dict[str, Whole] = {}
    thermal_status: Whole | None = None
    battery_percent: float | None = None


class PrintedLatency(Entry):
    """Aggregates of one process invocation, as the tool printed them; None where it did not print one."""

    count: Annotated[Whole, Field(ge=1)]
    mean_us: Microseconds
    std_us: Annotated[float, Field(ge=0)] | None = None
    min_us: Microseconds | None = None
    p5_us: Microseconds | None = None
    median_us: Microseconds | None = None
    p95_us: Microseconds | None = None
    max_us: Microseconds | None = None


class OpTime(Entry):
    """One op of an inference under the tool's own profiler, which takes time itself.

    ``partition`` counts the delegate's partitions; None for an op that the runtime's own kernel ran. ``mean_us`` is 0 for an op that
    took less than the profiler's clock can tell.
    """

    op: Name
    name: str
    partition: Annotated[Whole, Field(ge=0)] | None = None
    mean_us: Annotated[float, Field(ge=0)]
    calls: Annotated[Whole, Field(ge=0)]


class Round(Entry):
    """One uninterrupted turn of one model: loaded, run once, warmed up, then measured.

    Holds exactly one of ``latency_us`` (a sample per inference), ``printed_latency``, ``instructions`` (a count per inference) and
    ``estimate``.
    ``printed_warmup`` stands for ``warmup_us`` where the tool prints aggregates alone; the first inference is among them.
    ``peak_memory_bytes`` is by how much loading and running the model raised the process's greatest resident set. ``result_file`` is
    what benchmark_model wrote into its result file, by its own names, where the build writes one.
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
        """What ``values`` are."""
        if self.estimate is not None:
            return "estimated_latency_us"
        return "instructions" if self.instructions else "latency_us"

    @property
    def values(self) -> tuple[float, ...]:
        """One value an inference (microseconds or instructions); for printed aggregates their median, else mean, alone."""
        if self.printed_latency is not None:
            return (self.printed_latency.median_us or self.printed_latency.mean_us,)
        if self.estimate is not None:
            return (self.estimate.estimated_latency_us,)
        return self.latency_us or self.instructions or ()


class Accuracy(Entry):
    """A published ImageNet top-1 accuracy in percent, and where it was published. Nothing here measured it."""

    top1_percent: Annotated[float, Field(gt=0, le=100)]
    source: Name


class Place(Entry):
    """Where a point stands on the curves of its suite.

    ``series`` is the curve's name and ``model`` what it is converted from. ``tokens`` are those of a model of one attention layer, and
    ``attention`` is its kind. ``macs`` are multiply-accumulates of one inference, counted on the PyTorch module. ``memory_bytes`` is
    what weights and activations were predicted to need at once.
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
    """The suite that a result file holds: its own name and title, what its points lie along, and how they were measured.

    ``figure`` is the paper's, as ``figure-2-left``; None for a suite that repeats none. ``counts_only`` is True where nothing is
    measured but MACs counted. ``seed`` gives the order of the points. ``budget_s`` is the time that an invocation may measure,
    ``interval_percent`` how wide a point's 95 % interval may be, of its median, for it to be done, and ``memory_limit_bytes`` what a
    point may use. ``sha256`` is of the suite file.
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


class Point(Entry):
    """One model under one setting: its rounds in the order in which they were measured, and why it stopped early, if it did.

    A point of a suite has a ``place``; where its model does not fit or took too long, ``limit`` says so and ``error`` how that was
    found. ``model_sha256`` and ``model_bytes`` are None where no file was made.
    ``ops``, ``partitions`` and ``undelegated_ops`` are what ``evit-mobile inspect`` counts with the same runtime on the machine that
    asked for the measurement; None where that was not looked at.
    ``profile`` is of a run apart from the rounds, in the order of execution; ``op_estimates`` is what stands for it in an estimate.
    """

    name: Name
    model_sha256: Sha256 | None = None
    model_bytes: Annotated[Whole, Field(ge=1)] | None = None
    resolution: str | None = None
    precision: str | None = None
    ops: Annotated[Whole, Field(ge=0)] | None = None
    partitions: Annotated[Whole, Field(ge=0)] | None = None
    undelegated_ops: Annotated[Whole, Field(ge=0)] | None = None
    settings: RunSettings
    rounds: tuple[Round, ...] = ()
    profile: tuple[OpTime, ...] = ()
    op_estimates: tuple[OpEstimate, ...] = ()
    error: Name | None = None
    place: Place | None = None
    limit: Limit | None = None

    @model_validator(mode="after")
    def _has_model(self) -> Self:
        if self.rounds and (self.model_sha256 is None or self.model_bytes is None):
            raise ValueError("a point that was measured has a model_sha256 and model_bytes")
        return self

    @model_validator(mode="after")
    def _one_quantity(self) -> Self:
        if len({entry.quantity for entry in self.rounds}) > 1:
            raise ValueError("the rounds of a point must all measure the same quantity")
        return self

    @property
    def quantity(self) -> Quantity | None:
        """What was measured; None before the first round."""
        return self.rounds[0].quantity if self.rounds else None

    @property
    def values(self) -> list[tuple[float, ...]]:
        """The values of each round; see ``Round.values``."""
        return [entry.values for entry in self.rounds]

    @property
    def is_complete(self) -> bool:
        """Whether every round that was asked for is here."""
        return self.error is None and len(self.rounds) >= self.settings.rounds


class ResultSet(Entry):
    """A result file. ``command`` is the argument vector; points are told apart by name and settings.

    Of a suite, ``references`` holds under each setting a model that was measured in turn with the points from beginning to end, and is
    none of them: whether its rounds stayed alike tells whether the machine did.
    """

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    created: AwareDatetime
    command: tuple[str, ...]
    components: tuple[Component, ...]
    device: DeviceInfo
    points: tuple[Point, ...] = ()
    suite: Suite | None = None
    references: tuple[Point, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [(point.name, point.settings.model_dump_json()) for point in self.points]
        if len(set(keys)) < len(keys):
            raise ValueError("two points have the same name and settings")
        quantities = {point.quantity for point in (*self.points, *self.references)} - {None}
        if self.device.kind == "qemu" and (not self.device.emulated or "latency_us" in quantities):
            raise ValueError("a qemu device is emulated and has instructions, never latency_us")
        if (self.device.kind == "estimate") != ("estimated_latency_us" in quantities) and quantities:
            raise ValueError("an estimate device has estimated_latency_us and nothing else does")
        if self.device.kind == "estimate" and (not self.device.emulated or len(quantities) > 1):
            raise ValueError("an estimate device is emulated and has estimated_latency_us alone")
        return self

    def with_points(self, points: tuple[Point, ...]) -> ResultSet:
        """The same result with other points, validated anew."""
        return ResultSet(**{**dict(self), "points": points})


def save(results: ResultSet, path: Path) -> None:
    """Write ``results`` to ``path``, whole or not at all; an existing file is replaced."""
    with whole_file(path) as temporary:
        temporary.write_text(results.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


def load(path: Path) -> ResultSet:
    """Read a result file.

    Raises:
        RequestError: the file cannot be read, is no JSON (or was cut short), is no result file, or is of a newer version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"result file {path} cannot be read: {error.strerror}") from error
    _check_version(path, content)
    try:
        return ResultSet.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RequestError(
            f"{path} is not a sound result file: {where}: {first['msg']}{more}", hint="measure again"
        ) from error


def _check_version(path: Path, content: bytes) -> None:
    from pydantic_core import from_json

    try:
        document = from_json(content)
    except ValueError as error:
        raise RequestError(f"{path} is not JSON, or was cut short: {error}", hint=EXPECTED) from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise RequestError(f"{path} is not a result file: it has no schema_version", hint=EXPECTED)
    if version > SCHEMA_VERSION:
        raise RequestError(
            f"{path} was written by a newer evit-mobile (schema {min(version, 999)}, this one reads up to {SCHEMA_VERSION})",
            hint="upgrade evit-mobile",
        )


def file_name(device: str, at: datetime) -> str:
    """``<device>-<time>.json``, with anything that a file name had better not hold replaced."""
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._") else "-" for char in device).strip("-.")
    return f"{safe or 'device'}-{at:%Y%m%dT%H%M%SZ}.json"
