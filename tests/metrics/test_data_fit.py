"""Residual and closure: plain formula, noise-free truth, counting statistics, memory in batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics import amplitude_variance, compute_data_fit, expected_amplitude_residual
from ptypinn.metrics.data_fit import compute_flux_factor
from ptypinn.stages.simulate import simulate

SIZE = 16


def noise_free_scan(seed, modes=2, patterns=7, dead=3, integer=False):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)  # noqa: E731
    truth, probe = draw(30, 34), 3 * draw(modes, SIZE, SIZE)
    positions = rng.uniform(0, 13, (patterns, 2))
    positions = positions.round() if integer else positions
    counts = naive_counts(truth, probe, positions)
    mask = np.ones((SIZE, SIZE), bool)
    mask[rng.integers(0, SIZE, dead), rng.integers(0, SIZE, dead)] = False
    return ScanData(counts, positions, probe, mask=mask, truth=truth, probe_gauge="calibrated")


def naive_counts(object_, probe, positions):
    q = np.fft.fftfreq(SIZE)
    counts = np.zeros((len(positions), SIZE, SIZE))
    for j, position in enumerate(positions):
        y, x = np.round(position).astype(int)
        ramp = np.exp(-2j * np.pi * (q[:, None] * (position[0] - y) + q * (position[1] - x)))
        for mode in probe.astype(complex):
            wave = np.fft.ifft2(np.fft.fft2(mode) * ramp) * object_[y : y + SIZE, x : x + SIZE]
            counts[j] += np.fft.fftshift(np.abs(np.fft.fft2(wave) / SIZE) ** 2)
    return counts


@given(seed=st.integers(0, 2**16), batch=st.integers(1, 9), integer=st.booleans())
def test_the_truth_of_a_noise_free_scan_fits_perfectly(seed, batch, integer):
    scan = noise_free_scan(seed, integer=integer)
    fit = compute_data_fit(scan, scan.truth, scan.probe, scan.positions_px, batch=batch)
    assert fit.flux_closure == pytest.approx(1, abs=1e-5)
    assert fit.amplitude_residual < 1e-9
    np.testing.assert_allclose(fit.per_pattern_closure, 1, atol=1e-5)


@given(seed=st.integers(0, 2**16), batch=st.integers(1, 9))
def test_residual_and_closure_match_the_formula_written_out(seed, batch):
    scan = noise_free_scan(seed)
    wrong = (scan.truth * 1.3 + 0.2j).astype(np.complex64)
    fit = compute_data_fit(scan, wrong, scan.probe, scan.positions_px, batch=batch)
    predicted = naive_counts(wrong, scan.probe, scan.positions_px)[:, scan.good]
    measured = scan.counts[:, scan.good]
    squared = (np.sqrt(measured) - np.sqrt(predicted)) ** 2
    assert fit.amplitude_residual == pytest.approx(squared.sum() / measured.sum(), rel=1e-4)
    assert fit.flux_closure == pytest.approx(predicted.sum() / measured.sum(), rel=1e-5)
    np.testing.assert_allclose(fit.per_pattern_residual, squared.sum(1) / measured.sum(1), rtol=1e-3)


def test_closure_follows_the_square_of_a_lost_amplitude():
    scan = noise_free_scan(1)
    fit = compute_data_fit(scan, 0.5 * scan.truth, scan.probe, scan.positions_px)
    assert fit.flux_closure == pytest.approx(0.25, rel=1e-5)
    assert fit.amplitude_residual == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("photons", [1e3, 1e5, 1e7])
def test_the_truth_leaves_the_residual_of_counting_statistics(photons):
    scan = simulate(SimulateConfig(photons=photons, object_size=(128, 128), n_patterns=60))
    fit = compute_data_fit(scan, scan.truth, scan.probe, scan.positions_px)
    assert fit.amplitude_residual == pytest.approx(fit.expected_residual, rel=0.03)
    assert fit.flux_closure == pytest.approx(1, abs=5 / np.sqrt(60 * photons))


def test_huge_counts_lose_no_precision():
    scan = noise_free_scan(2)
    dose = 1e9 / scan.counts.sum((1, 2)).mean()
    bright = ScanData(
        scan.counts * dose, scan.positions_px, (scan.probe * np.sqrt(dose)).astype(np.complex64), mask=scan.mask
    )
    fit = compute_data_fit(bright, scan.truth, bright.probe, scan.positions_px)
    assert fit.flux_closure == pytest.approx(1, abs=1e-5)
    assert fit.amplitude_residual < 1e-9


@pytest.mark.parametrize("mean", [0.0, 1e-4, 0.03, 0.7, 1.0, 3.3, 12.0, 63.9, 64.1, 200.0])
def test_amplitude_variance_is_the_poisson_expectation(mean):
    counts = np.arange(2000)
    exact = np.sum(poisson.pmf(counts, mean) * (np.sqrt(counts) - np.sqrt(mean)) ** 2)
    assert float(amplitude_variance(torch.tensor(mean))) == pytest.approx(exact, rel=2e-4, abs=1e-9)
    assert float(amplitude_variance(torch.tensor(mean, dtype=torch.float64))) == pytest.approx(
        exact, rel=2e-4, abs=1e-9
    )


def test_expected_residual_matches_monte_carlo_on_the_good_pixels():
    rng = np.random.default_rng(0)
    mean = rng.gamma(0.4, 5.0, (20, 24, 24))
    counts = rng.poisson(mean, (30, *mean.shape))
    mask = rng.random((24, 24)) < 0.8
    measured = np.sum((np.sqrt(counts) - np.sqrt(mean))[..., mask] ** 2) / counts[..., mask].sum()
    assert expected_amplitude_residual(torch.from_numpy(mean), torch.from_numpy(mask)) == pytest.approx(
        measured, rel=0.01
    )


def test_what_cannot_be_compared_is_refused_in_a_sentence():
    scan = noise_free_scan(3)
    with pytest.raises(InputError, match="one position per pattern"):
        compute_data_fit(scan, scan.truth, scan.probe, scan.positions_px[:-1])
    with pytest.raises(InputError, match="inside its object"):
        compute_data_fit(scan, scan.truth, scan.probe, scan.positions_px + 20)
    with pytest.raises(InputError, match="equal sizes"):
        compute_data_fit(scan, scan.truth, scan.probe[:, :8, :8], scan.positions_px)
    dark = scan.replace(counts=np.zeros_like(scan.counts))
    with pytest.raises(InputError, match="no photon"):
        compute_data_fit(dark, scan.truth, scan.probe, scan.positions_px)


def test_flux_factor_maximises_the_poisson_likelihood():
    measured = torch.tensor([3.0, 0.0, 7.0], dtype=torch.float64)
    predicted = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    best = compute_flux_factor(float(measured.sum()), float(predicted.sum()))

    def minus_log_likelihood(factor):
        return float((factor * predicted - torch.xlogy(measured, factor * predicted)).sum())

    assert all(minus_log_likelihood(best) < minus_log_likelihood(best * other) for other in (0.99, 1.01))
