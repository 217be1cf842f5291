"""Laws of the freedoms of flux and beam: no count changes, and flat objects tell."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.forward import FAR_FIELD, beam_gradient, beam_ramp
from ptypinn.physics.slow_freedoms import (
    curved_phase,
    fit_amplitude_slope,
    fit_curvature,
    held_motions,
    is_slow,
    linear_motions,
)

SIZE, EXTENT = 16, (40, 36)
CENTRE = (19.0, 17.0)


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def corners_and_centres(seed):
    corners = torch.from_numpy(np.random.default_rng(seed).integers(0, 20, (1, 7, 2)))
    return corners, corners[0].double() + SIZE // 2 - torch.tensor(CENTRE)


@given(seed=st.integers(0, 999), entries=st.tuples(*[st.floats(-0.2, 0.2)] * 3))
def test_a_curved_object_with_a_curved_probe_counts_as_a_moving_beam(seed, entries):
    yy, xx, yx = entries
    matrix = torch.tensor([[yy, yx], [yx, xx]], dtype=torch.float64)
    corners, centres = corners_and_centres(seed)
    canvas, probe = draw((1, *EXTENT), seed), draw((2, SIZE, SIZE), seed + 1)
    moved = FAR_FIELD.predict_scan(canvas, probe, corners, beam_px=centres @ matrix)
    bent = canvas * curved_phase(matrix, EXTENT, CENTRE, SIZE)
    straight = probe * curved_phase(-matrix, (SIZE, SIZE), (SIZE / 2, SIZE / 2), SIZE)
    torch.testing.assert_close(FAR_FIELD.predict_scan(bent, straight, corners), moved)


@given(seed=st.integers(0, 999), slope=st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)))
def test_an_object_that_fades_with_a_probe_that_does_counts_as_flux_that_follows_the_position(seed, slope):
    corners, centres = corners_and_centres(seed)
    canvas, probe, slope = draw((1, *EXTENT), seed), draw((1, SIZE, SIZE), seed + 1), torch.tensor(slope).double()

    def fading(shape, centre):
        y, x = (torch.arange(n).double() - c for n, c in zip(shape, centre, strict=True))
        return torch.exp(slope[0] * y[:, None] + slope[1] * x)

    counts = FAR_FIELD.predict_scan(canvas, probe, corners) * torch.exp(2 * centres @ slope)[:, None, None]
    other = probe / fading((SIZE, SIZE), (SIZE // 2, SIZE // 2))
    torch.testing.assert_close(FAR_FIELD.predict_scan(canvas * fading(EXTENT, CENTRE), other, corners), counts)


@given(seed=st.integers(0, 999))
def test_gradient_of_the_beam_predicts_the_change_along_any_move(seed):
    patches, wanted = draw((3, SIZE, SIZE), seed), draw((3, SIZE, SIZE), seed + 1)
    at, move = draw((3, 2), seed + 2).real, draw((3, 2), seed + 3).real

    def loss(beam_px):
        return (patches * beam_ramp(beam_px, SIZE) - wanted).abs().square().sum()

    tilted = patches * beam_ramp(at, SIZE)
    slope = (loss(at + 1e-5 * move) - loss(at - 1e-5 * move)) / 2e-5
    assert float(-2 * (beam_gradient(tilted, wanted - tilted) * move).sum()) == pytest.approx(float(slope), rel=1e-5)


def flat_regions(seed):
    rng = np.random.default_rng(seed)
    levels = np.kron(rng.uniform(0.5, 1.0, (4, 4)), np.ones((16, 16)))
    return torch.from_numpy(levels * np.exp(1j * np.kron(rng.uniform(-1, 1, (4, 4)), np.ones((16, 16)))))


@given(seed=st.integers(0, 99), entries=st.tuples(*[st.floats(-0.05, 0.05)] * 3))
def test_curvature_of_an_object_of_flat_regions_comes_out(seed, entries):
    yy, xx, yx = entries
    matrix = torch.tensor([[yy, yx], [yx, xx]], dtype=torch.float64)
    canvas = flat_regions(seed) * curved_phase(matrix, (64, 64), (30.0, 33.0), SIZE)
    fit = fit_curvature(canvas, torch.ones(64, 64, dtype=torch.bool), torch.ones(3, dtype=torch.bool), SIZE)
    torch.testing.assert_close(fit, matrix, atol=0.01, rtol=0)


@given(seed=st.integers(0, 99), slope=st.floats(-0.02, 0.02))
def test_only_free_slopes_of_the_amplitude_are_fitted(seed, slope):
    canvas = flat_regions(seed) * torch.exp(slope * torch.arange(64).double())[:, None]
    mask = torch.ones(64, 64, dtype=torch.bool)
    fit = fit_amplitude_slope(canvas, mask, torch.tensor([True, False]))
    assert float(fit[0]) == pytest.approx(slope, abs=5e-4)
    assert float(fit[1]) == 0
    assert not fit_curvature(canvas, mask, torch.zeros(3, dtype=torch.bool), SIZE).any()


def raster(rows, columns):
    y, x = np.indices((rows, columns)).astype(float)
    return torch.from_numpy(np.stack([y.ravel(), x.ravel()], 1))


def test_along_a_raster_only_motion_with_the_slow_axis_is_slow():
    assert is_slow(linear_motions(raster(20, 20))).tolist() == [True, False, False]


def test_held_motions_are_the_means_and_what_curvatures_do_beside_slow_motion():
    held = held_motions(raster(20, 20))
    torch.testing.assert_close(held.T @ held, torch.eye(5).double())
    means = torch.eye(2).double().repeat(400, 1)
    torch.testing.assert_close(held @ (held.T @ means), means)
    bent = torch.stack([torch.zeros(400).double(), torch.linspace(-1, 1, 400).double() ** 2], 1).reshape(-1)
    bent -= held[:, :2] @ (held[:, :2].T @ bent)
    assert float((held.T @ bent).norm()) < 0.05 * float(bent.norm())  # slow motion stays free
