"""Calibration data: what a quantiser sees of the world, from a folder of pictures, an .npz file or a generator
function.

Whatever the source, iterating gives model inputs, [1, H, W, C] float32, NHWC, one at a time: memory does not grow with
their number. Arrays of uint8 are RGB pictures at the model's resolution and are normalised as the model wants; arrays
of floats are taken for model inputs as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from converters.quantize.input_format import InputFormat, unknown_pixels
from converters.quantize.npz import npz_inputs
from converters.source.blame import user_line
from converters.source.importing import import_named
from evit_mobile.arrays import Float32Array
from evit_mobile.errors import RequestError
from evit_mobile.files import cache_folder
from evit_mobile.vision.images import load_pixels, normalise
from evit_mobile.weights import sha256_of

#: Of more than these, an evenly spaced part is taken: ranges do not change any more, and a folder may hold a million.
MOST_INPUTS = 512
#: With fewer, a warning: rare values, which decide a range, are then likely to be missing.
FEW_INPUTS = 16
EXPECTED = "expected a folder of pictures, an .npz file or package.module:function"
#: Ways in which a picture's pixels may be told apart from plain RGB.
_MODES = {"L": "greyscale", "1": "greyscale", "CMYK": "CMYK", "P": "palette"}


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass
class CalibrationData:
    """Model inputs for calibration. It can be iterated any number of times and gives the same each time.

    Attributes:
        source: what the user named.
        count: number of inputs; ``len()`` says the same.
        sha256: of the inputs' values and order (of pictures: after scaling and cropping, before normalisation).
        skipped: files that could not be used.
        notes: what the user should know, one line each; the skipped ones are in it with their number.
    """

    source: str
    count: int
    sha256: str
    _inputs: Callable[[], Iterator[Float32Array]] = field(repr=False)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Float32Array]:
        """Yield each input, [1, H, W, C] float32."""
        return self._inputs()


def open_calibration(source: str | Path, form: InputFormat) -> CalibrationData:
    """Read all of ``source`` once, check it, and make it ready for any number of passes.

    Args:
        source: a folder, searched with all below it, an .npz file, or ``package.module:function`` (called without
            arguments; it yields [H, W, C] or [1, H, W, C] arrays).

    Raises:
        RequestError: nothing there can be used, or an array in it is not what the model takes.
    """
    text, path = str(source), Path(source)
    if path.is_dir():
        data = _from_folder(path, form)
    elif path.suffix == ".npz" and path.is_file():
        data = _from_arrays(text, lambda: npz_inputs(path), form)
    elif ":" in text and not path.exists():
        data = _from_arrays(text, _function(text), form)
    elif path.exists():
        raise RequestError(f"calibration data {text} is one file", hint=EXPECTED)
    else:
        raise RequestError(f"calibration data {text} does not exist", hint=EXPECTED)
    if data.count < FEW_INPUTS:
        data.notes.append(
            f"{data.count} calibration input(s) are few: values out of their range will be cut off. 32 or more are "
            "better."
        )
    return data


def fingerprint(source: str | Path) -> str | None:
    """A hash that changes whenever the data of a folder or an .npz may have changed; None of a function, whose data may
    change unseen.

    It is quicker than ``CalibrationData.sha256`` and not the same: it covers whole files.
    """
    path = Path(source)
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        return None
    digest = hashlib.sha256()
    for file in _files(path):
        with contextlib.suppress(OSError):
            digest.update(f"{file.relative_to(path)}\0{sha256_of(file)}\0".encode())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """All files below ``folder`` in order of their names, hidden ones left out."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _from_folder(folder: Path, form: InputFormat) -> CalibrationData:
    """Pictures, decoded once: their pixels wait in a file without a name."""
    if form.channels != 3:
        raise RequestError(
            f"the model takes {form.channels} channels, a picture has 3", hint="calibrate it with an .npz or a function"
        )
    if form.preprocessing is None:
        raise unknown_pixels(f"calibration folder {folder}")
    files = _files(folder)
    chosen = _spread(files)
    skipped: list[Skipped] = []
    modes: Counter[str] = Counter()
    # Beside the cache and not in /tmp, which may be memory.
    spool = tempfile.TemporaryFile(dir=cache_folder("calibration"))
    digest = hashlib.sha256()
    for file in chosen:
        try:
            pixels, mode = load_pixels(file, form.resolution, form.preprocessing)
        except RequestError as error:
            skipped.append(Skipped(str(file), error.message))
            continue
        modes[mode] += 1
        content = pixels.tobytes()
        digest.update(content)
        spool.write(content)
    spool.flush()
    count = modes.total()
    if not count:
        raise _nothing_usable(folder, skipped)
    notes = _skipped_notes(skipped) + _mode_notes(modes)
    if len(chosen) < len(files):
        notes.append(f"of {len(files)} files, {len(chosen)} evenly spaced ones were taken")
    return CalibrationData(str(folder), count, digest.hexdigest(), lambda: _spooled(spool, count, form), skipped, notes)


