"""Laws of simulated scans: dose, determinism, detector, geometry."""

import numpy as np

from ptypinn.config.simulate import SimulateConfig
from ptypinn.simulate import simulate

SMALL = {"object_size": (96, 80), "size": 32, "n_patterns": 30, "pupil_radius": 0.4, "defocus_waves": 0.6}


def test_the_same_seed_gives_the_same_scan_and_another_seed_another():
    first, second = simulate(SimulateConfig(**SMALL, seed=3)), simulate(SimulateConfig(**SMALL, seed=3))
    other = simulate(SimulateConfig(**SMALL, seed=4))
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_array_equal(first.positions_px, second.positions_px)
    np.testing.assert_array_equal(first.truth, second.truth)
    assert not np.array_equal(first.truth, other.truth)
    assert not np.array_equal(first.positions_px, other.positions_px)
