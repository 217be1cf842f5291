"""A training so small that it takes seconds."""

import pytest

from ptypinn.config.pretrain import PretrainConfig

TINY = {
    "epochs": 2,
    "replay_steps": 1,
    "scans_per_epoch": 4,
    "scans_per_batch": 2,
    "states_per_scan": 1,
    "max_rounds_known_probe": 1,
    "max_rounds_guessed_probe": 1,
    "guessed_probe_fraction": 0.0,
    "window_px": 64,
    "widths": (4, 4, 4, 4),
    "val_scans": 1,
    "card_scans": 2,
    "workers": 0,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="session")
def tiny():
    return PretrainConfig(**TINY)
