"""What can go wrong, and the exit code that each kind ends in.

Every error carries one line that says what was wrong and what was expected, and, where there is something to do, a hint
that says what. ``evit_mobile.cli`` is the only place that turns them into exit codes.
"""

from __future__ import annotations


class EvitMobileError(Exception):
    """Base of all errors that a user may see without a traceback."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class ClaimError(EvitMobileError):
    """The thing asked for was checked and is false: no parity, a regression, a claim not reproduced."""

    exit_code = 1


class RequestError(EvitMobileError):
    """The request itself is wrong: an unknown name, an option out of range, an unusable file."""

    exit_code = 2


class CrashingFileError(RequestError):
    """A file made the runtime crash that was to run it."""


class DeviceError(EvitMobileError):
    """A device failed: absent, unauthorized, vanished, or its run did not end as it should."""

    exit_code = 3


class MachineError(EvitMobileError):
    """This machine failed: a full disk, a tool that crashed, a missing program."""

    exit_code = 4


class ConversionError(MachineError):
    """A stage of a conversion failed on this very network."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type's name where it has none: other people's errors run over many
    lines.
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
