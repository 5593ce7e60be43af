"""Whose line an exception of the user's code comes from, and what Python decides by the values of tensors."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from evit_mobile.errors import ConversionError, EvitMobileError, RequestError, first_line

if TYPE_CHECKING:
    from torch import Tensor

_OWN = Path(__file__).resolve().parent.parent.parent


@contextlib.contextmanager
def file_at_fault(path: Path | None) -> Iterator[None]:
    """While the body works on a user's ONNX file, what a library raises is the file's fault; None: there is no file.

    Raises:
        RequestError: in place of any exception but this machine's.
    """
    try:
        yield
    except Exception as error:
        own = isinstance(error, (EvitMobileError, OSError, MemoryError)) and not isinstance(error, ConversionError)
        if path is None or own:
            raise
        reason = first_line(error)
        what = reason if isinstance(error, ConversionError) else f"{type(error).__name__}: {reason}"
        raise RequestError(f"{path} cannot be used: {what}") from error


def user_line(error: BaseException) -> str:
    """The error's type and first line, and ``file:line`` of the last frame that is the user's own code, where there is
    one.
    """
    text = f"{type(error).__name__}: {first_line(error)}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text


def _is_users(filename: str) -> bool:
    """Whether a file is neither ours nor installed nor made up (``<string>``, ``<eval_with_key>``)."""
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    libraries = {sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")}
    if any(path.is_relative_to(folder) for folder in libraries):
        return False
    return not any(path.is_relative_to(_OWN / package) for package in ("converters", "evit_mobile"))


@contextlib.contextmanager
def value_reads(*inputs: Tensor) -> Iterator[list[str]]:
    """Notes where Python reads values that depend on ``inputs`` while the body runs, such as the condition of an
    ``if``.

    An exporter keeps the path that its example takes, for every input. Gives a list that fills with ``file:line``, each
    once.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.weak import WeakTensorKeyDictionary

    readers = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
    computed = WeakTensorKeyDictionary(dict.fromkeys(inputs, True))
    places: list[str] = []

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """Nothing is compiled here, and saying so to the compiler would import it, which takes seconds."""
            return False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            leaves = tree_leaves((args, kwargs))
            depends = any(isinstance(leaf, torch.Tensor) and leaf in computed for leaf in leaves)
            if depends and func in readers:
                place = _calling_line(sys._getframe())
                if place not in places:
                    places.append(place)
            result = func(*args, **(kwargs or {}))
            if depends:
                computed.update(
                    dict.fromkeys((leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)), True)
                )
            return result

    with Mode():  # type: ignore[no-untyped-call]
        yield places


def _calling_line(frame: FrameType | None) -> str:
    """``file:line`` of the innermost frame that is the user's own code, or else that is no part of PyTorch."""
    fallback = "a library's code"
    while frame is not None:
        filename = frame.f_code.co_filename
        if _is_users(filename):
            return f"{filename}:{frame.f_lineno}"
        if (
            "/torch/" not in filename
            and fallback == "a library's code"
            and not filename.startswith("<")
            and filename != __file__
        ):
            fallback = f"{filename}:{frame.f_lineno}"
        frame = frame.f_back
    return fallback
