"""The models. A file that registers some is named in the import below, and nowhere else; its order is the order of
lists.
"""

from evit_mobile.models import classification, detection, segmentation, attention, shapes  # isort: skip
from evit_mobile.models.registry import (
    ModelSpec,
    PaperFigures,
    Trained,
    all_models,
    find_model,
    register_model,
    trained_of,
)

__all__ = [
    "ModelSpec", "PaperFigures", "Trained", "all_models", "attention", "classification", "detection", "find_model",
    "register_model", "segmentation", "shapes", "trained_of",
]  # fmt: skip
