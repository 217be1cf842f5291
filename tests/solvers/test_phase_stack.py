"""Thick samples of atoms: thickness, focus and phases of the slices are found from the counts alone."""

import numpy as np
import pytest

import crystal_scans
import ptypinn as pp
from crystal_scans import (
    FOCUS_M,
    PIXEL_M,
    SLICES,
    SPACING_M,
    WAVELENGTH_M,
    draw_columns,
    make_crystal_scan,
)
from ptypinn.data.aberrations import fit_aberrations
from ptypinn.data.calibration import mean_photons
from ptypinn.data.depth import SLICES as RECORD
from ptypinn.data.depth import describe_slices
from ptypinn.errors import InputError
from ptypinn.metrics.alignment import align
from ptypinn.solvers import iterative_terms, phase_stack, thickness_search, tilt_search
from ptypinn.solvers.short_solves import Effort

TILT_MRAD = 10.0, -6.0
OPTIONS = {"threads": 1, "device": "cpu", "positions": "recorded", "probe_modes": 1}
GIVEN = {**OPTIONS, "slices": SLICES, "slice_spacing_m": SPACING_M}
IDEAL = {**GIVEN, "assume": "ideal", "refine_probe": False, "probe_modes": None}


def phase_errors(recon):
    """Root mean square errors of the phases of the slices over the true one's, after a ramp and a shift."""
    lit = recon.well_illuminated(0.5)
    true = len(recon.slices) / SLICES  # thinner slices have smaller phases
    phase = draw_columns(recon.object.shape, recon.origin_px) / true
    reference, errors = np.exp(1j * phase).astype(np.complex64), []
    for image in recon.slices:
        aligned = align(image, reference, lit, ramp=True, shift=True)
        errors.append(np.angle(aligned.image * reference.conj())[aligned.mask].std() / phase[aligned.mask].std())
    return np.array(errors)


def defocus_m(recon):
    return fit_aberrations(recon.probe[0], PIXEL_M, WAVELENGTH_M).terms["C10"].size_m


@pytest.fixture(scope="module", autouse=True)
def few_patterns():
    """Searches on fewer patterns than those of users."""
    with pytest.MonkeyPatch.context() as patch:
        for search in (thickness_search, tilt_search):
            patch.setattr(search, "WIDE", Effort(16, 10))
            patch.setattr(search, "FINE", Effort(49, 16))
        patch.setattr(thickness_search, "FIRST_THICKNESSES", (5.0,))
        yield


@pytest.fixture(scope="module")
def bare():
    """A reconstruction from counts, positions, pixel and energy alone."""
    options = {**OPTIONS, "slices": "auto", "depth_variation": 0.0, "flux": "constant", "background": "none"}
    return pp.reconstruct(make_crystal_scan(focus_m=None, steps=9), config=pp.ReconstructConfig(**options))


@pytest.fixture(scope="module")
def far():
    """A reconstruction from a probe that is 8 nm out of focus."""
    return pp.reconstruct(make_crystal_scan(focus_m=FOCUS_M + 8e-9, steps=9), config=pp.ReconstructConfig(**GIVEN))


def test_thickness_and_focus_are_found(bare):
    record = bare.provenance[RECORD]
    thickness = sum(record["spacing_m"]) + record["spacing_m"][0]
    spread = record["spacing_uncertainty_m"] * record["number"]
    assert record["chosen"]
    assert abs(thickness - SLICES * SPACING_M) < min(2 * spread, 0.15 * SLICES * SPACING_M)
    assert defocus_m(bare) == pytest.approx(FOCUS_M, abs=0.6e-9)


def test_a_probe_out_of_focus_is_moved_and_phases_are_exact(far):
    assert defocus_m(far) == pytest.approx(FOCUS_M, abs=0.3e-9)
    assert phase_errors(far).max() < 0.1
    assert far.metrics["amplitude_residual"] < 1.03 * far.metrics["expected_residual"]


@pytest.fixture(scope="module")
def tilted():
    """A reconstruction of a tilted sample, whose tilt nobody gives."""
    return pp.reconstruct(make_crystal_scan(tilt_mrad=TILT_MRAD, steps=9), config=pp.ReconstructConfig(**GIVEN))


