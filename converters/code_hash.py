"""A hash of the code and data that can change a conversion's bytes, so that an edited pass is never served from the
cache.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from evit_mobile.specs import ModelName

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("converters", "evit_mobile", "android_bench")
#: Where a conversion starts: in our process, and in the one that runs onnx2tf.
ENTRIES = ("converters.pipeline", "converters.lowering.worker")
#: Files that are read and not imported: class names, and the runtime versions of ops.
DATA = ("evit_mobile/models/labels/*.txt", "evit_mobile/tflite/op_versions.json")


@functools.cache
def code_hash() -> str:
    """SHA-256 over every module of ours that a conversion imports, at its top or inside a function, and over
    ``DATA``.
    """
    data = (path for pattern in DATA for path in ROOT.glob(pattern))
    return _hash_of([*conversion_modules().values(), *data])


def model_code_hash(name: ModelName) -> str | None:
    """What ``code_hash`` does not cover of a model: code outside our packages that registered it.

    Returns:
        SHA-256 of that code and what it imports, libraries left out; empty for a model of ours or of no code; None
        where its code cannot be found, and for a factory, which may do anything.
    """
    if name.kind == "factory":
        return None
    if name.kind != "registered":
        return ""
    from evit_mobile.models import find_model

    module = find_model(name.text).builder.__module__
    if module.partition(".")[0] in PACKAGES:
        return ""
    files = imported_modules([module])
    return _hash_of(files.values()) if module in files else None


@functools.cache
def conversion_modules() -> dict[str, Path]:
    """Name -> file of the modules that ``ENTRIES`` import, and what these import, and so on."""
    ours = imported_modules(ENTRIES)
    return {name: path for name, path in ours.items() if name.partition(".")[0] in PACKAGES}


def imported_modules(entries: Iterable[str]) -> dict[str, Path]:
    """Name -> file of ``entries`` and of what they import, directly or not; the standard library and installed packages
    left out.
    """
    files: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in files:
            continue
        files[name] = path
        # A package's own module runs before any module in it.
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [name.rpartition(".")[0], *_imported(ast.parse(path.read_bytes()), package)]
    return files


def _hash_of(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Of every import statement in ``package`` the module, and with ``from a import b`` also a.b, which may be one.

    What stands under ``if TYPE_CHECKING`` is not run and left out.
    """
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> Path | None:
    """The file of a module of ours or of the user's; None for anything else."""
    root = _root_of(module.partition(".")[0])
    if root is None:
        return None
    path = root.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@functools.cache
def _root_of(package: str) -> Path | None:
    """The folder that holds a top-level package or module; None where it is installed, of the standard library, or
    without a file.
    """
    if package in PACKAGES:
        return ROOT
    if not package or package in sys.stdlib_module_names:
        return None
    spec = PathFinder.find_spec(package)
    if spec is None:
        return None
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    if not places:
        return None
    place = Path(places[0]).resolve()
    installed = [Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib")]
    if any(place.is_relative_to(folder) for folder in installed):
        return None
    return place.parent.parent if place.name == "__init__.py" else place.parent
