"""One page about one .tflite: what is in it, what it costs, whether it computes the same, and how fast it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evit_mobile.api.file_page.card import about_file, card_part, ends_part, labels_part
from evit_mobile.api.file_page.inside import (
    cost_part,
    delegate_part,
    every_op_part,
    ops_part,
    precision_part,
)
from evit_mobile.api.file_page.own_results import Results, latencies, of_file, times_of
from evit_mobile.api.file_page.parity import Parity, parity_part
from evit_mobile.results.page.file_section import FileSection, Part
from evit_mobile.results.page.pictures import Illustration
from evit_mobile.tflite.file import Tflite

__all__ = ["FilePage", "Parity", "file_page"]


@dataclass(frozen=True)
class FilePage:
    """The sections of the page, one a signature, and the results of this very file."""

    sections: list[FileSection]
    results: Results


def file_page(
    file: Tflite, results: Results = (), parity: Parity = Parity(), illustrations: Sequence[Illustration] = ()
) -> FilePage:
    """What stands on the page of ``file``.

    Args:
        results: result files under their names; of each, what was measured with this very file is kept.
        parity: what ``verify`` said of it.
        illustrations: pictures of what it found.

    Raises:
        RequestError: the file cannot be loaded, or a result file holds nothing of it.
    """
    own = of_file(file, results)
    sections: list[FileSection] = []
    for signature in file.alternatives or (None,):
        shown = illustrations if not sections else ()
        sections.append(_section(file, signature, own, parity, shown))
    return FilePage(sections, own)


def _section(
    file: Tflite, signature: str | None, results: Results, parity: Parity, illustrations: Sequence[Illustration]
) -> FileSection:
    from converters.tflite.inspection import inspect_model

    chosen = file.at(signature)
    inspection = inspect_model(chosen)
    name = f"{file.path.name if file.path is not None else file.name}{f', signature {signature}' if signature else ''}"
    hashes = {chosen.sha256} if signature is not None else {chosen.sha256, file.sha256}
    overview = [
        *(("Latency", text) for text in [*latencies(results, hashes)] or ["no result of this file was given"]),
        ("Parity", parity.in_a_line(signature)),
        ("Delegate", _delegate(inspection.partitions, len(inspection.undelegated), inspection.op_total)),
        (
            "Cost",
            f"{inspection.macs / 1e6:,.1f} M multiply-accumulates, {inspection.parameter_bytes / 1e6:.2f} MB of "
            f"parameters, {inspection.size_bytes / 1e6:.2f} MB file",
        ),
    ]
    parts = [
        Part("At a glance", facts=overview, illustrations=illustrations),
        ends_part(chosen, inspection),
        parity_part(parity, signature),
        cost_part(name, chosen, inspection, times_of(results, chosen, hashes)),
        delegate_part(inspection),
        precision_part(inspection),
        ops_part(inspection),
        labels_part(chosen),
        every_op_part(inspection),
        card_part(chosen),
    ]
    notes = (
        [] if chosen.description is not None else ["evit-mobile did not write this file: what it is for is unknown."]
    )
    return FileSection(name, about_file(chosen), notes, [part for part in parts if part is not None])


def _delegate(partitions: int | None, outside: int, ops: int) -> str:
    pieces = f"{'unknown' if partitions is None else partitions} partition{'' if partitions == 1 else 's'}"
    return f"{pieces}, {outside} of {ops} ops outside"
