"""Search for positions: the right places on the right object, whatever the flux, and beyond the edge of the canvas."""

import numpy as np
import pytest
import torch
from tests.solvers.quasi_newton.conftest import curved_probe, make_scan, raster, textured_object

from ptypinn.data.reconstruction import SolverResult
from ptypinn.solvers.position_search import search_positions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scan():
    obj = textured_object(extent=(80, 80), phase=2.0)
    return make_scan(obj, curved_probe(), raster(obj.shape, 32, 12, integer=False), seed=1)


def result_of(scan, positions_px):
    return SolverResult(scan.truth, np.ones(scan.truth.shape, np.float32), scan.probe, positions_px, (0, 0))


@pytest.mark.parametrize("radius", [3, 7])
def test_displaced_patterns_are_found(scan, radius):
    moves = np.random.default_rng(2).uniform(-0.5 * radius, 0.5 * radius, scan.positions_px.shape)
    recorded = scan.positions_px + moves
    match = search_positions(scan, result_of(scan, recorded), recorded, radius, CPU)
    assert np.quantile(np.abs(match.positions_px - scan.positions_px), 0.95) < 0.35
    far = np.linalg.norm(moves, axis=1) > 1
    assert (match.misfit[far] < 0.5 * match.misfit_before[far]).all()


def test_the_flux_of_a_pattern_does_not_matter(scan):
    flux = np.random.default_rng(3).uniform(0.2, 3, scan.n_patterns).astype(np.float32)
    bright = scan.replace(counts=scan.counts * flux[:, None, None])
    first, second = (search_positions(s, result_of(s, s.positions_px), s.positions_px, 2, CPU) for s in (scan, bright))
    np.testing.assert_allclose(first.positions_px, second.positions_px, atol=1e-3)


def test_bad_pixels_take_no_part(scan):
    mask = np.ones((32, 32), bool)
    mask[10:14, 16:20] = False
    counts = scan.counts.copy()
    counts[:, ~mask] = 1e6
    match = search_positions(
        scan.replace(counts=counts, mask=mask), result_of(scan, scan.positions_px), scan.positions_px, 2, CPU
    )
    assert np.abs(match.positions_px - scan.positions_px).max() < 0.35


def test_places_beyond_the_canvas_are_vacuum(scan):
    middle = scan.truth[20:60, 20:60]
    part = SolverResult(middle, np.ones((40, 40), np.float32), scan.probe, scan.positions_px, (20, 20))
    match = search_positions(scan, part, scan.positions_px - 20, 3, CPU)
    inside = ((scan.positions_px >= 20) & (scan.positions_px <= 28)).all(1)
    assert inside.any()
    assert np.abs(match.positions_px + 20 - scan.positions_px)[inside].max() < 0.35
    assert np.isfinite(match.misfit).all()
