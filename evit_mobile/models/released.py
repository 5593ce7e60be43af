"""Checkpoints of the EfficientViT that the authors released (github.com/mit-han-lab/efficientvit: B0 to B3, L1 to L3),
for timm's modules.

timm's ``efficientvit_*`` are the same networks under other names. The authors nest ``op_list``; their L models count
the stem as stage 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Mapping

if TYPE_CHECKING:
    from torch import Tensor

#: Parts of the classification head: the authors' -> timm's.
HEAD = {
    "0": "head.in_conv",
    "2.linear": "head.classifier.0",
    "2.norm": "head.classifier.1",
    "3.linear": "head.classifier.4",
}


def to_timm(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors under timm's names. Any other key stays as it is: a checkpoint with timm's names comes out
    unchanged.
    """
    large = any(key.startswith("backbone.stages.0.op_list.0.conv.") for key in given)
    return {_renamed(key, large): value for key, value in given.items()}


def _renamed(key: str, large: bool) -> str:
    stem = "backbone.stages.0" if large else "backbone.input_stem"
    if match := re.fullmatch(rf"{re.escape(stem)}\.op_list\.(\d+)\.(.+)", key):
        block = int(match[1])
        return f"stem.res{block - 1}.{match[2]}" if block else f"stem.in_conv.{match[2]}"
    if match := re.fullmatch(r"backbone\.stages\.(\d+)\.op_list\.(\d+)\.(.+)", key):
        return f"stages.{int(match[1]) - large}.blocks.{match[2]}.{match[3]}"
    if match := re.fullmatch(r"head\.op_list\.(0|2\.linear|2\.norm|3\.linear)\.(.+)", key):
        return f"{HEAD[match[1]]}.{match[2]}"
    return key
