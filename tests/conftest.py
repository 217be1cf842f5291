"""Shape checks for every jaxtyping annotation, one thread, and fixed seeds for the whole suite."""

import os

import hypothesis
import torch
from jaxtyping import install_import_hook

install_import_hook("ptypinn", "beartype.beartype")

hypothesis.settings.register_profile("laws", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("laws")
torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "Agg"
