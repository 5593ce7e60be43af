"""Files and folders: outputs that appear whole or not at all, and the cache."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import functools
import glob
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Iterable, Iterator

from evit_mobile.errors import RequestError
from evit_mobile.processes import temporary_folder
from evit_mobile.text import visible

#: Environment variable that moves the cache.
CACHE_VARIABLE = "EVIT_MOBILE_CACHE"
#: Bytes that a file's name may have on Linux, and by how much the temporary name of ``whole_file`` is longer.
LONGEST_NAME, TEMPORARY_LENGTH = 255, 10


def cache_folder(name: str, *, lasting: bool = False) -> Path:
    """The cache's folder for ``name``, made if absent: below $EVIT_MOBILE_CACHE, else the user's cache folder.

    Where that cannot be written, a temporary one takes its place until this process ends, and stderr says so once. With
    ``lasting``, for what is of no use in a temporary folder, that is an OSError.
    """
    import platformdirs

    root = Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("evit-mobile"))
    folder = root / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if lasting or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        folder = _temporary_cache(root, error.strerror or str(error)) / name
        folder.mkdir(exist_ok=True)
    return folder


@functools.cache
def _temporary_cache(root: Path, reason: str) -> Path:
    print(f"warning: nothing is cached: {visible(str(root))}: {reason}", file=sys.stderr)
    stack = contextlib.ExitStack()
    folder = stack.enter_context(temporary_folder())
    atexit.register(_close_own, stack, os.getpid())
    return folder


def _close_own(stack: contextlib.ExitStack, owner: int) -> None:
    if os.getpid() == owner:
        stack.close()


def check_output(path: Path, *, force: bool = False, inputs: Iterable[Path | str | None] = ()) -> None:
    """Refuse an output that cannot be written, or that would take the place of something.

    Args:
        path: a file that is to be written.
        force: an existing file may be replaced.
        inputs: files that are read, which are never replaced; None and names of no file are left out.

    Raises:
        RequestError: the folder is absent or not writable, ``path`` is one of the inputs or no file, or it exists
            without ``force``.
    """
    folder = path.parent
    if not folder.is_dir():
        raise RequestError(f"cannot write {path}: there is no folder {folder}")
    _check_is_file(path)
    if any(source is not None and _is_same_file(source, path) for source in inputs):
        raise RequestError(f"cannot write {path}: it is an input", hint="choose another output")
    if os.path.lexists(path) and not force:
        raise RequestError(f"{path} exists", hint="--force replaces it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise RequestError(f"cannot write {path}: the folder {folder} is not writable") from error


def _is_same_file(source: Path | str, path: Path) -> bool:
    try:
        return os.path.samefile(source, path)
    except (OSError, ValueError):  # one of them does not exist, or is a name of something else
        return False


def _check_is_file(path: Path) -> None:
    """Refuse what stands at ``path`` unless it is a file or nothing, and a name that no file can have or no result
    quote.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"cannot write {path}: its name is not UTF-8") from error
    # A result appears under a temporary name first, which is longer.
    if len(os.fsencode(path.name)) + TEMPORARY_LENGTH > LONGEST_NAME:
        raise RequestError(
            f"cannot write {path}: the name is too long", hint=f"{LONGEST_NAME - TEMPORARY_LENGTH} bytes at most"
        )
    if "\0" in str(path):
        raise RequestError("cannot write a file with a zero byte in its name")
    if path.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder")
    if path.exists() and not path.is_file():
        raise RequestError(f"cannot write {path}: it is a pipe or a device, not a file")


def check_distinct(outputs: Iterable[Path | None]) -> None:
    """Refuse outputs of which two are one file.

    Raises:
        RequestError: the first that comes twice.
    """
    places: set[Path] = set()
    for path in filter(None, outputs):
        place = path.resolve()
        if place in places:
            raise RequestError(f"two outputs cannot both be {path}", hint="choose another name for one of them")
        places.add(place)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, made if absent, against other processes; where another holds it, wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; it takes the name ``path`` when the body ends without an
    exception.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` to fill; it takes the place of ``path`` when the body ends without an
    exception.

    The caller holds a lock against others that make the same folder, so what is left of an earlier attempt is of one
    that was killed, and is removed.
    """
    prefix = f".building-{path.name}-"
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    try:
        yield building
        building.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        building.rename(path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
