"""Laws of drawn faults: their sizes, means and limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.physics.experiment_draws import (
    broad_background,
    draw_bad_frames,
    draw_cosmic_rays,
    draw_flux,
    draw_hot_pixels,
    position_matrix,
    scale_excursion,
    scan_path,
    smooth_curve,
    transform_positions,
)

seeds = st.integers(0, 2**31)


def generator(seed=0):
    return np.random.default_rng(seed)


@given(angle=st.floats(-180, 180), scale=st.floats(0.5, 2), shear=st.floats(-1, 1))
def test_a_turn_keeps_distances_and_scales_multiply_them(angle, scale, shear):
    turn = position_matrix(rotation_deg=angle)
    torch.testing.assert_close(turn @ turn.T, torch.eye(2, dtype=torch.float64))
    whole = position_matrix(scale, 1.25, angle, shear)
    assert float(torch.linalg.det(whole)) == pytest.approx(1.25 * scale)
    torch.testing.assert_close(turn.T @ whole, torch.tensor([[scale, 0.0], [shear, 1.25]], dtype=torch.float64))


@given(seed=seeds)
def test_a_matrix_keeps_the_middle_of_the_scan_and_its_inverse_undoes_it(seed):
    positions = torch.from_numpy(generator(seed).uniform(-50, 50, (20, 2)))
    matrix = position_matrix(1.04, 0.98, 7.0, 0.03)
    moved = transform_positions(positions, matrix)
    torch.testing.assert_close(moved.mean(0), positions.mean(0))
    torch.testing.assert_close(transform_positions(moved, matrix.inverse()), positions)


@given(seed=seeds, number=st.integers(2, 300), size=st.floats(0.1, 50))
def test_a_drift_has_its_size_and_mean_zero(seed, number, size):
    curve = scale_excursion(smooth_curve(number, 2, generator(seed)), size)
    assert float((curve - curve[0]).norm(dim=1).max()) == pytest.approx(size)
    torch.testing.assert_close(curve.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-9 * size, rtol=0)


@given(seed=seeds)
def test_a_drift_is_smooth(seed):
    curve = scale_excursion(smooth_curve(400, 2, generator(seed)), 10.0)
    assert float(curve.diff(dim=0).norm(dim=1).max()) < 0.5


def test_a_curve_of_one_frame_does_not_move():
    assert not scale_excursion(smooth_curve(1, 2, generator()), 5.0).any()


@given(seed=seeds, spread=st.floats(0, 0.25), drift=st.floats(0, 0.25))
def test_flux_has_mean_one_and_the_spread_of_its_parts(seed, spread, drift):
    flux = draw_flux(2000, spread, drift, generator(seed))
    assert float(flux.mean()) == pytest.approx(1) and float(flux.min()) > 0
    assert float(flux.std()) == pytest.approx(math.hypot(spread, drift, spread * drift), rel=0.15, abs=1e-9)


@given(seed=seeds, length=st.floats(0.5, 8))
def test_the_beam_moves_along_the_rows_and_not_back_to_their_start(seed, length):
    y, x = np.divmod(np.arange(60), 10)
    positions = torch.from_numpy(np.stack([y, x], 1) * 7.0 + generator(seed).uniform(-0.5, 0.5, (60, 2)))
    path = scan_path(positions, length)
    torch.testing.assert_close(path.norm(dim=1), torch.full((60,), length, dtype=torch.float64))
    assert (path[:, 1] > 0.9 * length).all()


def test_a_scan_of_one_frame_still_moves():
    assert scan_path(torch.zeros(1, 2), 3.0).tolist() == [[0.0, 3.0]]


@given(seed=seeds, size=st.sampled_from([16, 64, 128]), photons=st.floats(1, 1e6))
def test_a_background_is_positive_smooth_and_holds_its_photons(seed, size, photons):
    image = broad_background(size, photons, generator(seed))
    assert float(image.sum()) == pytest.approx(photons)
    assert float(image.min()) > 0
    assert float(image.diff(dim=0).abs().max()) < 0.3 * float(image.max()) * 16 / size


@given(seed=seeds, number=st.integers(0, 40))
@settings(max_examples=20)
def test_bright_pixels_are_distinct_and_on_the_detector(seed, number):
    pixels, rates = draw_hot_pixels(16, number, 900.0, generator(seed))
    assert len(pixels) == number == len({tuple(pixel) for pixel in pixels.tolist()})
    assert number == 0 or (int(pixels.min()) >= 0 and int(pixels.max()) < 16 and float(rates.min()) >= 5)


@given(seed=seeds, number=st.integers(0, 40))
@settings(max_examples=20)
def test_cosmic_rays_stay_in_the_scan(seed, number):
    hits, charges = draw_cosmic_rays(30, 16, number, 900.0, generator(seed))
    assert number <= len(hits) <= 4 * number and len(charges) == len(hits)
    assert number == 0 or (int(hits.min()) >= 0 and (hits.amax(0) < torch.tensor([30, 16, 16])).all())
    assert number == 0 or float(charges.min()) > 0


@given(seed=seeds, frames=st.integers(1, 200), empty=st.floats(0, 0.9), repeated=st.floats(0, 0.9))
def test_bad_frames_are_distinct_and_none_repeats_an_empty_one(seed, frames, empty, repeated):
    dark, copies = (set(index.tolist()) for index in draw_bad_frames(frames, empty, repeated, generator(seed)))
    assert not dark & copies and not {copy - 1 for copy in copies} & dark
    assert dark | copies <= set(range(1, frames))
    if frames > 2 and empty > 0:
        assert len(dark) == min(max(round(empty * frames), 1), frames - 1)
