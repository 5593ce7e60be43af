"""A hash of the code and data that can change a conversion's bytes, so that an edited pass is never served from the cache."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("converters", "evit_mobile", "android_bench")
#: Where a conversion starts: in our process, and in the one that runs onnx2tf.
ENTRIES = ("converters.pipeline", "converters.lowering.worker")
#: Files that are read and not imported: class names, and the runtime versions of ops.
DATA = ("evit_mobile/models/labels/*.txt", "evit_mobile/tflite/op_versions.json")


@functools.cache
def code_hash() -> str:
    """SHA-256 over every module of ours that a conversion imports, at its top or inside a function, and over ``DATA``."""
    files = [*conversion_modules().values(), *(path for pattern in DATA for path in ROOT.glob(pattern))]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def conversion_modules() -> dict[str, Path]:
    """Name -> file of the modules that ``ENTRIES`` import, and what these import, and so on."""
    found: dict[str, Path] = {}
    waiting = list(ENTRIES)
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in found:
            continue
        found[name] = path
        # A package's own module runs before any module in it.
        waiting += [name.rpartition(".")[0], *_imported(ast.parse(path.read_bytes()))]
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    """Of every import statement the module, and with ``from a import b`` also a.b, which may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> Path | None:
    """The file of a module of ours; None for anything else."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
