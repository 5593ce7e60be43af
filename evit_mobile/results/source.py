"""Where imported figures are from."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from evit_mobile.results.entry import Entry, Name, Sha256

#: Stands in a file for what another tool did not record.
NOT_RECORDED: Final = "not recorded"


class SourceFile(Entry):
    """A file of another tool.

    ``form`` is the form of the file in words and ``point`` the point that it went into. ``accelerators`` are what the
    model ran on, such as CPU or NPU, if the file says so.
    """

    name: Name
    sha256: Sha256
    form: Name
    point: Name
    accelerators: tuple[Name, ...] = ()


class Source(Entry):
    """The files that a result was imported from; ``states_soc`` is True if whoever imported them named the SoC."""

    files: Annotated[tuple[SourceFile, ...], Field(min_length=1, max_length=10_000)]
    states_soc: bool

    @property
    def accelerators(self) -> tuple[str, ...]:
        """What the models ran on, as far as the files say."""
        return tuple(dict.fromkeys(name for file in self.files for name in file.accelerators))