def _nothing_usable(folder: Path, skipped: list[Skipped]) -> RequestError:
    if not skipped:
        return RequestError(f"calibration folder {folder} holds no files", hint="expected pictures in it or below it")
    problem = f"no file of calibration folder {folder} is a picture: {len(skipped)} cannot be read"
    return RequestError(problem, hint=f"first: {skipped[0].reason}")


def _skipped_notes(skipped: list[Skipped]) -> list[str]:
    if not skipped:
        return []
    return [f"skipped {len(skipped)} file(s) that cannot be used; first: {skipped[0].reason}"]


def _mode_notes(modes: Counter[str]) -> list[str]:
    kinds: Counter[str] = Counter()
    for mode, count in modes.items():
        if mode.endswith(("A", "a")):
            kinds["with transparency, which is ignored"] += count
        elif mode.startswith("I;16"):
            kinds["16-bit greyscale"] += count
        elif mode != "RGB":
            kinds[_MODES.get(mode, mode)] += count
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return [f"turned to RGB: {summary}"] if summary else []


def _spooled(spool: IO[bytes], count: int, form: InputFormat) -> Iterator[Float32Array]:
    size = math.prod(form.shape)
    for number in range(count):
        # At an own position each, so that two passes may run in turn.
        content = os.pread(spool.fileno(), size, number * size)
        yield form.prepare(np.frombuffer(content, np.uint8).reshape(form.shape), f"picture {number}")


def _spread(files: list[Path]) -> list[Path]:
    if len(files) <= MOST_INPUTS:
        return files
    return [files[number * len(files) // MOST_INPUTS] for number in range(MOST_INPUTS)]


def _from_arrays(source: str, inputs: Callable[[], Iterator[NDArray[Any]]], form: InputFormat) -> CalibrationData:
    """Arrays of an .npz or of a function, checked in a first pass; each further pass reads them, or calls the function,
    again.
    """

    def ready() -> Iterator[Float32Array]:
        for number, value in enumerate(itertools.islice(inputs(), MOST_INPUTS)):
            yield form.prepare(value, f"input {number} of calibration data {source}")

    digest, count, largest = hashlib.sha256(), 0, 0.0
    for value in ready():
        digest.update(value.tobytes())
        count, largest = count + 1, max(largest, float(np.abs(value).max()))
    if not count:
        raise RequestError(f"calibration data {source} holds no inputs")
    notes = []
    usual = _largest_of_pictures(form)
    if usual is not None and largest > 10 * usual:
        extent = f"values reach {largest:.4g} where pictures reach {usual:.3g}"
        notes.append(f"{extent}: floats are taken for normalised model inputs; give raw pictures as uint8")
    if count == MOST_INPUTS:
        notes.append(f"at most the first {MOST_INPUTS} inputs are taken")
    return CalibrationData(source, count, digest.hexdigest(), lambda: _as_before(ready(), count, source), [], notes)


def _largest_of_pictures(form: InputFormat) -> float | None:
    """The largest magnitude that a picture gives; None where that is not known, or no picture is taken."""
    if form.channels != 3 or form.preprocessing is None:
        return None
    ends = normalise(np.array([[0, 0, 0], [1, 1, 1]], np.float32), form.preprocessing)
    return float(np.abs(ends).max())


def _as_before(values: Iterator[Float32Array], count: int, source: str) -> Iterator[Float32Array]:
    """``values``, which have to be as many as in the first pass."""
    yielded = 0
    for yielded, value in enumerate(values, 1):
        yield value
    if yielded != count:
        raise RequestError(
            f"calibration data {source} gave {count} inputs and then {yielded}",
            hint="it has to give the same each time",
        )


def _function(name: str) -> Callable[[], Iterator[NDArray[Any]]]:
    """The generator function that ``package.module:function`` names; its arrays may have a leading axis of 1."""
    function = import_named(name, "function")

    def inputs() -> Iterator[NDArray[Any]]:
        try:
            for value in function():
                array = np.asarray(value)
                yield array[0] if array.ndim == 4 and array.shape[0] == 1 else array
        except (Exception, SystemExit) as error:  # the function is the user's code, and raises what it likes
            hint = "expected a function that yields arrays" if isinstance(error, TypeError) else None
            raise RequestError(f"{name} failed: {user_line(error)}", hint=hint) from error

    return inputs
