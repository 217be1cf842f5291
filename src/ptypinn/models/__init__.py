"""Networks: tensors in, tensors out. Adding one is one module and one entry in `registry.MODELS`."""

from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.registry import MODELS, find_model, list_models

__all__ = ["MODELS", "PtychoCNN", "find_model", "list_models"]