def test_a_tilt_is_found_within_its_uncertainty(tilted):
    record = tilted.provenance[RECORD]
    error = record["tilt_uncertainty_mrad"]
    assert error < 2
    np.testing.assert_allclose(record["tilt_mrad"], TILT_MRAD, atol=2 * error)
    assert tilted.metrics["amplitude_residual"] < 1.05 * tilted.metrics["expected_residual"]
    assert phase_errors(tilted).max() < 0.15


def test_a_sample_along_the_beam_is_said_to_have_no_tilt(far, tilted):
    assert far.sample_tilt is None
    assert "tilt_mrad" not in far.provenance[RECORD]
    assert "tilted by" in describe_slices(tilted.provenance[RECORD])


def test_a_tilt_that_predicts_held_out_pixels_no_better_is_left_out(monkeypatch):
    """Short solves of slices that differ may prefer one."""
    tilt = np.sin([8e-3, 0.0]) * PIXEL_M / WAVELENGTH_M
    monkeypatch.setattr(phase_stack, "find_tilt", lambda scan, *_: (scan.replace(sample_tilt=tilt), 1e-3))
    still = {"depth_variation": 0.0, "flux": "constant", "background": "none", "beam": "still"}
    options = {**GIVEN, **still, "refine_probe": False, "probe_modes": None}
    recon = pp.reconstruct(make_crystal_scan(steps=7), config=pp.ReconstructConfig(**options))
    assert recon.sample_tilt is None
    assert "tilt_mrad" not in recon.provenance[RECORD]


def test_a_given_tilt_is_kept_to():
    scan = make_crystal_scan(tilt_mrad=TILT_MRAD, steps=6)
    fits = []
    for tilt in (TILT_MRAD, (0.0, 0.0)):
        recon = pp.reconstruct(scan, config=pp.ReconstructConfig(**IDEAL, sample_tilt_mrad=tilt, depth_variation=0.0))
        np.testing.assert_allclose(recon.provenance[RECORD]["tilt_mrad"], tilt, atol=1e-9)
        fits.append(recon.metrics["amplitude_residual"])
    assert fits[0] < 0.9 * fits[1]


def test_slices_are_of_phase_alone_and_take_up_the_electrons_that_miss_the_detector(far):
    moduli = np.abs(far.slices)
    assert np.ptp(moduli[:, far.illumination > 0]) < 1e-3
    assert 0.9 < moduli.mean() <= 1.001
    np.testing.assert_allclose(far.object, far.slices.prod(0), rtol=1e-4)


@pytest.fixture
def short_solves(monkeypatch):
    """Few iterations, where it does not matter how well slices are solved for."""
    for name in ("HELD_ITERATIONS", "EQUAL_ITERATIONS", "CHANGE_ITERATIONS", "LAST_ITERATIONS"):
        monkeypatch.setattr(phase_stack, name, 5)


@pytest.mark.usefixtures("short_solves")
def test_an_ideal_experiment_keeps_its_focus():
    scan = make_crystal_scan(focus_m=FOCUS_M + 8e-9, steps=6)
    kept = pp.reconstruct(scan, config=pp.ReconstructConfig(**IDEAL))
    np.testing.assert_allclose(np.abs(np.vdot(kept.probe, scan.probe)), np.vdot(scan.probe, scan.probe).real, rtol=1e-4)


@pytest.mark.usefixtures("short_solves")
@pytest.mark.parametrize("variation", [0.0, 0.1])
def test_a_given_change_along_depth_is_kept_to(variation):
    config = pp.ReconstructConfig(**IDEAL, depth_variation=variation)
    recon = pp.reconstruct(make_crystal_scan(steps=6), config=config)
    assert recon.provenance[RECORD]["depth_variation"] == variation
    differ = np.abs(recon.slices - recon.slices[:1]).max()
    assert differ < 1e-4 if variation == 0 else differ > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth_variation": -1.0, "slices": 2}, "--depth-variation: found -1.0, expected auto, or at least 0"),
        ({"depth_variation": 0.1}, "--depth-variation: found 0.1, expected --slices as well"),
        ({"slice_transmission": "phase"}, "--slice-transmission: found phase, expected --slices as well"),
        ({"sample_tilt_mrad": (1.0, 2.0)}, "--sample-tilt-mrad: found .*, expected --slices as well"),
        ({"slices": 2, "sample_tilt_mrad": [1.0]}, "expected auto, or two numbers within 200"),
        ({"slices": 2, "sample_tilt_mrad": (1.0, float("nan"))}, "expected auto, or two numbers within 200"),
        (
            {"slices": 2, "slice_transmission": "complex", "depth_variation": 0.1},
            "--depth-variation: found 0.1, expected --slice-transmission phase as well",
        ),
    ],
)
def test_options_that_nothing_reads_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        pp.ReconstructConfig(**options)


