"""Laws of the likelihood and its hand-made gradient."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.pattern_batches import FrameTerms, PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.losses import LIKELIHOODS
from ptypinn.physics.detector import AxisBlur, point_spread
from ptypinn.physics.forward import ForwardModel
from ptypinn.physics.probe_variation import ProbeVariation
from ptypinn.physics.propagation import NearField, fresnel_kernel
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.utils.device import cpu_threads

CPU = torch.device("cpu")
SIZE, EXTENT, ORDER = 8, (14, 13), 2
NEAR = ForwardModel(NearField(fresnel_kernel(SIZE, 0.3).to(torch.complex128)))


@dataclasses.dataclass(frozen=True)
class Outside:
    """A propagator from outside the package: only what the seam asks of it."""

    inner: NearField

    def to(self, device):
        return self

    def propagate(self, waves, ramps=None):
        return self.inner.propagate(waves, ramps)

    def adjoint(self, fields, ramps=None, listener=None):
        return self.inner.adjoint(fields, ramps, listener)


def draw(shape, seed, dtype=torch.complex128):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_problem(seed, modes, shifted, term, held_out, unknown=(), blurred=False):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3.0, (5, SIZE, SIZE)).astype(np.uint16)
    mask = rng.random((SIZE, SIZE)) > 0.1
    positions = rng.integers(0, 5, (5, 2)).astype(float)
    scan = ScanData(counts, positions, mask=mask)
    stack = PatternBatches(scan, CPU, modes)
    shifts = torch.from_numpy(rng.uniform(-0.5, 0.5, (5, 2))) if shifted else None
    corners = torch.from_numpy(positions).long()[None]
    objective = Objective(
        stack,
        corners,
        LIKELIHOODS[term],
        draw((modes, SIZE, SIZE), seed),
        shifts,
        FrameTerms(blur=AxisBlur(point_spread(SIZE, 0.7))) if blurred else FrameTerms(),
        held_out=HeldOutPixels(stack.good, 4) if held_out else None,
    )
    terms = random_terms(seed + 6, unknown, modes)
    if "background" in terms:
        terms["background"] = 1 + terms["background"].abs()
    if "variation" in terms:
        given = ProbeVariation(terms["variation"], draw((5, ORDER), seed, torch.float64))
        objective = dataclasses.replace(objective, terms=dataclasses.replace(objective.terms, variation=given))
    return objective, Unknowns(draw(EXTENT, seed + 1), draw((modes, SIZE, SIZE), seed + 2), shifts, **terms)


def random_terms(seed, names, modes):
    shapes = {"log_flux": (5,), "background": (SIZE, SIZE), "beam_px": (5, 2), "variation": (ORDER, modes, SIZE, SIZE)}
    types = {"variation": torch.complex128}
    return {
        name: draw(shapes[name], seed + number, types.get(name, torch.float64)) for number, name in enumerate(names)
    }


of_any_kind = given(
    seed=st.integers(0, 999),
    modes=st.integers(1, 2),
    shifted=st.booleans(),
    term=st.sampled_from(["poisson", "amplitude"]),
    held_out=st.booleans(),
)


@pytest.mark.parametrize(
    "unknown",
    [(), ("log_flux",), ("background",), ("beam_px",), ("variation",), ("log_flux", "background", "beam_px")],
)
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("blurred", [False, True])
@of_any_kind
def test_gradient_predicts_the_change_of_the_loss_along_any_step(
    seed, modes, shifted, term, held_out, unknown, blurred, near
):
    objective, at = random_problem(seed, modes, shifted, term, held_out, unknown, blurred)
    if near:
        objective = dataclasses.replace(objective, terms=dataclasses.replace(objective.terms, model=NEAR))
    step = Unknowns(
        draw(EXTENT, seed + 3),
        draw((modes, SIZE, SIZE), seed + 4),
        draw((5, 2), seed + 5, torch.float64) if shifted else None,
        **random_terms(seed + 9, unknown, modes),
    )
    h = 1e-5
    slope = (objective(at.plus(step, h)).loss - objective(at.plus(step, -h)).loss) / (2 * h)
    assert 2 * objective(at).gradient.dot(step) == pytest.approx(float(slope), rel=1e-4, abs=1e-3)


@of_any_kind
def test_moves_of_the_detector_reach_the_positions_through_any_propagator(seed, modes, shifted, term, held_out):
    objective, at = random_problem(seed, modes, True, term, held_out)
    ours, theirs = (
        dataclasses.replace(objective, terms=FrameTerms(model=model))(at).gradient.shifts
        for model in (NEAR, ForwardModel(Outside(NEAR.propagator)))
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@of_any_kind
def test_the_gradient_of_a_probe_whose_variation_is_given_is_that_of_both_solved_for(
    seed, modes, shifted, term, held_out
):
    objective, at = random_problem(seed, modes, shifted, term, held_out, ("variation",))
    given = objective.terms.variation._replace(images=at.variation)
    terms = dataclasses.replace(objective.terms, variation=given)
    held = dataclasses.replace(objective, terms=terms)(dataclasses.replace(at, variation=None))
    both = objective(at)
    assert held.loss == pytest.approx(float(both.loss), rel=1e-9)
    assert torch.allclose(held.gradient.probe, both.gradient.probe)
    assert torch.allclose(held.gradient.object, both.gradient.object)


@pytest.mark.parametrize("name", ["flux", "background", "beam_px"])
@of_any_kind
def test_a_term_that_is_given_counts_as_one_that_is_solved_for(seed, modes, shifted, term, held_out, name):
    unknown = "log_flux" if name == "flux" else name
    objective, at = random_problem(seed, modes, shifted, term, held_out, (unknown,))
    value = getattr(at, unknown)
    given = dataclasses.replace(objective, terms=FrameTerms(**{name: value.exp() if name == "flux" else value}))
    without = dataclasses.replace(at, **{unknown: None})
    assert given(without).loss == pytest.approx(float(objective(at).loss), rel=1e-9)
    assert torch.allclose(given(without).gradient.object, objective(at).gradient.object)


def both(term, expected, counts):
    residual = term.residual(expected, counts)
    return residual, term.loss(expected, residual)


@pytest.mark.parametrize("term", ["poisson", "amplitude"])
@given(seed=st.integers(0, 999))
def test_residual_is_minus_the_derivative_of_the_term(term, seed):
    rng = np.random.default_rng(seed)
    expected = torch.from_numpy(rng.exponential(5.0, (2, 8, 8))).requires_grad_(True)
    counts = torch.from_numpy(rng.poisson(expected.detach().numpy()).astype(float))
    residual, loss = both(LIKELIHOODS[term], expected, counts)
    (slope,) = torch.autograd.grad(loss.sum(), expected)
    torch.testing.assert_close(residual, -slope)
    assert (loss >= 0).all()


@pytest.mark.parametrize("term", ["poisson", "amplitude"])
def test_term_resolves_counting_noise_at_a_billion_photons_in_float32(term):
    expected = torch.full((1, 8, 8), 1e9)
    counts = expected + 3 * expected.sqrt()
    _, loss = both(LIKELIHOODS[term], expected, counts)
    torch.testing.assert_close(loss, torch.full_like(loss, 4.5), rtol=0.02, atol=0)


def blocks_of(value):
    """Return the blocks that a gradient has."""
    return [block for block in value.gradient.blocks if block is not None]


@of_any_kind
def test_loss_and_gradient_are_the_same_alone_as_together(seed, modes, shifted, term, held_out):
    objective, at = random_problem(seed, modes, shifted, term, held_out)
    together, gradient = objective(at), objective(at, loss=False)
    assert objective.loss(at) == together.loss
    assert (gradient.loss, gradient.held_out_loss) == (0, 0)
    for ours, theirs in zip(blocks_of(gradient), blocks_of(together), strict=True):
        assert torch.equal(ours, theirs)


@given(seed=st.integers(0, 99), held_out=st.booleans())
def test_bad_pixels_carry_no_information(seed, held_out):
    objective, at = random_problem(seed, 1, False, "poisson", held_out)
    scan = objective.stack.scan
    altered = scan.replace(counts=np.where(scan.good, scan.counts, 60000).astype(np.uint16))
    same = dataclasses.replace(objective, stack=PatternBatches(altered, CPU))
    ours, theirs = objective(at), same(at)
    assert ours.loss == theirs.loss
    assert ours.held_out_loss == theirs.held_out_loss
    assert torch.equal(ours.gradient.object, theirs.gradient.object)


def test_held_out_pixels_carry_no_information_and_have_a_loss_of_their_own():
    objective, at = random_problem(3, 1, False, "poisson", True)
    scan = objective.stack.scan
    held = np.fft.fftshift(held_out_images(objective.held_out, 5), axes=(1, 2))
    counts = scan.counts + (held * 50).astype(np.uint16)
    altered = dataclasses.replace(objective, stack=PatternBatches(scan.replace(counts=counts), CPU))
    ours, theirs = objective(at), altered(at)
    assert torch.equal(ours.gradient.object, theirs.gradient.object)
    assert ours.loss == theirs.loss
    assert ours.held_out_loss != theirs.held_out_loss


def held_out_images(held_out, number, first=0):
    """Images (number, 8, 8) of 1 where a good pixel is held out."""
    pixels, weights = held_out.select(slice(first, first + number))
    return torch.zeros(number, SIZE**2).scatter_add_(1, pixels, weights).view(number, SIZE, SIZE).numpy()


@given(seed=st.integers(0, 99), period=st.integers(2, 20))
def test_every_good_pixel_is_held_out_once_in_a_period(seed, period):
    good = torch.rand((8, 8), generator=torch.Generator().manual_seed(seed)) > 0.2
    held = held_out_images(HeldOutPixels(good, period), period, first=seed)
    assert np.array_equal(held.sum(0), good)
    assert held.sum((1, 2)).max() <= -(-64 // period) + 8


def test_loss_and_gradient_do_not_depend_on_how_patterns_are_batched_or_kept():
    objective, at = random_problem(1, 2, True, "poisson", True)
    scan = objective.stack.scan
    streamed = PatternBatches(scan, CPU, budget_bytes=0)
    streamed.batch_size = 2
    ours, theirs = objective(at), dataclasses.replace(objective, stack=streamed)(at)
    assert ours.loss == pytest.approx(float(theirs.loss))
    for a, b in zip(blocks_of(ours), blocks_of(theirs), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("term", ["poisson", "amplitude"])
@given(expected=st.floats(0, 1e12), counts=st.sampled_from([0.0, 1.0, 1e9]))
def test_term_is_finite_whatever_is_expected_and_counted_in_float32(term, expected, counts):
    residual, loss = both(LIKELIHOODS[term], torch.full((1, 8, 8), expected), torch.full((1, 8, 8), counts))
    assert torch.isfinite(loss).all()
    assert torch.isfinite(residual).all()
    assert (loss >= 0).all()


@pytest.mark.parametrize("unknown", [(), ("variation", "background", "beam_px")])
@of_any_kind
def test_loss_and_gradient_do_not_depend_on_the_order_in_memory(seed, modes, shifted, term, held_out, unknown):
    objective, at = random_problem(seed, modes, shifted, term, held_out, unknown)
    turned = dataclasses.replace(at, **{name: swap_in_memory(getattr(at, name)) for name in vars(at)})
    assert not turned.probe.is_contiguous()
    ours, theirs = objective(at), objective(turned)
    assert ours.loss == pytest.approx(float(theirs.loss))
    for a, b in zip(blocks_of(ours), blocks_of(theirs), strict=True):
        torch.testing.assert_close(a, b)


def swap_in_memory(block):
    """The same values, with the last two axes stored in the other order."""
    if block is None or block.ndim < 2:
        return block
    return block.transpose(-1, -2).contiguous().transpose(-1, -2)


def test_loss_and_gradient_do_not_depend_on_the_number_of_threads():
    objective, at = random_problem(1, 2, True, "poisson", True)
    objective.stack._stored = [
        (slice(j, j + 1), counts[j - part.start, None])
        for part, counts in objective.stack
        for j in range(part.start, part.stop)
    ]
    one = objective(at)
    with cpu_threads(2):
        two, again = objective(at), objective(at)
        assert torch.get_num_threads() == 2
    assert two.loss == pytest.approx(float(one.loss))
    assert two.held_out_loss == pytest.approx(float(one.held_out_loss))
    for a, b, c in zip(*map(blocks_of, (one, two, again)), strict=True):
        torch.testing.assert_close(a, b)
        assert torch.equal(b, c)
