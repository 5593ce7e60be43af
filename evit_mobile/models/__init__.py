"""The models. A file that registers some is named in the import below, and nowhere else; its order is the order of lists."""

from evit_mobile.models import classification, detection, segmentation, attention  # isort: skip
from evit_mobile.models.registry import ModelSpec, PaperFigures, all_models, find_model, register_model

__all__ = [
    "ModelSpec", "PaperFigures", "all_models", "attention", "classification", "detection", "find_model", "register_model", "segmentation",
]  # fmt: skip