@pytest.mark.parametrize("options", [{"rounds": 4}, {"polish": 3}, {"point_spread": "solve"}])
def test_options_of_the_network_are_refused(options):
    with pytest.raises(InputError, match="expected"):
        pp.reconstruct(make_crystal_scan(steps=3), config=pp.ReconstructConfig(**{**GIVEN, **options}))


def test_a_thin_sample_stays_one_slice(monkeypatch):
    """The thickness search compares with a thin sample, by held-out pixels."""
    monkeypatch.setattr(crystal_scans, "SLICES", 2)
    monkeypatch.setattr(crystal_scans, "SPACING_M", 1e-13)
    monkeypatch.setattr(crystal_scans, "PEAKS", (0.1, 0.05))
    scan = make_crystal_scan(steps=8)
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(**OPTIONS, slices="auto", assume="ideal"))
    assert recon.slices is None
    assert recon.provenance[RECORD] == {"number": 1, "chosen": True}


def test_the_electrons_per_pattern_are_those_of_the_beam_whatever_is_masked_or_added():
    scan = make_crystal_scan(steps=6)
    good = np.ones((scan.size, scan.size), bool)
    good[:, 13:19] = False
    dark = np.full((scan.size, scan.size), 2.0, np.float32)
    brighter = scan.replace(counts=(scan.counts[:] + 2).astype(np.uint16), background=dark)
    assert mean_photons(scan.replace(mask=good)) == pytest.approx(mean_photons(scan), rel=0.03)
    assert mean_photons(brighter) == pytest.approx(mean_photons(scan), rel=1e-6)


@pytest.mark.usefixtures("short_solves")
def test_changes_along_depth_of_complex_slices_are_refused_and_tiny_ones_are_none():
    scan = make_crystal_scan(steps=3)
    photons = scan.replace(particle="photon")
    with pytest.raises(InputError, match="--depth-variation: found 0"):
        pp.reconstruct(photons, config=pp.ReconstructConfig(**GIVEN, depth_variation=0.1))
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(**IDEAL, depth_variation=1e-200))
    assert np.abs(recon.slices - recon.slices[:1]).max() < 1e-4


def test_a_flux_with_a_slope_is_found_as_slices_of_phase_alone_have_no_amplitude(monkeypatch):
    monkeypatch.setattr(iterative_terms, "FLUX_ITERATIONS", 90)
    scan = make_crystal_scan(steps=7)
    places = scan.positions_px[:, 0]
    flux = np.exp(0.5 * (places - places.mean()) / np.ptp(places))
    flux /= flux.mean()
    means = np.asarray(scan.counts[:], float) * flux[:, None, None]
    bright = scan.replace(counts=np.random.default_rng(5).poisson(means).astype(np.uint16))
    recon = pp.reconstruct(
        bright, config=pp.ReconstructConfig(**{**GIVEN, "assume": "ideal", "flux": "solve", "depth_variation": 0.0})
    )
    assert np.std(np.log(recon.flux / flux)) < 0.03


def test_refine_goes_on_with_complex_slices_and_says_no_more_that_they_are_of_phase_alone(far):
    scan = make_crystal_scan(focus_m=FOCUS_M + 8e-9, steps=9)
    refined = pp.refine(scan, pp.RefineConfig(iterations=2, threads=1, device="cpu"), initial=far)
    assert set(refined.provenance[RECORD]) & {"transmission", "depth_variation", "depth_deviance"} == set()
    assert refined.slices.shape == far.slices.shape
