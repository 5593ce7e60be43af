"""Which runtime a model needs: the versions of its ops against the TFLite release that brought each.

``op_versions.json`` gives for each op the releases that brought its versions 1, 2, 3, …; null marks a version that
never was. It was read from TensorFlow 2.21.0 by asking the function with which its converter writes a model's
``min_runtime_version``; the tests ask it again. LiteRT, TFLite's successor, counts its releases anew from 1.0 and is
not in the table.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evit_mobile.errors import RequestError
from evit_mobile.tflite.flatbuffer import read_bytes, unpack


@dataclass(frozen=True, order=True)
class OpVersion:
    """A builtin op and the version of it that a model uses; ``name`` as in TFLite's schema."""

    name: str
    version: int


@functools.cache
def _table() -> dict[str, list[str | None]]:
    table: dict[str, list[str | None]] = json.loads(Path(__file__).with_name("op_versions.json").read_text())
    return table


def op_versions(model: Any) -> list[OpVersion]:
    """The builtin ops of an object tree (``ModelT``), each with its version, sorted."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    versions = set()
    for operator in model.operatorCodes or []:
        # Codes above 126 came with a wider field; the old one then holds a placeholder.
        code = max(operator.deprecatedBuiltinCode, operator.builtinCode)
        if code != schema.BuiltinOperator.CUSTOM:
            versions.add(OpVersion(names.get(code, f"builtin op {code}"), operator.version))
    return sorted(versions)


def minimum_runtime_version(model: Any) -> str | None:
    """The oldest TFLite release with every op version of an object tree, as ``2.14.0``; None where the table knows no
    such release.
    """
    oldest = "1.5.0"
    for op in op_versions(model):
        release = _release(op)
        if release is None:
            return None
        oldest = max(oldest, release, key=_key)
    return oldest


def newest_known(name: str, release: str) -> int:
    """The highest version of an op that a TFLite release has; 0 where it does not have the op."""
    known = [
        version for version, since in enumerate(_table().get(name, []), 1) if since and _key(since) <= _key(release)
    ]
    return max(known, default=0)


def load_error(model: Path, label: str, reason: str, release: str | None) -> RequestError:
    """The error for a whole .tflite that a runtime could not load.

    Args:
        label: the runtime, e.g. ``tflite-runtime 2.14.0``.
        reason: what the runtime said; a complaint about an unknown op or version becomes a list of all that are too new
            for it.
        release: the TFLite release of the runtime's kernels, None where the table does not know it.
    """
    missing = re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", reason)
    if missing or "builtin_code out of range" in reason:
        named = [OpVersion(missing[1], int(missing[2]))] if missing else []
        return RequestError(
            f"{model} is too new for {label}: {_too_new(model, named, release)}",
            hint="ship a newer runtime, or convert for an older one",
        )
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return RequestError(f"{model} cannot be loaded by {label}: {lines[0] if lines else 'no reason given'}")


def _too_new(model: Path, named: list[OpVersion], release: str | None) -> str:
    """Which op versions a runtime lacks: those it named, and with a known release all the others too."""
    if release is None:
        return (
            "; ".join(f"it does not know {op.name} version {op.version}" for op in named)
            or "it does not know one of the ops"
        )
    lacking = {
        op for op in op_versions(unpack(read_bytes(model), str(model))) if op.version > newest_known(op.name, release)
    }
    reasons = []
    for op in sorted(lacking | set(named)):
        known = newest_known(op.name, release)
        if 0 < known < op.version:
            reasons.append(f"it knows {op.name} up to version {known}, the model needs {op.version}")
        else:
            reasons.append(f"it does not know {op.name} version {op.version}")
    return "; ".join(reasons)


def _release(op: OpVersion) -> str | None:
    releases = _table().get(op.name, [])
    return releases[op.version - 1] if 0 < op.version <= len(releases) else None


def _key(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))
