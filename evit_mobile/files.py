"""Files and folders: outputs that appear whole or not at all, and the cache."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Iterator

from evit_mobile.errors import RequestError

#: Environment variable that moves the cache.
CACHE_VARIABLE = "EVIT_MOBILE_CACHE"


def cache_folder(name: str) -> Path:
    """The cache's folder for ``name``, made if absent: below $EVIT_MOBILE_CACHE, else the user's cache folder."""
    import platformdirs

    root = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("evit-mobile")
    folder = Path(root) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_output(path: Path, *, force: bool = False) -> None:
    """Raise RequestError unless ``path`` can be written: its folder exists and is writable, and it is new, or ``force`` is set."""
    folder = path.parent
    if not folder.is_dir():
        raise RequestError(f"cannot write {path}: there is no folder {folder}")
    if path.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder")
    if path.exists() and not force:
        raise RequestError(f"{path} exists", hint="--force replaces it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise RequestError(f"cannot write {path}: the folder {folder} is not writable") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, made if absent, against other processes; where another holds it, wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; it takes the name ``path`` when the body ends without an exception."""
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
