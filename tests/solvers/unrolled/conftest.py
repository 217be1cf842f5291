"""Small scans and networks for the learned solver."""

import pytest
import torch

from ptypinn.config.simulate import SimulateConfig
from ptypinn.models.model_file import Weights
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.stages.simulate import simulate


def small_scan(**options):
    defaults = {
        "size": 32,
        "object_size": (72, 80),
        "overlap": 0.7,
        "photons": 1e6,
        "probe": "disk",
        "probe_diameter_px": 12.0,
        "curvature_rad": 2.0,
        "seed": 3,
    }
    return simulate(SimulateConfig(**{**defaults, **options}))


def small_weights(strength=0.0, seed=0):
    torch.manual_seed(seed)
    network = UnrolledCorrection(CHANNELS, widths=(8, 8, 8, 8)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(strength * torch.randn_like(parameter))
    return Weights(network, {"name": "small"}, "small weights", "0" * 64)


@pytest.fixture(scope="session")
def scan():
    return small_scan()


@pytest.fixture
def make_scan():
    return small_scan


@pytest.fixture
def make_weights():
    return small_weights
