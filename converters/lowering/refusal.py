"""What the lowering cannot lower, in words: operators that TFLite has no form of."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from evit_mobile.errors import RequestError

#: Exit code of the worker where onnx2tf says that it has no lowering for an operator; the reason is the last line
#: printed.
UNSUPPORTED = 3
#: onnx2tf's own form of a reason.
_REASON = re.compile(r"op=(?P<type>\w+) node=(?P<node>\S+) .*message=(?P<text>.*)")
#: What onnx2tf puts before the name of an operator that it passes on unlowered.
_PREFIX = "ONNX_"
_HINT = "write it with other operators"


def unsupported(words: str) -> RequestError:
    """The refusal for onnx2tf's own reason."""
    match = _REASON.search(words)
    what = f"{match['type']} at {match['node']}: {match['text']}" if match else words
    return RequestError(f"the network has an operator that cannot be lowered to TFLite: {what}", hint=_HINT)


def check_operators(lowered: Any, model: Any) -> None:
    """Every operator of a lowered model is one that runtimes have.

    Args:
        lowered: its object tree (``ModelT``).
        model: the ONNX graph that it was lowered from, for the places.

    Raises:
        RequestError: there are others; they are named, with the first node of each.
    """
    custom = Counter(
        code.customCode.decode()
        for operator in lowered.subgraphs[0].operators
        if (code := lowered.operatorCodes[operator.opcodeIndex]).customCode
    )
    if not custom:
        return
    places: dict[str, str] = {}
    for node in model.graph.node:
        places.setdefault(f"{_PREFIX}{node.op_type.upper()}", f"{node.op_type} at {node.name or node.output[0]}")
    named = ", ".join(
        places.get(name, name) + (f" and {count - 1} more" if count > 1 else "") for name, count in custom.items()
    )
    raise RequestError(f"the network has operators that TFLite has no form of: {named}", hint=_HINT)
