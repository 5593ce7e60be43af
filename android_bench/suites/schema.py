"""Suites: which models at which input sizes make a figure. Each is a YAML file, ours in this folder, a user's own
anywhere.

::

    title: One attention layer
    figure: figure-2-left          # the paper's figure whose claims it checks; may be left out
    along: tokens                  # tokens, resolution or top1: what its points lie along
    series:                        # the first is the one that ratios are to
      - name: linear
        attention: linear          # linear or softmax; may be left out
        models:
          - {model: attention-linear, resolutions: [14, 20, 704x1408]}
          - {model: "timm:efficientnet_b0", resolutions: [224], top1: 77.1, source: "arXiv 1905.11946, Table 2"}
    reference: {model: attention-linear, resolution: 32}   # measured all along; shows whether the machine
                                                           # stayed the same
    counts_only: false             # true: MACs are counted, nothing is measured
    measure: {rounds: 8, budget_s: 300}                    # see Measure; may be left out
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from evit_mobile.documents import LARGEST_YAML, first_fault, read_limited, yaml_fields
from evit_mobile.errors import RequestError
from evit_mobile.results.entry import Entry, Name
from evit_mobile.results.record import Accuracy, Along, Place
from evit_mobile.specs import Resolution

FOLDER = Path(__file__).parent
#: Counts of what is measured: a suite that asks for more has no end.
Rounds = Annotated[int, Field(ge=1, le=10_000)]
Runs = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


def _resolution(value: Any) -> Any:
    """``288`` or ``704x1408``, as on the command line."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    try:
        return Resolution.parse(str(value))
    except RequestError as error:
        raise ValueError(str(error)) from error


Size = Annotated[Resolution, BeforeValidator(_resolution)]


class SuiteModel(Entry):
    """A model, as ``--model`` names it, at some input sizes; with a published accuracy where its source is given."""

    model: Name
    resolutions: Annotated[tuple[Size, ...], Field(min_length=1, max_length=1000)]
    top1: Annotated[float, Field(gt=0, le=100)] | None = None
    source: Name | None = None

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if (self.top1 is None) != (self.source is None):
            raise ValueError("top1 and source go together: a published accuracy has a source")
        return self


class SuiteSeries(Entry):
    """One curve."""

    name: Name
    attention: Literal["linear", "softmax"] | None = None
    models: Annotated[tuple[SuiteModel, ...], Field(min_length=1, max_length=200)]


class Reference(Entry):
    """The model that is measured all along."""

    model: Name
    resolution: Size

    @property
    def name(self) -> str:
        return f"reference {self.model}@{self.resolution}"


class Measure(Entry):
    """How a suite is measured.

    A point is done with ``rounds`` rounds once its 95 % interval is no wider than ``interval_percent`` of its median,
    else with ``most_rounds``; each round has ``runs`` inferences, or as many as fill ``min_time_s``, after
    ``warmup_runs``. All ends when ``budget_s`` has been spent on measuring, and a round that takes longer than
    ``run_timeout_s`` is stopped.
    """

    rounds: Rounds = 8
    most_rounds: Rounds = 40
    runs: Runs = 3
    min_time_s: Seconds = 0.1
    warmup_runs: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    interval_percent: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 4.0
    budget_s: Annotated[Seconds, Field(gt=0)] = 300.0
    run_timeout_s: Annotated[Seconds, Field(gt=0)] = 60.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class SuitePoint(Entry):
    """One point of a suite before anything is known of it: what to convert, and its place without MACs and memory."""

    name: Name
    resolution: Resolution
    place: Place


class SuiteFile(Entry):
    """A suite file. ``name`` and ``sha256`` are the file's, not written in it."""

    name: Name
    sha256: Name
    title: Name
    figure: Name | None = None
    along: Along
    series: Annotated[tuple[SuiteSeries, ...], Field(min_length=1, max_length=50)]
    reference: Reference | None = None
    counts_only: bool = False
    measure: Measure = Measure()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        counts = Counter(point.name for point in self.points())
        twice = next((name for name, count in counts.items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} appears twice")
        for series in self.series:
            for entry in series.models:
                if self.along == "top1" and entry.top1 is None:
                    raise ValueError(f"{entry.model} has no top1, and the points lie along it")
        return self

    def points(self, up_to: float | None = None) -> list[SuitePoint]:
        """Every point, by series; with ``up_to`` those whose tokens, side or accuracy is no more than that."""
        points = [
            _point(series, entry, resolution, self.along)
            for series in self.series
            for entry in series.models
            for resolution in entry.resolutions
        ]
        return [point for point in points if up_to is None or _along(point.place, self.along) <= up_to]


def names() -> list[str]:
    """The bundled suites."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(text: str) -> SuiteFile:
    """The suite of this name, or in this file (anything that ends in .yaml or .yml).

    Raises:
        RequestError: there is none, or it is not valid; the message says where.
    """
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        if text not in names():
            raise RequestError(
                f"there is no suite {text!r}", hint=f"known: {', '.join(names())}, or a file that ends in .yaml"
            )
        path = FOLDER / f"{text}.yaml"
    content = read_limited(path, "suite", LARGEST_YAML)
    try:
        return SuiteFile.model_validate(
            {**_document(path, content), "name": path.stem, "sha256": hashlib.sha256(content).hexdigest()}
        )
    except ValidationError as error:
        raise RequestError(
            f"{path} is not a valid suite: {first_fault(error)}", hint="see android_bench/suites for the form"
        ) from error


def _document(path: Path, content: bytes) -> dict[str, Any]:
    document = yaml_fields(content, str(path), "suite")
    reserved = {"name", "sha256"} & document.keys()
    if reserved:
        raise RequestError(
            f"{path} is not a valid suite: it sets {reserved.pop()}", hint="leave it out: the name is the file's"
        )
    return document


def _point(series: SuiteSeries, entry: SuiteModel, resolution: Resolution, kind: Along) -> SuitePoint:
    tokens = resolution.height * resolution.width
    return SuitePoint(
        name=f"{entry.model}@{resolution}",
        resolution=resolution,
        place=Place(
            series=series.name,
            model=entry.model,
            side=tokens**0.5,
            tokens=tokens if kind == "tokens" else None,
            attention=series.attention,
            accuracy=Accuracy(top1_percent=entry.top1, source=entry.source) if entry.top1 and entry.source else None,
        ),
    )


def _along(place: Place, kind: Along) -> float:
    if kind == "top1":
        return place.accuracy.top1_percent if place.accuracy else 0.0
    return float(place.tokens) if place.tokens else place.side
