"""Laws of a probe that varies over the frames."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.patches import shift_probe
from ptypinn.physics.probe_variation import (
    ProbeVariation,
    VariationAdjoint,
    VaryingProbe,
    measure_change,
    slow_weights,
    split_shifts,
    vary_probe,
)

SIZE, FRAMES = 8, 6


def draw(shape, seed, dtype=torch.complex128):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_probe(seed, modes, order):
    images = 0.3 * draw((order, modes, SIZE, SIZE), seed + 1)
    return draw((modes, SIZE, SIZE), seed), ProbeVariation(images, draw((FRAMES, order), seed + 2, torch.float64))


of_any_kind = given(seed=st.integers(0, 999), modes=st.integers(1, 3), order=st.integers(1, 3))


@of_any_kind
def test_every_frame_has_the_photons_of_the_mean_probe(seed, modes, order):
    probe, variation = random_probe(seed, modes, order)
    photons = vary_probe(probe, variation).abs().square().sum((1, 2, 3))
    assert torch.allclose(photons, probe.abs().square().sum().expand(FRAMES))


@of_any_kind
def test_without_weight_the_probe_is_its_mean(seed, modes, order):
    probe, variation = random_probe(seed, modes, order)
    still = variation._replace(weights=torch.zeros_like(variation.weights))
    assert torch.allclose(vary_probe(probe, still), probe.expand(FRAMES, -1, -1, -1))


@of_any_kind
def test_the_adjoint_is_that_of_the_derivative(seed, modes, order):
    probe, variation = random_probe(seed, modes, order)
    waves = draw((FRAMES, modes, SIZE, SIZE), seed + 3)
    leaves = [image.clone().requires_grad_(True) for image in (probe, variation.images)]
    varied = vary_probe(leaves[0], variation._replace(images=leaves[1]))
    expected = torch.autograd.grad((varied * waves.conj()).real.sum(), leaves)
    adjoint, other = (VariationAdjoint(VaryingProbe.of(probe, variation)) for _ in range(2))
    for sums, part in ((adjoint, slice(0, 2)), (other, slice(2, 5)), (adjoint, slice(5, None))):
        sums.add(waves[part], part)
    adjoint.merge(other)
    for actual, true in zip(adjoint.evaluate(), expected, strict=True):
        assert torch.allclose(actual, true)


@given(frames=st.integers(2, 60), order=st.integers(1, 5))
def test_slow_weights_are_orthogonal_of_mean_square_one(frames, order):
    weights = slow_weights(frames, order)
    assert weights.shape == (frames, min(order, frames - 1))
    assert torch.allclose(weights.T @ weights / frames, torch.eye(weights.shape[1]).double(), atol=1e-6)
    assert weights.mean(0).abs().max() < 1e-6


@given(seed=st.integers(0, 999))
def test_small_shifts_come_out_of_the_images(seed):
    spectrum = draw((1, SIZE, SIZE), seed)
    spectrum[:, SIZE // 2] = spectrum[:, :, SIZE // 2] = 0  # the highest frequency has no direction
    probe, shift = torch.fft.ifft2(spectrum), 0.01 * draw((1, 2), seed + 1, torch.float64)
    weights = slow_weights(FRAMES, 1)
    images = (shift_probe(probe, shift) - shift_probe(probe, -shift)) / 2
    shifts, rest = split_shifts(probe, ProbeVariation(images, weights))
    assert torch.allclose(shifts, weights * shift, rtol=2e-2, atol=1e-5)
    assert rest.images.abs().max() < 2e-2 * images.abs().max()
    assert rest.weights is weights


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_have_few_weights(frames):
    assert slow_weights(frames, 4).shape == (frames, frames - 1)


@of_any_kind
def test_phases_of_frames_are_no_change_of_the_probe(seed, modes, order):
    probes = vary_probe(*random_probe(seed, modes, order))
    phases = torch.polar(torch.ones(FRAMES, 1, 1, 1).double(), draw((FRAMES, 1, 1, 1), seed + 4, torch.float64))
    change = measure_change(probes, torch.eye(FRAMES))
    assert measure_change(probes * phases, torch.eye(FRAMES)) == pytest.approx(change, abs=1e-9)
    assert measure_change(probes[:1] * phases, torch.eye(FRAMES)) == pytest.approx(0, abs=1e-9)


@of_any_kind
def test_the_change_is_the_same_from_images_and_from_frames(seed, modes, order):
    probe, variation = random_probe(seed, modes, order)
    images, shares = torch.cat([probe[None], variation.images]), VaryingProbe.of(probe, variation).shares
    change = measure_change(vary_probe(probe, variation), torch.eye(FRAMES))
    assert measure_change(images, shares) == pytest.approx(change, rel=1e-6)
    assert 0 < change < 1
