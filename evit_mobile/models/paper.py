"""The paper's tables (arXiv 2205.14756 v1) for the models that can be built here, and its figure 1 (middle),
counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evit_mobile.models import zoo
from evit_mobile.models.counting import count_macs, count_parameters
from evit_mobile.models.registry import find_model
from evit_mobile.specs import ModelName, Resolution

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PaperRow:
    """A row of a table: the paper's name, ours, and the paper's figures in millions."""

    table: int
    title: str
    model: str
    resolution: Resolution
    params_m: float
    macs_m: float


def _square(side: int) -> Resolution:
    return Resolution(side, side)


#: Input sizes that the paper does not state are those of the models' own publications.
ROWS = (
    PaperRow(1, "EfficientViT-Det-r416", "det-r416", _square(416), 10.6, 2100),
    PaperRow(1, "EfficientViT-Det-r512", "det-r512", _square(512), 10.6, 3200),
    PaperRow(1, "EfficientViT-Det-r608", "det-r608", _square(608), 10.6, 4400),
    PaperRow(2, "EfficientViT-Seg-r1408", "seg-r1408", Resolution(704, 1408), 6.5, 9100),
    PaperRow(2, "EfficientViT-Seg-r1536", "seg-r1536", Resolution(768, 1536), 6.5, 10800),
    PaperRow(2, "EfficientViT-Seg-r2048", "seg-r2048", Resolution(1024, 2048), 6.5, 19100),
    PaperRow(3, "MobileNetV2", "timm:mobilenetv2_100", _square(224), 3.4, 300),
    PaperRow(3, "MnasNet-A1", "timm:semnasnet_100", _square(224), 3.9, 312),
    PaperRow(3, "EfficientNet-B0", "timm:efficientnet_b0", _square(224), 5.3, 390),
    PaperRow(3, "EfficientNetV2-B0", "timm:tf_efficientnetv2_b0", _square(224), 7.4, 700),
    PaperRow(3, "EfficientNet-B1", "timm:efficientnet_b1", _square(240), 7.8, 700),
    PaperRow(3, "ConViT-Tiny", "timm:convit_tiny", _square(224), 6.0, 1000),
    PaperRow(3, "PiT-XS", "timm:pit_xs_224", _square(224), 10.6, 1400),
    PaperRow(3, "CoaT Tiny", "timm:coat_tiny", _square(224), 5.5, 4400),
    PaperRow(3, "MobileViT-XS", "timm:mobilevit_xs", _square(256), 2.3, 700),
    PaperRow(3, "EfficientViT-Base-r192", "base-r192", _square(192), 7.9, 304),
    PaperRow(3, "EfficientViT-Base-r224", "base-r224", _square(224), 7.9, 406),
    PaperRow(3, "EfficientViT-Base-r224-w1.2", "base-r224-w1.2", _square(224), 10.9, 584),
)

#: Figure 1 (middle): the two networks, and sides that ViT's 16-pixel patches divide.
FIGURE_1_MODELS = ("timm:vit_small_patch16_224", "timm:resnet152")
FIGURE_1_SIDES = (224, 320, 416, 512, 608, 704, 800, 896, 1024)


def shapes(model: str, resolution: Resolution) -> tuple[nn.Module, int]:
    """A registered or ``timm:`` model for counting, and the channels of its input.

    Raises:
        RequestError: there is no such model, it does not take this resolution, or timm is not installed.
    """
    if ModelName.parse(model).kind == "zoo":
        return zoo.build_shapes(model, resolution), 3
    spec = find_model(model)
    resolution.check_multiple_of(spec.divisor)
    return spec.build(resolution), spec.channels


def count(model: str, resolution: Resolution) -> tuple[float, float]:
    """Parameters and multiply-accumulates of a registered or ``timm:`` model, in millions; nothing is computed.

    Raises:
        RequestError: there is no such model, or timm is not installed.
    """
    module, channels = shapes(model, resolution)
    return count_parameters(module) / 1e6, count_macs(module, resolution, channels) / 1e6


def parameter_bound(row: PaperRow) -> float:
    """The most parameters in millions that the base backbone, with any neck and head of convolutions, can have within
    the row's MACs.

    A weight of a convolution is used once for each place of its map, so it costs least on the coarsest map, of stride
    32. This is the backbone with all multiply-accumulates that it leaves (of the row's and 3 % more) spent there, on
    1x1 convolutions.
    """
    from evit_mobile.models.efficientvit import EfficientViTBackbone, base_config

    backbone = EfficientViTBackbone(base_config())
    parameters, macs = count_parameters(backbone) / 1e6, count_macs(backbone, row.resolution) / 1e6
    places = (row.resolution.height // 32) * (row.resolution.width // 32)
    return parameters + (1.03 * row.macs_m - macs) / places


def figure_1() -> dict[str, list[float]]:
    """Multiply-accumulates in millions of each of FIGURE_1_MODELS at each of FIGURE_1_SIDES."""
    return {model: [count(model, _square(side))[1] for side in FIGURE_1_SIDES] for model in FIGURE_1_MODELS}


def overtaken_at(figure: dict[str, list[float]]) -> int | None:
    """The smallest of FIGURE_1_SIDES at which the transformer needs more than the convolutional network; None if it
    never does.
    """
    transformer, convolutional = (figure[model] for model in FIGURE_1_MODELS)
    return next((side for side, ours, theirs in zip(FIGURE_1_SIDES, transformer, convolutional) if ours > theirs), None)
