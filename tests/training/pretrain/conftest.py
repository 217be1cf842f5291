"""A training so small that it takes seconds."""

import pytest

from ptypinn.config.pretrain import PretrainConfig

TINY = {
    "epochs": 2,
    "replays": 1,
    "scans_per_epoch": 4,
    "scans_per_batch": 2,
    "states_per_scan": 1,
    "rounds_known": 1,
    "rounds_unknown": 1,
    "unknown_share": 0.0,
    "window": 64,
    "widths": (4, 4, 4, 4),
    "checks": 1,
    "card_checks": 2,
    "workers": 0,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="session")
def tiny():
    return PretrainConfig(**TINY)
