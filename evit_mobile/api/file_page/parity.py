"""What ``verify`` says of a file, on its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converters.parity.summary import HEADER, remarks, settings
from converters.parity.verify import ParityReport
from evit_mobile.errors import RequestError
from evit_mobile.results.page.file_section import Part
from evit_mobile.tflite.file import Tflite


@dataclass(frozen=True)
class Parity:
    """The reports of a file by their signatures; ``why_not`` says why there is none."""

    reports: Sequence[ParityReport] = ()
    why_not: str = "not asked for"

    @classmethod
    def given(cls, reports: Sequence[ParityReport], file: Tflite, origin: str) -> Parity:
        """Reports that were read from ``origin``.

        Raises:
            RequestError: one is of another file than ``file``.
        """
        if any(report.sha256 != file.sha256 for report in reports):
            hint = "its SHA-256 differs: evit-mobile verify --json again"
            raise RequestError(f"{origin} is of another file than {file.name}", hint=hint)
        return cls(reports, f"{origin} has nothing of it")

    def of(self, signature: str | None) -> ParityReport | None:
        """The report of one signature."""
        return next((report for report in self.reports if report.signature == signature), None)

    def in_a_line(self, signature: str | None) -> str:
        """Whether it passed."""
        report = self.of(signature)
        if report is None:
            return f"not verified: {self.why_not}"
        return f"{'passed' if report.passed else 'failed'}, against {report.reference}; {report.criterion}"


def parity_part(parity: Parity, signature: str | None) -> Part | None:
    """The worst figures of each runtime and setting; nothing where it was not verified."""
    report = parity.of(signature)
    if report is None:
        return None
    verdict = "passed" if report.passed else "failed"
    about = (
        f"{verdict.capitalize()}: {report.model} at {report.resolution}, {report.precision}, against "
        f"{report.reference}, on the same inputs ({', '.join(report.inputs)}). It passes with {report.criterion}."
    )
    header = [heading or "verdict" for heading in HEADER]
    return Part(
        "Parity",
        about,
        lines=remarks(report),
        header=header,
        cells=[setting.cells for setting in settings(report)],
    )
