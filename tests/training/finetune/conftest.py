"""A scan of a few patterns, and weights that correct badly."""

import pytest
import torch
from torch import nn

from ptypinn.config.simulate import SimulateConfig
from ptypinn.models.model_file import save_weights
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.stages.simulate import simulate


@pytest.fixture(scope="session")
def scan():
    return simulate(
        SimulateConfig(
            object="dead_leaves",
            size=32,
            object_size=(72, 70),
            n_patterns=60,
            photons=3e3,
            probe="disk",
            probe_diameter_px=12.0,
            curvature_rad=2.0,
            dead_pixels=7,
            seed=5,
        )
    )


@pytest.fixture(scope="session")
def network():
    torch.manual_seed(0)
    network = UnrolledCorrection(CHANNELS, widths=(8, 8, 8, 8)).eval()
    nn.init.normal_(network.head.weight, std=0.06)
    return network.requires_grad_(False)


@pytest.fixture(scope="session")
def weights_file(network, tmp_path_factory):
    card = {"saw": {"photons_per_pattern": [1e4, 1e6], "overlap": {"known_probe": [0.3, 0.5]}}, "licence": "none"}
    return save_weights(network, card, tmp_path_factory.mktemp("start") / "start.safetensors")
