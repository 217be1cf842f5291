"""Terms of the experiment are found in near fields and in thick samples too, by the unknowns of the far field."""

import numpy as np
import pytest
import torch

import ptypinn as pp
from crystal_scans import SLICES, SPACING_M, make_crystal_scan
from near_field_scans import FOCUS_M, make_near_field_scan
from ptypinn.data.depth import compute_gaps
from ptypinn.errors import InputError
from ptypinn.physics.forward import forward_model
from ptypinn.physics.patches import split_positions
from ptypinn.physics.probe_variation import ProbeVariation, slow_weights
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers import iterative_terms, multislice, near_field

OPTIONS = {"threads": 1, "device": "cpu"}
LAYERS = {"object": "dead_leaves", "phase_range": (0.0, 0.8), "amplitude_range": (1.0, 0.85), "slices": 2}
LIGHT = {"probe": "disk", "probe_diameter_px": 14.0, "curvature_rad": 6.0, "photons": 1e6}
SCAN = {"size": 32, "object_size": (76, 76), "n_patterns": 144, "seed": 2}


@pytest.fixture(scope="module", autouse=True)
def few_iterations():
    """Fewer iterations than those of users, after which sizes of terms are within these limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterative_terms, "FLUX_ITERATIONS", 90)
        patch.setattr(multislice, "LAST_ITERATIONS", 30)
        yield


@pytest.fixture(scope="module")
def ideal():
    """A scan of two layers."""
    return pp.simulate(pp.SimulateConfig(**LAYERS, **LIGHT, **SCAN))


def expect(scan, probe=None, **terms):
    """Mean counts of a scan of layers with terms of its experiment."""
    gaps = compute_gaps(scan, scan.experiment.slice_spacing_m.tolist())
    corners, fractions = split_positions(torch.from_numpy(scan.positions_px))
    model, slices = forward_model(scan.size, None, gaps.tolist()), torch.from_numpy(scan.experiment.slices)
    probe = torch.from_numpy(scan.probe if probe is None else probe)
    return to_centred(model.predict_scan(slices, probe, corners, fractions.float(), **terms)).numpy()


def count(scan, means, seed=4):
    """The scan with other counts."""
    return scan.replace(counts=np.random.default_rng(seed).poisson(means).astype(np.uint32), truth=None)


def solve(scan, thick, **options):
    spacing = float(thick.experiment.slice_spacing_m[0])
    config = pp.ReconstructConfig(**OPTIONS, slices=2, slice_spacing_m=spacing, **options)
    return pp.reconstruct(scan, config=config)


def draw_flux(patterns, seed=1):
    flux = np.exp(np.random.default_rng(seed).normal(0, 0.15, patterns))
    return flux / flux.mean()


def residual(recon):
    return recon.metrics["amplitude_residual"] / recon.metrics["expected_residual"]


def test_an_ideal_thick_scan_gets_no_term(ideal):
    recon = solve(count(ideal, expect(ideal)), ideal)
    record = recon.provenance.get("experiment", {})
    assert not any(finding.get("corrected") for finding in record.values() if isinstance(finding, dict))
    assert recon.flux is recon.background is recon.probe_variation is None


def test_the_flux_of_frames_is_found_behind_a_thick_sample(ideal):
    flux = draw_flux(ideal.n_patterns)
    recon = solve(count(ideal, expect(ideal) * flux[:, None, None]), ideal)
    assert recon.has_solved("flux")
    assert np.std(np.log(recon.flux / flux)) < 0.02  # a slope over the scan is anybody's guess
    assert residual(recon) < 1.03


def test_a_frame_without_counts_tilts_no_flux(ideal):
    means = expect(ideal)
    means[5] = 0
    recon = solve(count(ideal, means), ideal, flux="solve", assume="ideal")
    good = np.abs(np.arange(len(means)) - 5) > 1  # neighbours alone have much of what the dark frame would have shown
    logarithms, places = np.log(recon.flux[good]), ideal.positions_px[good]
    tilt = (places - places.mean(0)) @ np.linalg.lstsq(places - places.mean(0), logarithms, rcond=None)[0]
    assert np.std(tilt) < 0.002
    assert np.std(logarithms) < 0.02


def test_a_probe_that_varies_over_one_pattern_is_refused(ideal):
    with pytest.raises(InputError, match="--probe-variation: found a scan of 1 pattern, expected 2 patterns or more"):
        solve(ideal.subset(np.array([0])), ideal, probe_variation="solve", assume="ideal")


def test_a_background_is_found_behind_a_thick_sample_and_its_photons_are_not_those_of_the_probe(ideal):
    y, x = np.indices((ideal.size, ideal.size)) - ideal.size / 2
    image = np.exp(-(y**2 + x**2) / (2 * (ideal.size / 5) ** 2))
    means = expect(ideal)
    image *= 0.08 * means.sum((1, 2)).mean() / image.sum()
    scan = count(ideal, means + image)
    recon = solve(scan.replace(probe_gauge="relative"), ideal)
    assert recon.has_solved("background")
    assert 0.5 * image.sum() < recon.background.sum() < 1.2 * image.sum()
    total = float(np.square(np.abs(recon.probe)).sum())
    assert total == pytest.approx(scan.counts[:].sum() / scan.n_patterns - recon.background.sum(), rel=0.01)
    assert residual(recon) < 1.03


def test_a_beam_that_moves_is_found_behind_a_thick_sample(ideal):
    time = np.linspace(0, 2 * np.pi, ideal.n_patterns)
    path = np.stack([np.sin(3 * time), np.cos(2 * time)], 1)
    means = expect(ideal, beam_px=torch.from_numpy(path).float())
    recon = solve(count(ideal, means), ideal, positions="recorded")
    assert recon.has_solved("beam")
    moves = recon.beam_px - recon.beam_px.mean(0)
    assert recon.provenance["experiment"]["beam"]["size"] == pytest.approx(np.sqrt(np.mean(moves**2)), rel=0.05)
    assert np.corrcoef(moves[:, 0], path[:, 0])[0, 1] > 0.95
    assert residual(recon) < 1.1


def test_a_probe_that_varies_is_found_in_front_of_a_thick_sample(ideal):
    weights = slow_weights(ideal.n_patterns, 4)[:, -1:]
    probe = torch.from_numpy(ideal.probe)
    axis = torch.arange(ideal.size) - ideal.size // 2
    curved = probe * torch.exp(0.02j * (axis[:, None] ** 2 + axis**2))
    images = (curved - probe)[None] / 2
    means = expect(ideal, variation=ProbeVariation(images.to(torch.complex64), weights.float()))
    recon = solve(count(ideal, means), ideal, positions="recorded", probe_variation="solve", assume="ideal")
    finding = recon.provenance["experiment"]["probe_variation"]
    assert finding["misfit_before"] > 2
    assert finding["misfit_after"] - 1 < 0.1 * (finding["misfit_before"] - 1)
    assert recon.probe_variation.shape[1:] == recon.probe.shape
    assert residual(recon) < 1.15


def test_the_flux_of_frames_is_found_in_the_near_field(monkeypatch):
    monkeypatch.setattr(near_field, "SLOW_ITERATIONS", 20)
    made = make_near_field_scan(photons=1e6, patterns=60, noisy=False)
    flux = draw_flux(made.scan.n_patterns)
    scan = count(made.scan, made.scan.counts[:] * flux[:, None, None])
    scan = scan.replace(provenance={**scan.provenance, "options": {"focus_distance_m": FOCUS_M}})
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(**OPTIONS))
    assert recon.has_solved("flux")
    design = np.column_stack([np.ones(len(flux)), made.positions_px])
    errors = np.log(recon.flux / flux)
    assert np.std(errors - design @ np.linalg.lstsq(design, errors, rcond=None)[0]) < 0.01
    assert residual(recon) < 1.05


def test_the_flux_of_frames_is_found_behind_a_crystal():
    scan = make_crystal_scan(steps=7)
    flux = draw_flux(scan.n_patterns)
    means = np.asarray(scan.counts[:], float) * flux[:, None, None]
    stack = {"slices": SLICES, "slice_spacing_m": SPACING_M, "depth_variation": 0.0}
    options = {**stack, "positions": "recorded", "probe_modes": 1}
    config = pp.ReconstructConfig(**OPTIONS, **options, assume="ideal", flux="solve")
    recon = pp.reconstruct(count(scan, means), config=config)
    assert recon.has_solved("flux")
    assert np.std(np.log(recon.flux / flux)) < 0.05
