"""Laws of the losses, from one photon to a thousand million."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError
from ptypinn.losses import LIKELIHOODS, Likelihood, find_likelihood, realspace, total_variation
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train

NAMES = st.sampled_from(sorted(LIKELIHOODS))
PHOTONS = st.sampled_from([1.0, 1e2, 1e4, 1e6, 1e9])
SEEDS = st.integers(0, 2**16)
EVERYWHERE = torch.ones(16, 16, dtype=torch.bool)


def patterns(photons, seed, batch=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.rand((batch, 16, 16), generator=generator, dtype=torch.float64) ** 4
    expected = shape * (photons / shape.sum((1, 2), keepdim=True))
    return expected.to(dtype), torch.poisson(expected, generator=generator).to(dtype)


TEXTBOOK = {
    "amplitude": lambda expected, counts: ((expected + 0.375).sqrt() - (counts + 0.375).sqrt()).square(),
    "poisson": lambda expected, counts: (
        (expected - torch.xlogy(counts, expected)) - (counts - torch.xlogy(counts, counts))
    ),
}
"""Loss of a pixel, without regard to cancellation."""


def textbook(name, predicted, measured):
    """Return the loss of every pattern by its textbook formula."""
    return TEXTBOOK[name](predicted, measured).sum((1, 2)) / measured.sum((1, 2)).clamp(min=1.0)


@given(NAMES, PHOTONS, SEEDS)
def test_loss_is_zero_where_counts_agree_and_never_negative(name, photons, seed):
    predicted, measured = patterns(photons, seed)
    assert LIKELIHOODS[name].pattern_loss(measured, measured, EVERYWHERE).tolist() == [0, 0, 0]
    assert (LIKELIHOODS[name].pattern_loss(predicted, measured, EVERYWHERE) >= 0).all()
    assert (LIKELIHOODS[name].pattern_loss(measured * (1 + 1e-4), measured, EVERYWHERE) >= 0).all()


@given(NAMES, st.sampled_from([1e4, 1e6, 1e9]), SEEDS)
def test_float32_keeps_the_precision_of_the_textbook_formula_in_float64(name, photons, seed):
    predicted, measured = patterns(photons, seed)
    loss = LIKELIHOODS[name].pattern_loss(predicted, measured, EVERYWHERE).double()
    exact = textbook(name, predicted.double(), measured.double())
    # The floor of the Poisson loss moves it where single photons meet expectations near zero.
    torch.testing.assert_close(loss, exact, rtol=1e-2, atol=2 / photons)


@given(NAMES, PHOTONS, SEEDS)
def test_gradient_agrees_with_finite_differences(name, photons, seed):
    predicted, measured = patterns(photons, seed, batch=1, dtype=torch.float64)
    factors = torch.linspace(0.9, 1.15, 256, dtype=torch.float64).view(1, 16, 16).requires_grad_()

    def loss(factors):
        return LIKELIHOODS[name].pattern_loss(predicted.clamp(min=1e-3 * photons / 256) * factors, measured, EVERYWHERE)

    assert torch.autograd.gradcheck(loss, factors, atol=1e-7, rtol=1e-4, fast_mode=True)


@given(NAMES, SEEDS)
def test_masked_pixels_carry_no_information(name, seed):
    predicted, measured = patterns(1e4, seed)
    mask = torch.rand((16, 16), generator=torch.Generator().manual_seed(seed)) > 0.3
    clean = LIKELIHOODS[name].pattern_loss(predicted, measured, mask)
    measured = torch.where(mask, measured, torch.nan)
    predicted = torch.where(mask, predicted, 7.0).requires_grad_()
    dirty = LIKELIHOODS[name].pattern_loss(predicted, measured, mask)
    assert torch.equal(clean, dirty)
    (gradient,) = torch.autograd.grad(dirty.sum(), predicted)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, ~mask] == 0).all()


@given(NAMES, SEEDS)
def test_loss_pulls_a_wrong_flux_back(name, seed):
    _, measured = patterns(1e4, seed)
    factor = torch.tensor(1.5, requires_grad=True)
    (slope,) = torch.autograd.grad(
        LIKELIHOODS[name].pattern_loss(measured * factor, measured, EVERYWHERE).sum(), factor
    )
    assert slope > 0


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_dark_pattern_gives_a_finite_loss_and_gradient(name):
    predicted = torch.full((1, 16, 16), 1e-3, requires_grad=True)
    loss = LIKELIHOODS[name].pattern_loss(predicted, torch.zeros(1, 16, 16), EVERYWHERE)
    (gradient,) = torch.autograd.grad(loss.sum(), predicted)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()


@given(NAMES, st.floats(1.0, 1e10), st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e3]))
def test_bright_pixel_predicted_dark_gives_a_finite_loss_that_pulls_it_up(name, bright, dark):
    measured = torch.full((1, 16, 16), bright)
    predicted = torch.full((1, 16, 16), min(dark, 0.9 * bright), requires_grad=True)
    loss = LIKELIHOODS[name].pattern_loss(predicted, measured, EVERYWHERE)
    (gradient,) = torch.autograd.grad(loss.sum(), predicted)
    assert 0 < loss.item() < 20
    assert torch.isfinite(gradient).all()
    assert (gradient < 0).all()


@given(st.floats(1e3, 1e10), st.floats(1e-2, 1.0))
def test_poisson_loss_far_from_the_counts_is_the_textbook_formula(bright, fraction):
    measured = torch.full((1, 16, 16), bright)
    loss = LIKELIHOODS["poisson"].pattern_loss(measured * fraction, measured, EVERYWHERE)
    exact = textbook("poisson", (measured * fraction).double(), measured.double())
    torch.testing.assert_close(loss.double(), exact, rtol=1e-2, atol=1e-5)


def test_total_variation_measures_a_step_by_its_height_and_a_constant_as_nothing():
    step = torch.ones(1, 8, 8, dtype=torch.complex64)
    step[:, 4:] = 3
    weights = torch.ones(1, 8, 8)
    torch.testing.assert_close(total_variation(step, weights), torch.tensor([2 / 7]), rtol=1e-4, atol=1e-5)
    assert total_variation(torch.ones_like(step), weights).item() < 2e-5
    weights[:, 3:5] = 0
    assert total_variation(step, weights).item() < 2e-5


def test_real_space_error_ignores_a_global_phase_but_no_factor():
    truth = torch.randn(2, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(2, 8, 8)
    phase = torch.polar(torch.tensor(1.0), torch.tensor(0.7))
    assert realspace(truth * phase, truth, weights).amax() < 1e-10
    torch.testing.assert_close(realspace(truth * 1.5, truth, weights), torch.full((2,), 0.25))


class Counting(Likelihood):
    """Least squares in units of the counting noise: all that a new noise model has to define."""

    def residual(self, expected, counts):
        return (counts - expected) / counts.clamp(min=1.0)

    def loss(self, expected, residual):
        counts = torch.where(residual < 1, expected / (1 - residual), expected + residual)
        return residual.square() * counts.clamp(min=1.0) / 2


def test_new_likelihood_is_one_class_and_one_entry_for_solvers_and_training_alike(monkeypatch, tmp_path):
    monkeypatch.setitem(LIKELIHOODS, "counting", Counting())
    simulation = SimulateConfig(size=32, object_size=(64, 64), n_patterns=20, photons=1e6, probe="disk", seed=1)
    scan = simulate(simulation)
    refined = refine(scan, RefineConfig(loss="counting", iterations=5, refine_probe=False, device="cpu"))
    assert refined.metrics["flux_closure"] == pytest.approx(1, abs=0.01)
    config = TrainConfig(loss="counting", epochs=1, width=16, cluster_size=4, batch_size=2, device="cpu")
    assert train(scan, config, output_dir=tmp_path).is_file()


def test_unknown_likelihood_is_refused_with_the_names_of_those_that_there_are():
    with pytest.raises(InputError, match=f"--loss: found 'gauss', expected one of {', '.join(sorted(LIKELIHOODS))}"):
        find_likelihood("gauss")
