"""Files of other tools as one result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from android_bench.imports import read
from android_bench.imports.base import Form, Found
from android_bench.phone.snapdragon import soc_of
from android_bench.suites.schema import SuiteFile, SuitePoint
from evit_mobile import __version__
from evit_mobile.errors import RequestError
from evit_mobile.results.content import Content
from evit_mobile.results.record import (
    Component,
    DeviceInfo,
    Place,
    Point,
    ResultSet,
    RunSettings,
    Suite,
)
from evit_mobile.results.source import NOT_RECORDED, Source, SourceFile
from evit_mobile.weights import sha256_of

#: What the device is called if nobody says which it was.
UNNAMED = "a device that is not named"


@dataclass(frozen=True)
class Request:
    """What whoever imports files says of them.

    Attributes:
        files: each with the name of its model; None takes the one in the file, or else the file's own.
        soc: the SoC that was measured, as a part number or a name; None if nobody knows.
        threads: of files that do not say how many they used.
    """

    files: tuple[tuple[str | None, Path], ...]
    soc: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class _File:
    """One file, read; ``name`` is that of its point."""

    path: Path
    name: str
    form: Form
    found: Found

    def source(self) -> SourceFile:
        return SourceFile(
            name=self.path.name,
            sha256=sha256_of(self.path),
            form=self.form.name,
            point=self.name,
            accelerators=self.found.accelerators,
        )


def gather(request: Request, command: Sequence[str]) -> ResultSet:
    """Each file that measured something is a round of the point with its name and threads; a runtime info adds to it
    what the model holds.

    Raises:
        RequestError: a file is not usable, does not say how many threads it used, or measured nothing.
    """
    files = [_read(name, path) for name, path in request.files]
    tools = dict.fromkeys(file.form.tool for file in files)
    return ResultSet(
        schema_version=5,
        created=datetime.now(UTC),
        command=tuple(command),
        components=(
            Component(name="evit-mobile", version=__version__),
            *(Component(name=tool, version=NOT_RECORDED) for tool in tools),
        ),
        device=DeviceInfo(
            kind="imported",
            name="imported",
            soc=soc_of(request.soc) if request.soc is not None else UNNAMED,
            abi=NOT_RECORDED,
            cores=(),
            os_build=NOT_RECORDED,
            emulated=False,
        ),
        points=tuple(_points(files, request.threads)),
        source=Source(files=tuple(file.source() for file in files), states_soc=request.soc is not None),
    )


def with_suite(results: ResultSet, suite: SuiteFile, places: dict[str, Place]) -> ResultSet:
    """``results`` as points of a suite.

    Args:
        places: by name of the point, see ``points_of``; with MACs, which claims compare.
    """
    record = Suite(
        name=suite.name,
        title=suite.title,
        figure=suite.figure,
        along=suite.along,
        counts_only=suite.counts_only,
        sha256=suite.sha256,
    )
    points = tuple(point.evolve(place=places[point.name]) for point in results.points)
    return results.evolve(suite=record, points=points)


def points_of(results: ResultSet, suite: SuiteFile) -> list[SuitePoint]:
    """The points of the suite that were imported.

    Raises:
        RequestError: one that was imported is not in the suite.
    """
    known = {point.name: point for point in suite.points()}
    strangers = [point.name for point in results.points if point.name not in known]
    if strangers:
        raise RequestError(
            f"the suite {suite.name} has no point {strangers[0]!r}",
            hint=f"write NAME=FILE; names are such as {next(iter(known))}",
        )
    return [known[name] for name in dict.fromkeys(point.name for point in results.points)]


def _read(name: str | None, path: Path) -> _File:
    form, found = read(path)
    return _File(path, name or found.model or path.stem, form, found)


def _points(files: Sequence[_File], stated_threads: int | None) -> Iterable[Point]:
    groups: dict[tuple[str, int], list[_File]] = {}
    for file in files:
        if file.found.round is not None:
            groups.setdefault((file.name, _threads(file, stated_threads)), []).append(file)
    names = {name for name, _ in groups}
    alone = next((file for file in files if file.name not in names), None)
    if alone is not None:
        raise RequestError(
            f"{alone.path} measured nothing: it says what the model {alone.name} holds",
            hint="name the file that measured it, too, as NAME=FILE",
        )
    contents = {file.name: file.found.content for file in files if file.found.round is None}
    for (name, threads), members in groups.items():
        yield Point(
            name=name,
            settings=RunSettings(
                threads=threads, cores=NOT_RECORDED, runs=1, rounds=len(members), warmup_runs=0, min_time_s=0
            ),
            rounds=tuple(file.found.round for file in members if file.found.round is not None),
            **dict(contents.get(name, Content())),
        )


def _threads(file: _File, stated: int | None) -> int:
    """How many threads the file's tool used.

    Raises:
        RequestError: the file does not say, and nobody else does; or they say different things.
    """
    found = file.found.threads
    if found is None and stated is None:
        raise RequestError(
            f"{file.path} does not say how many threads it used", hint="say so by --threads, if you know it"
        )
    if found is not None and stated is not None and found != stated:
        raise RequestError(f"{file.path} used {found} threads, not {stated}", hint="leave --threads out")
    return found or stated or 1
