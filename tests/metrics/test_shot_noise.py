"""The shot-noise limit is a bound on the exact Fisher information, and the solver comes close to it."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import ptypinn as pp
from ptypinn.metrics.data_fit import shot_noise_limit


def fisher_matrix(probe, positions, truth):
    """Exact Fisher information of real and imaginary parts, (2 pixels, 2 pixels), by differentiating the amplitudes."""
    size, (height, width) = len(probe), truth.shape
    dft = np.fft.fft(np.eye(size), norm="ortho")
    rows = []
    for y, x in positions:
        field = np.einsum("ka,lb,ab->klab", dft, dft, probe)  # response of every detector pixel to every probe pixel
        response = np.zeros((size, size, height, width), complex)
        response[:, :, y : y + size, x : x + size] = field
        response = response.reshape(size**2, -1)
        wave = response @ truth.ravel()
        turned = response * (wave.conj() / np.abs(wave))[:, None]
        rows.append(np.concatenate([turned.real, -turned.imag], 1))
    slopes = np.concatenate(rows)
    return 4 * slopes.T @ slopes


@given(st.integers(0, 2**16), st.floats(1.0, 1e6))
def test_the_bound_lies_below_the_exact_one(seed, photons):
    draw = np.random.default_rng(seed)
    probe, truth = (draw.normal(size=(n, n)) + 1j * draw.normal(size=(n, n)) for n in (4, 6))
    probe *= np.sqrt(photons / (np.abs(probe) ** 2).sum())
    positions = [(y, x) for y in range(3) for x in range(3)]
    illumination = np.zeros(truth.shape)
    for y, x in positions:
        illumination[y : y + 4, x : x + 4] += np.abs(probe) ** 2
    information = fisher_matrix(probe, positions, truth)
    np.testing.assert_allclose(np.diag(information).reshape(2, -1).sum(0), 4 * illumination.ravel(), rtol=1e-9)
    _, vectors = np.linalg.eigh(information)
    ridge = 1e-12 * np.trace(information)  # a uniform phase changes no pattern: that one variance is infinite
    exact = np.diag(np.linalg.inv(information + ridge * np.eye(len(vectors)))).reshape(2, -1).sum(0)
    assert (exact > (1 - 1e-3) / illumination.ravel()).all()
    everywhere = np.ones(truth.shape, bool)
    assert np.sqrt(exact.sum()) / np.linalg.norm(truth) > shot_noise_limit(illumination, truth, everywhere) * (1 - 1e-3)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_more_photons_help_by_their_square_root_and_no_gauge_does(dose, gauge):
    illumination, truth = np.linspace(1.0, 9.0, 20).reshape(4, 5), np.full((4, 5), 2.0 + 1.0j)
    mask = illumination > 3
    limit = shot_noise_limit(illumination, truth, mask)
    assert shot_noise_limit(dose * illumination, truth, mask) == pytest.approx(limit / np.sqrt(dose))
    assert shot_noise_limit(illumination * gauge**2, truth / gauge, mask) == pytest.approx(limit)


def test_a_uniform_object_has_one_over_the_photons_of_a_pixel():
    illumination, truth = np.full((8, 8), 400.0), np.ones((8, 8), complex)
    assert shot_noise_limit(illumination, truth, np.ones((8, 8), bool)) == pytest.approx(1 / 20)


def test_pixels_without_illumination_have_no_limit():
    for illumination, mask in ((np.zeros((3, 3)), np.ones((3, 3), bool)), (np.ones((3, 3)), np.zeros((3, 3), bool))):
        with pytest.raises(ValueError, match="illuminated"):
            shot_noise_limit(illumination, np.ones((3, 3), complex), mask)


def test_the_solver_comes_close_to_the_limit_at_high_dose_and_not_below():
    config = pp.SimulateConfig(size=32, object_size=(64, 64), n_patterns=80, photons=1e6, amplitude_mean=2.7, seed=3)
    scan = pp.simulate(config)
    recon = pp.refine(scan, pp.RefineConfig(iterations=120, refine_probe=False, prior=False, threads=1))
    mask = recon.well_illuminated()
    limit = shot_noise_limit(recon.illumination, scan.truth, mask)
    error = pp.evaluate(recon, scan, config=pp.EvaluateConfig(compare_counts=False)).metrics["complex_error"]
    deviation = 1 / np.sqrt(4 * mask.sum())  # of the root of a mean square over so many complex pixels
    assert limit * (1 - 4 * deviation) < error < 1.25 * limit
