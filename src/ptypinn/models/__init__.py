"""Networks: tensors in, tensors out. Adding one is one file and one entry in `MODELS`."""

from ptypinn.models.cnn import PtychoCNN

MODELS = {"cnn": PtychoCNN}
"""Networks by the name that the configuration and the bundle use."""

__all__ = ["MODELS", "PtychoCNN"]
