"""Checkpoints: read without running code from them, and fitted to a module with a clear word on every key that does not
fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from evit_mobile.errors import RequestError, first_line
from evit_mobile.text import visible

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]

#: Under these keys trainers put the weights inside a larger checkpoint.
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
#: How many keys of each kind a message names.
NAMED_KEYS = 4


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by key from a .safetensors, .pt or .pth file.

    Raises:
        RequestError: the file is absent, of another kind, damaged, holds no tensors, or is a pickle that would run
            code.
    """
    if not path.is_file():
        raise RequestError(f"weights {path} do not exist" if not path.exists() else f"weights {path} are not a file")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = dict(load_file(path))
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise RequestError(f"weights {path} are not a whole .safetensors file: {first_line(error)}") from error
        return _usable(tensors, path)
    if path.suffix not in (".pt", ".pth"):
        raise RequestError(f"weights {path} have an unknown ending", hint="expected .pt, .pth or .safetensors")
    return _usable(_unwrap(_read_pickle(path), path), path)


def _read_pickle(path: Path) -> Any:
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickle protocols, which are refused or read
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RequestError(
            f"weights {path} are refused: the file holds more than tensors and reading it could run code",
            hint="save the model's state_dict() alone, or use .safetensors",
        ) from error
    except Exception as error:  # a damaged file ends in whatever its reader meets
        raise RequestError(f"weights {path} are not a whole PyTorch checkpoint: {first_line(error)}") from error


def _unwrap(value: Any, path: Path) -> dict[str, Tensor]:
    import torch

    for wrapper in WRAPPERS:
        if isinstance(value, dict) and isinstance(value.get(wrapper), dict):
            value = value[wrapper]
            break
    if not isinstance(value, dict) or not value or not any(isinstance(item, torch.Tensor) for item in value.values()):
        raise RequestError(f"weights {path} hold no table of tensors", hint="save the model's state_dict()")
    for key, item in value.items():
        if not isinstance(key, str):
            raise RequestError(f"weights {path}: the key {key!r} is not text", hint="save the model's state_dict()")
        if not isinstance(item, torch.Tensor):
            raise RequestError(
                f"weights {path}: {visible(key)} is a {type(item).__name__}, not a tensor",
                hint="save the model's state_dict()",
            )
    # DistributedDataParallel puts "module." before every key.
    prefix = "module."
    return (
        {key.removeprefix(prefix): item for key, item in value.items()}
        if all(k.startswith(prefix) for k in value)
        else dict(value)
    )


def _usable(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``tensors``, each dense, on the CPU, and of values that float32 can hold.

    Raises:
        RequestError: one is not; its key and why.
    """
    for key, tensor in tensors.items():
        fault = _fault(tensor)
        if fault is not None:
            raise RequestError(f"weights {path}: {visible(key)} {fault}", hint="save it as dense float32")
    return tensors


def _fault(tensor: Tensor) -> str | None:
    """What keeps a tensor from being a network's weight."""
    import torch

    if tensor.layout != torch.strided or tensor.is_nested:
        return "is sparse or nested"
    if tensor.is_quantized:
        return "is quantised"
    if tensor.device.type != "cpu":
        return f"is on the device {tensor.device.type}, without values"
    if tensor.dtype not in _dtypes():
        return f"is of {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"has the shape {list(tensor.shape)} and holds fewer values"
    if tensor.dtype == torch.float64 and (torch.isfinite(tensor) & ~torch.isfinite(tensor.float())).any():
        return "has values that are infinite in float32"
    return None


def _dtypes() -> set[torch.dtype]:
    import torch

    return {
        torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool,
        torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    }  # fmt: skip


def load_weights(module: nn.Module, path: Path, rename: Rename | None = None) -> None:
    """Load the checkpoint ``path`` into ``module``; every key must fit. ``rename`` turns another project's names into
    the module's.

    Raises:
        RequestError: missing, unexpected or mis-shaped keys (counted, the first of each kind named), not finite values,
            or anything that ``read_checkpoint`` raises.
    """
    import torch

    weights, expected = read_checkpoint(path), module.state_dict()
    weights = rename(weights) if rename is not None else weights
    # BatchNorm's step counter takes no part in inference, and other frameworks do not write it.
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    faults = {
        "missing": [key for key in expected if key not in weights and key not in optional],
        "unexpected": [key for key in weights if key not in expected],
        "mis-shaped": [
            f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected
            if key in weights and weights[key].shape != expected[key].shape
        ],
        "not finite": [key for key in weights if key in expected and not torch.isfinite(weights[key]).all()],
    }
    if any(faults.values()):
        parts = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in faults.items() if keys]
        raise RequestError(
            f"weights {path} do not fit this model: {'; '.join(parts)}", hint="are they another model's?"
        )
    module.load_state_dict(weights, strict=False)


def classes_in(weights: Mapping[str, Tensor], layers: Sequence[str]) -> int | None:
    """How many classes a checkpoint tells apart: the outputs of the first of ``layers`` that it has; None where it has
    none.
    """
    held = (weights.get(f"{layer}.weight") for layer in layers)
    return next((int(weight.shape[0]) for weight in held if weight is not None and weight.ndim >= 2), None)


def _some(keys: list[str]) -> str:
    return visible(", ".join(keys[:NAMED_KEYS])) + (", …" if len(keys) > NAMED_KEYS else "")
