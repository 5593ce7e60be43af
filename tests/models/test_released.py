"""The authors' released checkpoints: their names load into timm's modules, and give what the authors' own code gave.

``released_efficientvit.json`` was recorded from github.com/mit-han-lab/efficientvit at de7d773: of each classifier
every key with its shape, and the first eight logits of the network whose tensors ``_tensor`` makes, on the image of
``_image``.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converters.source.load import load_source
from evit_mobile.errors import RequestError

pytest.importorskip("timm")
RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "released_efficientvit.json").read_text()
)


def _tensor(key: str, shape: list[int]) -> torch.Tensor:
    """Values that depend on the name alone, so that two tensors of one shape that changed places are seen."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) == 1:
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, np.float32))


def _image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(7).standard_normal((1, 3, 64, 96), dtype=np.float32))


def _checkpoint(name: str, path: Path) -> Path:
    """As the authors hand them out: the tensors under ``state_dict``."""
    torch.save({"state_dict": {key: _tensor(key, shape) for key, shape in RECORDED[name]["keys"].items()}}, path)
    return path


@pytest.mark.parametrize("name", RECORDED)
def test_the_authors_weights_give_the_authors_logits(name: str, tmp_path: Path) -> None:
    """Within 1e-5 of the largest logit: rounding, in another order of summation and with another epsilon in the
    attention.
    """
    source = load_source(f"timm:{name}", weights=_checkpoint(name, tmp_path / "released.pt"))
    assert source.module is not None and not source.seeded
    with torch.no_grad():
        logits = source.module(_image())[0, :8].numpy()
    np.testing.assert_allclose(logits, RECORDED[name]["logits"], atol=1e-5 * RECORDED[name]["largest"])


def test_timms_own_names_still_load(tmp_path: Path) -> None:
    module = load_source("timm:efficientvit_b0", seed=3).module
    assert module is not None
    torch.save(module.state_dict(), tmp_path / "timm.pth")
    loaded = load_source("timm:efficientvit_b0", weights=tmp_path / "timm.pth").module
    assert loaded is not None and all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_another_size_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"do not fit this model: .*mis-shaped: stem\.in_conv\.conv\.weight"):
        load_source("timm:efficientvit_b1", weights=_checkpoint("efficientvit_b0", tmp_path / "b0.pt"))
