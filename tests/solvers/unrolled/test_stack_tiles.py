"""Tiles of thick samples agree with the whole canvas, and resume after a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import ptypinn as pp
from crystal_scans import SLICES as CRYSTAL_SLICES
from crystal_scans import SPACING_M, make_crystal_scan
from ptypinn.config.shared import JobsConfig
from ptypinn.data.depth import SLICES
from ptypinn.errors import InputError
from ptypinn.metrics.alignment import align
from ptypinn.solvers.multislice import solve_stack
from ptypinn.solvers.slice_search import StackChoice
from ptypinn.solvers.unrolled import stack_tiles
from ptypinn.solvers.unrolled.stack_tiles import solve_stack_tiled
from ptypinn.utils.progress import silent

SIMULATION = {
    "object": "dead_leaves",
    "phase_range": (0.0, 0.8),
    "amplitude_range": (1.0, 0.85),
    "size": 32,
    "object_size": (76, 140),
    "overlap": 0.65,
    "photons": 1e6,
    "seed": 2,
    "probe": "disk",
    "probe_diameter_px": 14.0,
    "curvature_rad": 6.0,
    "slices": 2,
}
TILES = {"tile_px": 80, "halo_px": 48}


@pytest.fixture(scope="module")
def scan():
    return pp.simulate(pp.SimulateConfig(**SIMULATION))


def solve(scan, folder=None, watch=None, progress=None, **options):
    spacing = tuple(scan.experiment.slice_spacing_m.tolist())
    base = {"threads": 1, "device": "cpu", "assume": "ideal", "slices": 2, "slice_spacing_m": spacing}
    config = pp.ReconstructConfig(**{**base, **options})
    return pp.reconstruct(scan, config=config, folder=folder, watch=watch, progress=progress)


@pytest.fixture(scope="module")
def whole(scan):
    return solve(scan)


@pytest.fixture(scope="module")
def snapshots():
    return []


@pytest.fixture(scope="module")
def by_tiles(scan, snapshots):
    return solve(scan, watch=lambda look: snapshots.append(look()), **TILES)


def differences(images, targets, mask):
    """Relative difference of every slice after one factor, a ramp and a shift."""
    values = []
    for image, target in zip(images, targets, strict=True):
        aligned = align(image, target, mask, ramp=True, shift=True)
        ours, wanted = aligned.image[aligned.mask], target[aligned.mask]
        factor = np.vdot(ours, wanted) / np.vdot(ours, ours)
        values.append(np.linalg.norm(factor * ours - wanted) / np.linalg.norm(wanted))
    return np.array(values)


def fine_difference(image, target, mask, coarse_px=6):
    """Relative difference without what is slow, which counts hardly divide among slices."""
    aligned = align(image, target, mask, ramp=True, shift=True)
    ratio = np.where(aligned.mask, aligned.image / np.where(aligned.mask, target, 1), 0)
    weight = gaussian_filter(aligned.mask.astype(float), coarse_px)
    slow = (gaussian_filter(part, coarse_px) / np.maximum(weight, 1e-3) for part in (ratio.real, ratio.imag))
    rest = ratio / np.add(*(part * unit for part, unit in zip(slow, (1, 1j), strict=True))) - 1
    return np.sqrt(np.mean(np.abs(rest[aligned.mask & (weight > 0.6)]) ** 2))


def test_tiles_agree_with_the_whole_canvas(scan, whole, by_tiles):
    mask, truth = whole.well_illuminated(0.3), scan.experiment.slices
    errors, by_tile_errors = (differences(recon.slices, truth, mask) for recon in (whole, by_tiles))
    assert (by_tile_errors < 1.25 * errors).all()
    assert (differences(by_tiles.slices, whole.slices, mask) < 0.75 * errors).all()
    pairs = (whole.slices, truth), (by_tiles.slices, whole.slices)
    errors, apart = (np.array([fine_difference(*pair, mask) for pair in zip(*both, strict=True)]) for both in pairs)
    assert (apart < 0.5 * errors).all()
    products = (whole.object, scan.truth), (by_tiles.object, whole.object)
    error, apart = (fine_difference(*pair, mask) for pair in products)
    assert apart < 0.5 * error
    assert by_tiles.origin_px == whole.origin_px
    np.testing.assert_allclose(by_tiles.positions_px, whole.positions_px, atol=1e-6)
    np.testing.assert_allclose(by_tiles.object, by_tiles.slices.prod(0), rtol=1e-4)
    assert by_tiles.metrics["amplitude_residual"] < 1.05 * whole.metrics["amplitude_residual"]
    assert by_tiles.provenance[SLICES] == whole.provenance[SLICES]
    assert pp.evaluate(by_tiles, scan).metrics["output_vs_truth_ratio"] == pytest.approx(1, abs=0.02)


def test_tiles_are_shown_as_they_are_solved(by_tiles, snapshots):
    shown = [one for one in snapshots if one.slices is not None]
    assert len(shown) == 1  # of two tiles; the second is the end
    lit = shown[0].illumination > 0
    assert 0.3 < lit.mean() < 0.7
    assert (shown[0].slices[:, ~lit] == 1).all()


def test_an_interrupted_run_goes_on(scan, by_tiles, tmp_path, monkeypatch):
    solved, solve_tile = [], stack_tiles._solve_tile

    def stop(job, inputs):
        if len(solved) == 2:  # the probe, and a tile
            raise KeyboardInterrupt
        solved.append(job.number)
        return solve_tile(job, inputs)

    monkeypatch.setattr(stack_tiles, "_solve_tile", stop)
    with pytest.raises(KeyboardInterrupt):
        solve(scan, tmp_path, **TILES)
    monkeypatch.setattr(
        stack_tiles, "_solve_tile", lambda job, inputs: (solved.append(job.number), solve_tile(job, inputs))[1]
    )
    resumed = solve(scan, tmp_path, **TILES)
    assert len(solved) == 3  # every tile is solved once, and one of them for the probe
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(resumed.slices, by_tiles.slices)


def test_a_pool_of_processes_gives_the_same(scan, by_tiles, tmp_path):
    pool = solve(scan, tmp_path, workers=2, **TILES)
    np.testing.assert_array_equal(pool.slices, by_tiles.slices)


def test_terms_with_numbers_of_every_frame_are_refused_by_name(scan):
    with pytest.raises(InputError, match="--flux: found solve, expected a scan that is not cut into tiles"):
        solve(scan, flux="solve", **TILES)


def test_terms_that_tiles_cannot_solve_for_are_on_record(scan, by_tiles, monkeypatch):
    assert "experiment" not in by_tiles.provenance  # which assumes an ideal experiment
    monkeypatch.setattr("ptypinn.solvers.unrolled.stack_tiles._Run.solve", lambda *_: by_tiles)
    config = pp.ReconstructConfig(slices=2, refine_probe=False, **TILES)
    choice, jobs = StackChoice(by_tiles.gap_fresnel_numbers, {}), JobsConfig(workers=0)
    _, recon = solve_stack_tiled(solve_stack, scan, None, choice, config, torch.device("cpu"), silent, jobs=jobs)
    assert recon.provenance["experiment"]["not_looked_for"] == ["flux", "positions", "beam"]


def test_too_little_memory_is_refused_before_anything_is_solved(scan):
    with pytest.raises(InputError, match=r"--memory-gib: found 0.1 GiB, expected at least 0\.\d+ GiB"):
        solve(scan, memory_gib=0.1)


def test_crystals_are_solved_in_tiles():
    scan = make_crystal_scan(steps=14)
    scan = scan.subset(np.flatnonzero(scan.positions_px[:, 0] < 4))
    options = {"slices": CRYSTAL_SLICES, "slice_spacing_m": SPACING_M}
    config = {"threads": 1, "device": "cpu", **options, "depth_variation": 0.0, "assume": "ideal"}
    whole, by_tiles = (
        pp.reconstruct(scan, config=pp.ReconstructConfig(**config, **tiling))
        for tiling in ({}, {"tile_px": 40, "halo_px": 16})
    )
    (y, x), (height, width) = np.subtract(by_tiles.origin_px, whole.origin_px), by_tiles.object.shape
    same = whole.slices[:, y : y + height, x : x + width]
    lit = by_tiles.illumination > 0.3 * by_tiles.illumination.max()
    apart = np.angle(by_tiles.slices * same.conj())[:, lit]
    assert apart.std(1).max() < 0.02 * np.angle(same[:, lit]).std()
    np.testing.assert_allclose(np.abs(by_tiles.slices[:, lit]), np.abs(same[:, lit]).mean(), rtol=1e-3)
    assert by_tiles.provenance[SLICES]["transmission"] == "phase"
