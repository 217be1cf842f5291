"""Shape checks for every jaxtyping annotation, one thread, fixed seeds for the whole suite, a browser and plug-ins."""

import os

import hypothesis
import torch

import shape_checks

pytest_plugins = ["browser", "plug_ins", "scan_fixtures"]

shape_checks.install()

hypothesis.settings.register_profile("laws", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("laws")
torch.set_num_threads(1)
os.environ["MPLBACKEND"] = "Agg"


def pytest_runtest_setup() -> None:
    """Check the first calls of every function anew."""
    shape_checks.begin_test()
