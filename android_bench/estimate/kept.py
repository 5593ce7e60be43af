"""Work of models that were traced before, kept in the cache folder: a trace takes minutes, and repeats.

It does not depend on the constants of time, so a device file can be changed and asked again at once.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from android_bench.emulator.qemu import Qemu
from android_bench.estimate.devices import DeviceModel
from android_bench.estimate.timing import Work
from android_bench.estimate.tools import Llvm
from android_bench.estimate.works import trace, works_of
from evit_mobile.files import cache_folder, whole_file
from evit_mobile.tflite.file import Tflite
from evit_mobile.weights import sha256_of

_WORKS = TypeAdapter(list[Work])


def kept_works(qemu: Qemu, llvm: Llvm, model: Path, device: DeviceModel) -> list[Work]:
    """The ops of one inference of ``model`` with their work; traced where that was not done before with the same
    programs.

    Raises:
        DeviceError: the run did not end as it should.
        MachineError: llvm-mca fails.
    """
    path = cache_folder("estimate") / f"works-{_key(qemu, llvm, model, device)}.json"
    try:
        return _WORKS.validate_json(path.read_bytes())
    except (OSError, ValidationError):  # not there, or damaged: it is made again
        works = works_of(*trace(qemu, model, device), llvm, device, Tflite.read(model))
    with whole_file(path) as temporary:
        temporary.write_bytes(_WORKS.dump_json(works))
    return works


def _key(qemu: Qemu, llvm: Llvm, model: Path, device: DeviceModel) -> str:
    """Of everything that the work depends on: the model, the programs, this package's code, and the caches' shapes."""
    root = qemu.root
    programs = [sha256_of(path) for path in (model, root.tracer, root.runner, qemu.library)]
    shapes = [(cache.bytes, cache.ways) for cache in device.caches]
    everything = (*programs, root.qemu_version, qemu.cpu, llvm.version, device.schedule, shapes, _code_hash())
    return hashlib.sha256(repr(everything).encode()).hexdigest()


@functools.cache
def _code_hash() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256("".join(sha256_of(path) for path in sources).encode()).hexdigest()
