"""The uncertainty map: what it is made of, what it does where nothing shines, and whether it is calibrated."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import align, compute_data_fit
from ptypinn.metrics.spectrum import SEGMENT_PX, _segments
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate
from ptypinn.uncertainty import estimate_uncertainty
from ptypinn.uncertainty.error_map import good_pixel_fraction, resolved_fraction

SMALL = SimulateConfig(
    object_size=(56, 60), size=24, probe="disk", probe_diameter_px=9.0, curvature_rad=3.0, overlap=0.6
)


def reconstruction_of(scan, object_=None):
    illumination = np.zeros(scan.truth.shape, np.float32)
    for y, x in np.round(scan.positions_px).astype(int):
        illumination[y : y + scan.size, x : x + scan.size] += (np.abs(scan.probe) ** 2).sum(0)
    object_ = scan.truth if object_ is None else object_
    return Reconstruction(object_.astype(np.complex64), illumination, scan.probe, scan.positions_px)


def sigma_of(scan, recon):
    return estimate_uncertainty(
        recon, scan, compute_data_fit(scan, recon.object, recon.probe, recon.positions_px)
    ).sigma


@pytest.mark.parametrize(
    ("kind", "photons", "known_probe"),
    [
        ("natural", 1e3, False),
        ("lines", 1e4, True),
        ("dead_leaves", 1e5, True),
        ("natural", 1e6, False),
        ("dead_leaves", 1e7, True),
    ],
)
def test_errors_are_as_large_as_in_the_map(kind, photons, known_probe):
    config = dataclasses.replace(SMALL, object=kind, photons=photons, seed=31)
    scan = simulate(config)
    given_scan = scan
    if not known_probe:
        guess = simulate(dataclasses.replace(config, probe_diameter_px=10.5, curvature_rad=2.6)).probe
        given_scan = scan.replace(probe=guess, probe_gauge="calibrated")
    recon = refine(given_scan, RefineConfig(refine_probe=not known_probe, threads=1, device="cpu"))
    illuminated = recon.well_illuminated()
    aligned = align(recon.object, scan.truth, illuminated, ramp=not known_probe, shift=not known_probe)
    error, sigma = np.abs(aligned.image - scan.truth)[aligned.mask], recon.uncertainty[aligned.mask]
    assert 0.7 <= np.sqrt(np.mean((error / sigma) ** 2)) <= 1.4
    assert 0.5 <= np.mean(error < sigma) <= 0.9
    assert np.mean(error < 2 * sigma) >= 0.88
    if photons > 1e3:  # with fewer, the prior leaves as much everywhere
        assert np.corrcoef(error, sigma)[0, 1] > 0.1


def test_twice_the_dose_halves_the_variance_and_none_leaves_the_amplitude():
    sigmas = []
    for photons in (1e6, 4e6):
        scan = simulate(dataclasses.replace(SMALL, object="dead_leaves", photons=photons))
        recon = reconstruction_of(scan)
        sigmas.append(sigma_of(scan, recon))
        dark = recon.illumination == 0
        rms = np.sqrt(np.mean(np.abs(recon.object[~dark]) ** 2))
        np.testing.assert_allclose(sigmas[-1][dark], rms, rtol=1e-5)
        assert sigmas[-1].max() <= rms * 1.00001
    illuminated = recon.well_illuminated()
    assert np.median(sigmas[0][illuminated] / sigmas[1][illuminated]) == pytest.approx(2, rel=0.15)


def test_misfit_in_one_place_raises_the_uncertainty_there():
    scan = simulate(dataclasses.replace(SMALL, object="dead_leaves", object_size=(104, 112), photons=1e5))
    recon = reconstruction_of(scan)
    wrong = recon.object.copy()
    wrong[20:30, 20:30] *= np.exp(1j)
    sigma, spoiled = sigma_of(scan, recon), sigma_of(scan, reconstruction_of(scan, wrong))
    assert (spoiled[20:30, 20:30] > 2 * sigma[20:30, 20:30]).all()
    assert spoiled[-30:-20, -30:-20].mean() == pytest.approx(sigma[-30:-20, -30:-20].mean(), rel=0.1)


@given(seed=st.integers(0, 2**16), share=st.floats(0.05, 0.9))
def test_the_share_of_components_above_the_noise_is_the_share_that_was_put_there(seed, share):
    """White structure in a disk of Fourier space, far above the noise, fills that disk and nothing else."""
    rng = np.random.default_rng(seed)
    shape, light = (96, 104), np.full((96, 104), 1e4, np.float32)
    frequency = np.hypot(*np.ix_(*(np.fft.fftfreq(n) for n in shape)))
    inside = frequency <= np.quantile(frequency, share)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * inside)
    result = resolved_fraction((1 + field).astype(np.complex64), light)
    assert result == pytest.approx(share, abs=0.1)


@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_tiles_cover_the_canvas(height, width):
    snapshots = np.zeros((height, width), bool)
    for part in _segments((height, width)):
        assert snapshots[part].shape == (min(SEGMENT_PX, height), min(SEGMENT_PX, width))
        snapshots[part] = True
    assert snapshots.all()


def test_photons_on_masked_pixels_do_not_count():
    scan = simulate(dataclasses.replace(SMALL, object="dead_leaves", photons=1e7))
    mask = np.ones((scan.size, scan.size), bool)
    mask[: scan.size // 2] = False
    recon = reconstruction_of(scan)
    illuminated, half = recon.well_illuminated(), scan.replace(mask=mask)
    fits = [compute_data_fit(some, recon.object, recon.probe, recon.positions_px) for some in (scan, half)]
    assert good_pixel_fraction(scan, fits[0]) == pytest.approx(1)
    assert good_pixel_fraction(half, fits[1]) == pytest.approx(0.5, abs=0.1)
    assert sigma_of(half, recon)[illuminated].mean() > 1.2 * sigma_of(scan, recon)[illuminated].mean()
