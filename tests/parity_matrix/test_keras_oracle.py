"""The same small EfficientViT by another road: Keras layers, through TensorFlow's own converter. Same weights, so the
same outputs.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from converters.options import ConvertOptions
from converters.pipeline import convert
from evit_mobile.models.efficientvit import EfficientViTClassifier, EfficientViTConfig, initialise
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.runtimes.foreign import ForeignRuntime
from evit_mobile.specs import Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.versions import minimum_runtime_version

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it

SIDE = 96
#: Every kind of block once, every width different from its neighbours'; 9 tokens in the last stage, more than one head
#: in both.
CONFIG = EfficientViTConfig(
    stem_width=8,
    stage_widths=(12, 16, 24, 32),
    stage_depths=(1, 1, 2, 1),
    heads=(3, 5),
    head_dim=8,
    head_widths=(40, 56),
    classes=10,
)
#: What fp32 models are held to, relative to the largest logit.
BOUND = 1e-4

FACTORY = """
from evit_mobile.models.efficientvit import EfficientViTClassifier, EfficientViTConfig

def make():
    return EfficientViTClassifier(EfficientViTConfig(**{config!r}))
"""


@dataclass(frozen=True)
class Roads:
    """The files that both roads end in; arrays are [1, classes] but for ``image``, NHWC."""

    image: NDArray[np.float32]
    pytorch: NDArray[np.float32]
    keras: NDArray[np.float32]
    keras_tflite: Path
    our_tflite: Path


@pytest.fixture(scope="module")
def roads(installed: Callable[[str], Runtime], tmp_path_factory: pytest.TempPathFactory) -> Roads:
    folder = tmp_path_factory.mktemp("keras")
    module = EfficientViTClassifier(CONFIG).eval()
    initialise(module, 0)
    image = np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy()
    state = module.state_dict()
    np.savez(folder / "weights.npz", **{key: value.numpy() for key, value in state.items()})
    np.save(folder / "image.npy", image)
    (folder / "config.json").write_text(json.dumps({**dataclasses.asdict(CONFIG), "resolution": SIDE}))
    environment = cast(ForeignRuntime, installed("tensorflow")).environment
    script = Path(__file__).with_name("keras_efficientvit.py")
    done = subprocess.run([environment.interpreter, "-I", script, folder], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]

    save_file(state, folder / "weights.safetensors")
    (folder / "small_efficientvit.py").write_text(FACTORY.format(config=dataclasses.asdict(CONFIG)))
    ours = folder / "ours.tflite"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        options = ConvertOptions(resolution=Resolution(SIDE, SIDE), weights=folder / "weights.safetensors")
        convert("small_efficientvit:make", ours, options)
    return Roads(image, expected, np.load(folder / "logits.npy"), folder / "keras.tflite", ours)


def _error(logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    assert logits.shape == expected.shape == (1, CONFIG.classes)
    return float(np.abs(logits - expected).max() / np.abs(expected).max())


def test_keras_computes_what_pytorch_does(roads: Roads) -> None:
    assert np.ptp(roads.pytorch) > 0.1  # logits that tell something
    assert _error(roads.keras, roads.pytorch) <= BOUND


@pytest.mark.parametrize("name", RUNTIMES)
def test_both_roads_agree_on_every_runtime(name: str, roads: Roads, installed: Callable[[str], Runtime]) -> None:
    runtime = installed(name)
    for xnnpack in {xnnpack for xnnpack, _ in runtime.configurations}:
        logits = {}
        for path in (roads.keras_tflite, roads.our_tflite):
            with runtime.open(path, xnnpack=xnnpack) as session:
                (logits[path],) = session.run([roads.image])
        assert _error(logits[roads.our_tflite], roads.keras) <= BOUND
        assert _error(logits[roads.our_tflite], logits[roads.keras_tflite]) <= BOUND


def test_minimum_runtime_is_what_tensorflow_wrote(roads: Roads) -> None:
    """TensorFlow's converter ends by writing the oldest runtime into the model's metadata."""
    model = Tflite.read(roads.keras_tflite).tree
    (written,) = (model.buffers[entry.buffer].data for entry in model.metadata if entry.name == b"min_runtime_version")
    assert minimum_runtime_version(model) == bytes(written).rstrip(b"\0").decode()
