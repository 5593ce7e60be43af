"""LiteRT.js, Google's runtime for the web, in a real browser: by the code of ``docs/how-to/web.md`` it gives our files'
outputs as LiteRT does here.

The package comes from npm, pinned with its hashes, and stays in ``build/`` from one run to the next.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Route

import evit_mobile as em
from converters.parity.differences import CRITERIA, compare
from evit_mobile.arrays import Array
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.specs import Activation, Ends, Pixels, Precision, Resolution
from tests import apt
from tests.conftest import ROOT, SMALL_MODEL
from tests.kits import small_network

HERE = Path(__file__).parent / "litert_js"
SITE = "http://app.test"
IMPORTS = {f"@litertjs/{name}": f"/node_modules/@litertjs/{name}/dist/index.js" for name in ("core", "wasm-utils")}
#: Around the documented code: what a bundler does, and what the test calls.
PAGE = """<!doctype html><meta charset="utf-8"><title>A .tflite in LiteRT.js</title><body>
<script type="importmap">{imports}</script>
<script type="module">{code}
const ARRAYS = {{float32: Float32Array, uint8: Uint8Array}};
window.ask = async (dtype, signature) => {{
  const bytes = await (await fetch("/input.bin")).arrayBuffer();
  const outputs = await run(new ARRAYS[dtype](bytes), signature);
  return Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, Array.from(values)]));
}};
window.isFullyAccelerated = model.isFullyAccelerated;
</script>"""

#: ``run(file, array, signature)`` gives the outputs by name, flat, and whether it is fully accelerated.
Run = Callable[..., tuple[dict[str, Array], bool]]


@pytest.fixture(scope="session")
def package(cache: Path) -> Path:
    """A folder with ``node_modules`` that hold LiteRT.js; without npm or the package the test is skipped, and fails
    under CI=true.
    """
    folder = ROOT / "build" / "litert-js"
    with FileLock(cache / "apt.lock"):
        if shutil.which("npm") is None:
            apt.install(["npm"])
    with FileLock(cache / "litert-js.lock"):
        problem = _installed(folder)
    if problem and os.environ.get("CI") == "true":
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)
    return folder


def _installed(folder: Path) -> str | None:
    """Install the package unless it is there; why it cannot be."""
    lock = (HERE / "package-lock.json").read_text()
    kept = folder / "installed-lock.json"
    if kept.exists() and kept.read_text() == lock:
        return None
    if shutil.which("npm") is None:
        return "there is no npm: apt install npm"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        return "LiteRT.js cannot be had: npm did not end within 240 s"
    if done.returncode:
        return f"LiteRT.js cannot be had: {done.stderr.strip().splitlines()[:1]}"
    kept.write_text(lock)
    return None


@pytest.fixture
def run(browser: Browser, package: Path) -> Iterator[Run]:
    page = browser.new_page()
    page.set_default_timeout(240_000)  # 10 MB of WebAssembly are compiled first
    (code,) = re.findall(
        r"^```js\n(.*?)^```", (ROOT / "docs" / "how-to" / "web.md").read_text(), re.DOTALL | re.MULTILINE
    )
    served = {"": PAGE.format(imports=json.dumps({"imports": IMPORTS}), code=code).encode()}

    def serve(route: Route) -> None:
        """The page, the package, the file and its input; nothing leaves this machine."""
        path = route.request.url.removeprefix(f"{SITE}/")
        if path in served:
            route.fulfill(body=served[path], content_type="text/html" if path == "" else None)
        elif (package / path).is_file():
            route.fulfill(path=package / path)
        else:
            route.fulfill(status=404)

    page.route("**/*", serve)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def in_page(file: Path, array: Array, signature: str | None = None) -> tuple[dict[str, Array], bool]:
        served.update({"model.tflite": file.read_bytes(), "input.bin": array.tobytes()})
        page.goto(f"{SITE}/")
        page.wait_for_function("window.ask !== undefined")
        answer: dict[str, list[float]] = page.evaluate("all => window.ask(...all)", [array.dtype.name, signature])
        outputs = {name: np.array(values, np.float32) for name, values in answer.items()}
        return outputs, page.evaluate("window.isFullyAccelerated")

    yield in_page
    page.close()
    assert errors == []


def _agrees(run: Run, file: Path, precision: Precision, signature: str | None = None) -> None:
    """By the bound of the precision: the kernels are XNNPACK's for WebAssembly, which round in another order."""
    with RUNTIMES["litert"].open(file, signature=signature) as session:
        (info,) = session.inputs
        array = random_input(info.shape, info.dtype)
        expected = dict(zip(session.output_names(), session.run([array])))
    outputs, is_fully_accelerated = run(file, array, signature)
    assert is_fully_accelerated and outputs.keys() == expected.keys()
    for name, value in expected.items():
        difference = compare(value, outputs[name].reshape(value.shape))
        assert CRITERIA[precision].holds(difference), difference


def test_a_classifier(run: Run, base_r224_tflite: Path) -> None:
    _agrees(run, base_r224_tflite, Precision.FP32)


def test_bytes_in_probabilities_out(run: Run, converted: Callable[..., Path]) -> None:
    ends = Ends(Pixels.UINT8, Activation.SOFTMAX)
    _agrees(run, converted(SMALL_MODEL, resolution=Resolution(96, 96), ends=ends), Precision.FP32)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_precisions(run: Run, precision: Precision, tmp_path: Path) -> None:
    pictures = [np.random.default_rng(seed).normal(size=(32, 32, 3)).astype(np.float32) for seed in range(4)]
    calibration = pictures if precision is Precision.INT8 else None
    conversion = em.convert(small_network.make(), resolution=32, precision=str(precision), calibration=calibration)
    _agrees(run, conversion.save(tmp_path / "model.tflite"), precision)


def test_each_resolution_of_a_file(run: Run, tmp_path: Path) -> None:
    conversion = em.convert(small_network.make(), resolution=[64, 32])
    file = conversion.save(tmp_path / "model.tflite")
    for signature in conversion.report.signatures:
        _agrees(run, file, Precision.FP32, signature)
