"""App code that loads one .tflite and feeds it correctly, from what the file says of itself."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

from evit_mobile.card import ModelCard
from evit_mobile.errors import RequestError
from evit_mobile.specs import OutputLayout
from evit_mobile.text import visible
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Tensor
from evit_mobile.vision.images import GREY
from evit_mobile.vision.purpose import Purpose, purpose_of

#: By language, the template's file.
LANGUAGES = {"kotlin": "kotlin.kt.j2", "swift": "swift.swift.j2", "python": "python.py.j2", "cpp": "cpp.cc.j2"}
#: Names that every language takes in a string and in a comment.
_NAME = re.compile(r"[\w./:;@+ -]{1,200}")
_BOUNDS = {"int8": (-128, 127), "uint8": (0, 255)}
#: C++'s names of the types that ends may have.
_CPP_TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "int64": "int64_t"}
_TEMPLATES = Path(__file__).with_name("snippets")


def snippet(path: Path, language: str, card: ModelCard = ModelCard(), signature: str | None = None) -> str:
    """Code in ``language`` that runs the .tflite at ``path`` on a picture, as ``evit-mobile run`` does.

    Args:
        path: the file; it has to say, or ``card`` does, what it is for and how pictures become its input.
        language: one of ``LANGUAGES``.
        card: what the user says of the model.
        signature: which resolution, where the file has several.

    Raises:
        RequestError: see ``purpose_of``; or its input has a type that no picture is turned into.
    """
    import jinja2

    purpose = purpose_of(path, card, signature)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # code and no HTML; names from the file are quoted by the filter
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template(LANGUAGES[language]).render(_values(path, purpose))


def _values(path: Path, purpose: Purpose) -> dict[str, Any]:
    """What the templates say of the file.

    ``factor`` and ``offset`` take a byte of a pixel to the input's value, by channel, quantisation included.
    """
    whole = Tflite.read(path)
    chosen = whole.at(purpose.signature)
    names, pixels = chosen.signature_names, purpose.preprocessing
    entry = chosen.graph.tensors[chosen.graph.inputs[0]]
    if entry.dtype not in ("float32", *_BOUNDS):
        raise RequestError(f"{path} takes {entry.dtype}, which no picture is turned into")
    if not chosen.signatures:
        raise RequestError(f"{path} has no signature, by which apps name its input", hint="convert it again")
    outputs = [chosen.graph.tensors[index] for index in chosen.graph.outputs]
    strange = next((tensor for tensor in outputs if tensor.dtype not in _CPP_TYPES), None)
    if strange is not None:
        raise RequestError(f"{path} gives {strange.dtype}, which no answer is read from")
    ends = [names.get(index, "") for index in (*chosen.graph.inputs, *chosen.graph.outputs)]
    for name in (chosen.signatures[0], *ends):
        if not _NAME.fullmatch(name):
            raise RequestError(
                f"{path} has an input or output called {visible(name)!r}", hint="letters, digits, . / : - _"
            )
    scale, zero = (entry.scale[0], entry.zero_point[0]) if entry.scale else (1.0, 0)
    factor = [1 / (255 * std * scale) for std in pixels.std]
    offset = [zero - mean / (std * scale) for mean, std in zip(pixels.mean, pixels.std)]
    low, high = _BOUNDS.get(entry.dtype, (0, 0))
    return {
        "file": path.name,
        "model": purpose.description.model,
        "task": purpose.task,
        "signature": chosen.signatures[0],
        "input": names.get(entry.index, entry.name),
        "type": entry.dtype,
        "low": low,
        "high": high,
        "width": purpose.resolution.width,
        "height": purpose.resolution.height,
        "mean": list(pixels.mean),
        "std": list(pixels.std),
        "scale": scale,
        "zero": zero,
        "factor": [f"{value:.9g}" for value in factor],
        "offset": [f"{value:.9g}" for value in offset],
        "fit": pixels.fit,
        "interpolation": pixels.interpolation,
        "cover_width": int(purpose.resolution.width / pixels.crop_fraction),
        "cover_height": int(purpose.resolution.height / pixels.crop_fraction),
        "grey": GREY,
        "outputs": [_output(tensor, names) for tensor in outputs],
        "ordered": [_output(chosen.graph.tensors[index], names) for index in _in_order(chosen)],
        "place": _place(whole, chosen.signatures[0]),
        "types": _CPP_TYPES,
        "layout": "NCHW" if purpose.description.output_layout is OutputLayout.NCHW else "NHWC",
        "probabilities": purpose.probabilities,
        "labels": zipfile.is_zipfile(path),
    }


def _place(file: Tflite, signature: str) -> int:
    """Of a signature among those of the file."""
    keys = [entry.signatureKey.decode() for entry in file.tree.signatureDefs]
    return keys.index(signature)


def _in_order(file: Tflite) -> list[int]:
    """The outputs in the order of the first signature, which need not be the graph's."""
    return [int(entry.tensorIndex) for entry in file.tree.signatureDefs[0].outputs]


def _output(tensor: Tensor, names: dict[int, str]) -> dict[str, Any]:
    scale, zero = (tensor.scale[0], tensor.zero_point[0]) if tensor.scale else (None, 0)
    return {
        "name": names.get(tensor.index, tensor.name),
        "shape": list(tensor.shape),
        "count": math.prod(tensor.shape),
        "type": tensor.dtype,
        "scale": scale,
        "zero": zero,
    }


def _quoted(text: str) -> str:
    """A string literal of every one of the languages; characters that one of them reads otherwise are left out."""
    plain = "".join(letter for letter in text if letter.isprintable() and letter not in '"\\$')
    return f'"{plain}"'
