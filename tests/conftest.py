"""Shape checks for every jaxtyping annotation, one thread, fixed seeds for the whole suite, and a browser."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import torch
from jaxtyping import install_import_hook

install_import_hook("ptypinn", "beartype.beartype")

hypothesis.settings.register_profile("laws", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("laws")
torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "Agg"

_spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
_browser = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_browser)
chromium, open_page = _browser.chromium, _browser.open_page
