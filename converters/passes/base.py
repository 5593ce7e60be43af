"""What a graph pass is: a rewrite of an ONNX graph that reports what it did and what it left alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Protocol

from converters.passes.tools.graph import Emitter, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Declined:
    """A place that looked like the pass's pattern and was left as it was."""

    where: str
    reason: str


class Refused(Exception):
    """A place looks like the pattern and has to stay as it is; the message is the reason."""


@dataclass
class PassResult:
    """What one pass did to one graph."""

    fired: int = 0
    declined: list[Declined] = field(default_factory=list)

    def decline(self, place: str, reason: str) -> None:
        """Record a place that was left as it was."""
        self.declined.append(Declined(place, reason))


class Pass(Protocol):
    """A rewrite, in place, of an ``onnx_ir`` model with shapes inferred.

    ``name`` is what reports call it; ``reason`` says in a sentence what the pass is for. A pass keeps the graph's
    inputs, outputs and what they compute, within the rounding of its arithmetic.
    """

    name: str
    reason: str

    def __call__(self, model: ir.Model, target: Target) -> PassResult: ...


#: Puts the new nodes into the graph and the result in the old one's place; gives what the report should say was left,
#: or None.
Rewrite = Callable[[Emitter], str | None]


class NodePass(ABC):
    """A pass whose pattern ends, or begins, in one node: visits every node of ``op_types`` in the graph's order.

    A pass gives ``match``; matching, counting and declining are here.
    """

    name: str
    reason: str
    #: Types of the nodes that are looked at, of ONNX's own domain.
    op_types: ClassVar[frozenset[str]]

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [node for node in model.graph if node.op_type in self.op_types and node.domain == ""]:
            try:
                rewrite = self.match(node, target)
                if rewrite is not None:
                    left = rewrite(Emitter(model.graph, node, where(node)))
                    result.fired += 1
                    if left is not None:
                        result.decline(where(node), left)
            except Refused as refusal:
                result.decline(where(node), str(refusal))
        return result

    @abstractmethod
    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        """The rewrite of the place at ``node``; None where it does not look like the pattern.

        Raises:
            Refused: it looks like the pattern and has to stay.
        """


@dataclass(frozen=True)
class PassReport:
    """One pass of one conversion: how often it fired, what it declined and why, and what it took."""

    name: str
    reason: str
    fired: int
    declined: list[Declined]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as plain lists, strings and numbers."""
        return asdict(self)
