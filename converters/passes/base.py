"""What a graph pass is: a rewrite of an ONNX graph that says what it did and what it left alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Declined:
    """A place that looked like the pass's pattern and was left as it was."""

    where: str
    reason: str


@dataclass
class PassResult:
    """What one pass did to one graph."""

    fired: int = 0
    declined: list[Declined] = field(default_factory=list)

    def decline(self, where: str, reason: str) -> None:
        """Record a place that was left as it was."""
        self.declined.append(Declined(where, reason))


class Pass(Protocol):
    """A rewrite, in place, of an ``onnx_ir`` model with shapes inferred.

    ``name`` is what reports call it; ``reason`` says in a sentence what the pass is for. A pass keeps the graph's inputs, outputs
    and what they compute, within the rounding of its arithmetic.
    """

    name: str
    reason: str

    def __call__(self, model: ir.Model, target: Target) -> PassResult: ...


@dataclass(frozen=True)
class PassReport:
    """One pass of one conversion: how often it fired, what it declined and why, and what it took."""

    name: str
    reason: str
    fired: int
    declined: list[Declined]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The report as plain lists, strings and numbers, for JSON."""
        return asdict(self)
