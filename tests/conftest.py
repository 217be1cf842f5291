"""Shape checks for every jaxtyping annotation, one thread, fixed seeds for the whole suite, a browser and plug-ins."""

import os

import hypothesis
import torch
from jaxtyping import install_import_hook

pytest_plugins = ["browser", "plug_ins", "scan_fixtures"]

install_import_hook("ptypinn", "beartype.beartype")

hypothesis.settings.register_profile("laws", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("laws")
torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "Agg"
