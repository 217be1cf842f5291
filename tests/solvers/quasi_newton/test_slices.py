"""Laws of solves of thick samples: the gradient, and the steps that take slices for what they share."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.pattern_batches import FrameTerms, PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.losses import LIKELIHOODS
from ptypinn.physics.forward import FAR_FIELD, ForwardModel, apply_filter
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.probes import ZonePlate, zone_plate_probe
from ptypinn.physics.propagation import FarField, free_space, measure_coherence
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner, Smoothness
from ptypinn.solvers.quasi_newton.slice_steps import SliceSteps
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, rescale_pair

CPU = torch.device("cpu")
SIZE, EXTENT, SLICES = 8, (14, 13), 3
NUMBERS = (0.4, 0.6)
THICK = ForwardModel(FarField(), torch.stack([free_space(SIZE, n) for n in NUMBERS]).to(torch.complex128))


def draw(shape, seed, dtype=torch.complex128):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(seed=st.integers(0, 999), modes=st.integers(1, 2), shifted=st.booleans(), beam=st.booleans(), flux=st.booleans())
def test_gradient_predicts_the_change_of_the_loss_along_any_step(seed, modes, shifted, beam, flux):
    rng = np.random.default_rng(seed)
    positions = rng.integers(0, 5, (5, 2)).astype(float)
    scan = ScanData(rng.poisson(3.0, (5, SIZE, SIZE)).astype(np.uint16), positions)
    corners, terms = torch.from_numpy(positions).long()[None], FrameTerms(model=THICK)
    probe = draw((modes, SIZE, SIZE), seed)
    objective = Objective(PatternBatches(scan, CPU, modes), corners, LIKELIHOODS["poisson"], probe, terms=terms)

    def point(number):
        return Unknowns(
            draw((SLICES, *EXTENT), seed + number),
            draw((modes, SIZE, SIZE), seed + number + 1),
            draw((5, 2), seed + number + 2, torch.float64) / 4 if shifted else None,
            draw((5,), seed + number + 3, torch.float64) if flux else None,
            beam_px=draw((5, 2), seed + number + 4, torch.float64) if beam else None,
        )

    at, step, h = point(1), point(11), 1e-5
    slope = (objective(at.plus(step, h)).loss - objective(at.plus(step, -h)).loss) / (2 * h)
    assert 2 * objective(at).gradient.dot(step) == pytest.approx(float(slope), rel=1e-4, abs=1e-3)


@given(seed=st.integers(0, 99), y=st.floats(-0.5, 0.5), x=st.floats(-0.5, 0.5), modes=st.integers(1, 2))
def test_coherence_is_that_of_a_beam_of_gaussian_angles(seed, y, x, modes):
    """The change that a ripple in one slice makes behind the sample, times that of the same ripple in another."""
    size, depth, width = 48, 3.0, 5.0
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    beam = torch.exp(-(axis[:, None] ** 2 + axis**2) / width**2).to(torch.complex128)
    turn = torch.exp(2j * torch.pi * (0.05 * axis[:, None] - 0.02 * axis))
    probe = torch.fft.ifftshift(beam * turn).expand(modes, size, size)
    ky, kx, tilt = round(10 * y) / size, round(10 * x) / size, (0.04 * x, 0.05 * y)
    ripple = torch.exp(2j * torch.pi * (ky * axis[:, None] + kx * axis))
    space = free_space(size, 1 / depth, (-depth * tilt[0], -depth * tilt[1])).to(torch.complex128)
    first = apply_filter((probe * ripple)[None], space)
    second = apply_filter(probe[None], space) * ripple
    expected = torch.vdot(first.reshape(-1), second.reshape(-1)) / torch.vdot(probe.reshape(-1), probe.reshape(-1))
    frequencies = (torch.tensor([[ky]], dtype=torch.float64), torch.tensor([kx], dtype=torch.float64))
    coherence = measure_coherence(probe, torch.tensor([0.0, depth], dtype=torch.float64), *frequencies, tilt)
    torch.testing.assert_close(coherence[:, :, 0, 0].diagonal().real, torch.ones(2, dtype=torch.float64))
    assert abs(abs(complex(coherence[0, 1, 0, 0])) - abs(complex(expected))) < 1e-3
    torch.testing.assert_close(coherence[0, 1, 0, 0], expected, rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 99), shifted=st.booleans())
def test_the_preconditioner_of_slices_is_symmetric_and_positive(seed, shifted):
    corners = torch.tensor([[[0, 0], [5, 3], [2, 4], [6, 5]]])
    probe = zone_plate_probe(SIZE, ZonePlate(defocus_waves=0.5), 1e4).to(torch.complex64)
    gaps = 1 / torch.tensor(NUMBERS, dtype=torch.float64)
    preconditioner = Preconditioner(corners, EXTENT, Smoothness(0.5, 2.0, 0.02), SIZE, gaps=gaps)

    def point(number):
        shifts = draw((4, 2), number + 1, torch.float32) if shifted else None
        return Unknowns(draw((SLICES, *EXTENT), number, torch.complex64), probe, shifts)

    at, one, other = point(seed), point(seed + 5), point(seed + 9)
    preconditioner.refresh(at, probe)
    left, right = one.dot(preconditioner(other, at)), other.dot(preconditioner(one, at))
    assert left == pytest.approx(float(right), rel=2e-3, abs=2e-3 * abs(float(one.dot(preconditioner(one, at)))))
    assert one.dot(preconditioner(one, at)) > 0


@given(seed=st.integers(0, 99), factor=st.floats(0.2, 5), slices=st.integers(1, 4))
def test_scaling_the_probe_to_its_power_predicts_the_same_counts(seed, factor, slices):
    model = ForwardModel(FarField(), THICK.gaps[:1].expand(slices - 1, -1, -1) if slices > 1 else None)
    stack = draw((slices, *EXTENT) if slices > 1 else EXTENT, seed)
    before = Unknowns(stack, draw((2, SIZE, SIZE), seed + 1))
    after = rescale_pair(before, factor * float(probe_photons(before.probe)))
    assert float(probe_photons(after.probe)) == pytest.approx(factor * float(probe_photons(before.probe)), rel=1e-5)
    corners = torch.tensor([[[0, 0], [5, 3]]])
    counts = [model.predict_scan(p.object.view(-1, *EXTENT), p.probe, corners) for p in (before, after)]
    torch.testing.assert_close(counts[1], counts[0], rtol=1e-4, atol=1e-4)


def test_inverses_are_those_of_the_whole_in_parts(monkeypatch):
    probe, gaps = zone_plate_probe(SIZE, ZonePlate(), 1e4), 1 / torch.tensor(NUMBERS, dtype=torch.float64)
    whole, parts = (SliceSteps(gaps, (20, 18), (24, 26)) for _ in range(2))
    whole.refresh(probe)
    monkeypatch.setattr("ptypinn.solvers.quasi_newton.slice_steps.CHUNK", 1)
    parts.refresh(probe)
    waves, phases = draw((SLICES, 20, 18), 0, torch.complex64), draw((SLICES, 24, 14), 1, torch.complex64)
    torch.testing.assert_close(parts.mix_waves(waves), whole.mix_waves(waves))
    torch.testing.assert_close(parts.mix_phases(phases), whole.mix_phases(phases))


def test_a_stack_that_is_flat_but_for_one_slice_has_the_loss_of_a_thin_object():
    rng = np.random.default_rng(0)
    positions = np.array([[0.0, 0.0], [5.0, 3.0]])
    scan = ScanData(rng.poisson(3.0, (2, SIZE, SIZE)).astype(np.uint16), positions)
    corners, probe = torch.from_numpy(positions).long()[None], draw((1, SIZE, SIZE), 1)
    thin, slices = draw(EXTENT, 2), torch.ones((SLICES, *EXTENT), dtype=torch.complex128)
    slices[0] = thin
    objective = Objective(
        PatternBatches(scan, CPU), corners, LIKELIHOODS["poisson"], probe, terms=FrameTerms(model=THICK)
    )
    flat = dataclasses.replace(objective, terms=FrameTerms(model=FAR_FIELD))
    assert objective.loss(Unknowns(slices)) == pytest.approx(flat.loss(Unknowns(thin)), rel=1e-6)
