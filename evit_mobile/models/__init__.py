"""The models. A file that registers some is named in the import below, and nowhere else."""

from evit_mobile.models import classification
from evit_mobile.models.registry import ModelSpec, PaperFigures, all_models, find_model, register_model

__all__ = ["ModelSpec", "PaperFigures", "all_models", "classification", "find_model", "register_model"]
