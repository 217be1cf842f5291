"""A probe at sub-pixel positions is moved once as long as neither changes."""

import dataclasses

import numpy as np
import pytest
import torch

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.losses import LIKELIHOODS
from ptypinn.physics.patches import shift_probe
from ptypinn.solvers.quasi_newton import moved_probes
from ptypinn.solvers.quasi_newton.moved_probes import HeldProbes, move_spectra
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.unknowns import Unknowns

SIZE, PATTERNS = 8, 6


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)


@pytest.fixture
def count_moves(monkeypatch):
    """Count the batches whose modes are moved."""
    moves, move = [], move_spectra

    def count(*arguments):
        moves.append(arguments)
        return move(*arguments)

    monkeypatch.setattr(moved_probes, "move_spectra", count)
    return moves


@pytest.fixture
def objective(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("ptypinn.data.pattern_batches.CPU_BATCH_PIXELS", 4 * SIZE**2)  # two batches
    scan = ScanData(rng.poisson(3.0, (PATTERNS, SIZE, SIZE)).astype(np.uint16), rng.integers(0, 5, (PATTERNS, 2)) * 1.0)
    corners, shifts = torch.from_numpy(scan.positions_px).long()[None], torch.rand(PATTERNS, 2) - 0.5
    return Objective(
        PatternBatches(scan, torch.device("cpu")), corners, LIKELIHOODS["poisson"], draw((2, SIZE, SIZE), 1), shifts
    )


def test_a_probe_that_is_held_is_moved_once(objective, count_moves):
    at = Unknowns(draw((14, 14), 2))
    first, second = objective(at), objective(at)
    assert len(count_moves) == 2  # batches
    assert torch.equal(first.gradient.object, second.gradient.object) and float(first.loss) == float(second.loss)
    free = objective(Unknowns(at.object, objective.probe))
    torch.testing.assert_close(first.gradient.object, free.gradient.object)


@pytest.mark.parametrize("name", ["probe", "shifts"])
def test_another_probe_or_other_positions_are_moved_anew(objective, name):
    at = Unknowns(draw((14, 14), 2))
    before = objective(at)
    other = dataclasses.replace(objective, **{name: getattr(objective, name) * 0.5})
    fresh = dataclasses.replace(other, held_probes=HeldProbes())
    assert torch.equal(other(at).gradient.object, fresh(at).gradient.object)
    assert torch.equal(objective(at).gradient.object, before.gradient.object)


def test_probes_beyond_the_budget_are_moved_on_every_pass(objective, count_moves):
    nbytes = 4 * SIZE**2 * 8 * 2  # two modes of the first batch
    bounded = dataclasses.replace(objective, held_probes=HeldProbes(nbytes))
    at = Unknowns(draw((14, 14), 2))
    first, second = bounded(at), bounded(at)
    assert len(count_moves) == 3  # the second batch has no place
    assert torch.equal(first.gradient.object, second.gradient.object)


def test_spectra_are_moved_as_probes_are():
    probe, shifts = draw((2, SIZE, SIZE), 3), torch.rand(4, 2) - 0.5
    torch.testing.assert_close(move_spectra(torch.fft.fft2(probe)[None], shifts).probes, shift_probe(probe, shifts))
