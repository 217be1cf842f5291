"""Laws of the prior of the object and its estimate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.metrics.spectrum import compute_ring_spectrum
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.prior import MIN_VARIANCE, ObjectPrior, RegularisedObjective, estimate_prior
from ptypinn.solvers.quasi_newton.unknowns import Unknowns

EXTENT = (48, 56)


def draw(seed, extent=EXTENT):
    return torch.randn(extent, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def textured(seed, decay=2.0, level=1.0):
    """Return an object whose components have a known power, beside a level."""
    frequency = np.hypot(*np.ix_(np.fft.fftfreq(EXTENT[0]), np.fft.fftfreq(EXTENT[1]))) * min(EXTENT)
    power = 1.0 / np.maximum(frequency, 1.0) ** decay
    white = torch.fft.fft2(draw(seed), norm="ortho")
    return level + torch.fft.ifft2(white * torch.from_numpy(np.sqrt(power)), norm="ortho"), power


@given(seed=st.integers(0, 999))
def test_gradient_predicts_the_change_along_any_step(seed):
    precision = draw(seed).real.abs()
    prior = ObjectPrior(
        (precision + precision.roll((1, 1), (0, 1)).flip(0, 1)) / 2, torch.tensor([[0.7 + 0.1j]]), np.ones(3)
    )
    at, step = draw(seed + 1), draw(seed + 2)
    slope = (prior.evaluate(at + 1e-5 * step)[0] - prior.evaluate(at - 1e-5 * step)[0]) / 2e-5
    inner = torch.vdot(prior.evaluate(at)[1].flatten(), step.flatten()).real
    assert 2 * float(inner) == pytest.approx(float(slope), rel=1e-5)


def test_a_regularised_objective_is_the_sum_of_both():
    prior = ObjectPrior(torch.ones(EXTENT, dtype=torch.float64), torch.tensor([[1.0 + 0j]]), np.ones(3))
    target, at = draw(0), draw(1)

    def data(point):
        error = point.object - target
        return ObjectiveValue(float(error.abs().square().sum()), 3.0, Unknowns(error))

    value = RegularisedObjective(data, prior)(Unknowns(at))
    assert value.loss == pytest.approx(float(((at - target).abs().square() + (at - 1).abs().square()).sum()))
    torch.testing.assert_close(value.gradient.object, (at - target) + (at - 1))
    assert value.held_out_loss == 3.0


@given(seed=st.integers(0, 99))
def test_the_spectrum_of_a_noiseless_object_comes_out(seed):
    canvas, power = textured(seed)
    bright = torch.full(EXTENT, 1e6)
    prior = estimate_prior(canvas.to(torch.complex64), bright, None)
    ratio = np.log(1 / (prior.precision.numpy() * power))
    middle = power < power.max() / 30  # the window mixes the slowest components
    assert abs(np.median(ratio[middle])) < 0.3
    assert prior.mean == pytest.approx(1.0, abs=0.5)


@given(seed=st.integers(0, 99), photons=st.sampled_from([30.0, 300.0, 3000.0]))
def test_expectation_maximisation_leads_from_a_noisy_estimate_to_the_spectrum(seed, photons):
    canvas, power = textured(seed)
    noisy = canvas + draw(seed + 100) / photons**0.5
    illumination = torch.full(EXTENT, photons)
    prior, shrunk = None, noisy
    for _ in range(6):
        prior = estimate_prior(shrunk.to(torch.complex64), illumination, prior)
        gain = photons / (photons + prior.precision.double())
        shrunk = prior.mean + torch.fft.ifft2(torch.fft.fft2(noisy - prior.mean) * gain)
    error = float((shrunk - canvas).abs().square().mean())
    ideal = float(np.mean(1 / (photons + 1 / power)))
    assert error < 1.35 * ideal
    assert error < float((noisy - canvas).abs().square().mean())


def test_without_light_there_is_no_prior_and_variances_have_a_floor():
    canvas = torch.ones(EXTENT, dtype=torch.complex64)
    assert estimate_prior(canvas, torch.zeros(EXTENT), None) is None
    flat = estimate_prior(canvas, torch.full(EXTENT, 100.0), None)
    noise = compute_ring_spectrum(canvas.numpy(), np.full(EXTENT, 100.0, np.float32)).noise
    assert flat.variance.min() >= MIN_VARIANCE * noise
    assert torch.isfinite(flat.precision).all()
