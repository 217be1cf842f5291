"""Alignment removes exactly the requested differences, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.metrics import add_ramp, align, complex_error, shift_image

SEEDS = st.integers(0, 2**10)
RAMPS = st.tuples(st.floats(-2.5, 2.5), st.floats(-2.5, 2.5))
SHIFTS = st.tuples(st.floats(-3, 3), st.floats(-3, 3))
SHAPE = (72, 80)


def disk_mask(shape, radius=26):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y - shape[0] / 2, x - shape[1] / 2) < radius


def periodic_shift(image, shift):
    q = [np.fft.fftfreq(n) for n in image.shape]
    ramp = np.exp(-2j * np.pi * (q[0][:, None] * shift[0] + q[1] * shift[1]))
    return np.fft.ifft2(np.fft.fft2(image) * ramp)


@given(SEEDS, st.floats(-10, 10), st.floats(0.1, 10))
def test_a_global_phase_is_removed_and_the_amplitude_left_alone(make_object, seed, angle, factor):
    truth = make_object(SHAPE, seed)
    alignment = align(factor * np.exp(1j * angle) * truth, truth)
    np.testing.assert_allclose(alignment.image, factor * truth, atol=1e-9 * factor)
    assert np.exp(1j * alignment.phase_rad) == pytest.approx(np.exp(-1j * angle))
    assert alignment.ramp_rad_per_px == alignment.shift_px == (0.0, 0.0)


@given(SEEDS, RAMPS, st.floats(0.1, 10))
def test_a_ramp_of_any_size_is_estimated_and_removed(make_object, seed, ramp, factor):
    truth, mask = make_object(SHAPE, seed), disk_mask(SHAPE)
    alignment = align(factor * add_ramp(truth, ramp), truth, mask, ramp=True)
    np.testing.assert_allclose(alignment.ramp_rad_per_px, np.negative(ramp), atol=1e-6)
    assert complex_error(alignment.image / factor, truth, alignment.mask) < 1e-5


@given(SEEDS, SHIFTS)
def test_a_subpixel_shift_is_estimated_and_removed(make_object, seed, shift):
    truth, mask = make_object(SHAPE, seed), disk_mask(SHAPE)
    alignment = align(periodic_shift(truth, shift), truth, mask, shift=True)
    np.testing.assert_allclose(alignment.shift_px, np.negative(shift), atol=0.01)
    assert complex_error(alignment.image, truth, alignment.mask) < 0.005


@given(SEEDS, RAMPS, SHIFTS)
def test_ramp_and_shift_are_removed_together(make_object, seed, ramp, shift):
    truth, mask = make_object(SHAPE, seed), disk_mask(SHAPE)
    spoiled = add_ramp(periodic_shift(truth, shift), ramp) * np.exp(0.4j)
    alignment = align(spoiled, truth, mask, ramp=True, shift=True)
    np.testing.assert_allclose(alignment.shift_px, np.negative(shift), atol=0.02)
    np.testing.assert_allclose(alignment.ramp_rad_per_px, np.negative(ramp), atol=1e-3)
    assert complex_error(alignment.image, truth, alignment.mask) < 0.02


def test_what_was_not_asked_for_stays_in_the_error(make_object):
    truth = make_object(SHAPE, 1)
    assert complex_error(align(add_ramp(truth, (0.1, 0.0)), truth).image, truth) > 0.5
    assert complex_error(align(periodic_shift(truth, (2.0, 1.0)), truth).image, truth) > 0.05


def test_noise_moves_the_estimates_only_a_little(make_object):
    rng = np.random.default_rng(0)
    truth, mask = make_object(SHAPE, 4), disk_mask(SHAPE)
    noise = 0.1 * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    alignment = align(
        add_ramp(periodic_shift(truth, (1.3, -0.6)), (0.9, -1.7)) + noise, truth, mask, ramp=True, shift=True
    )
    np.testing.assert_allclose(alignment.shift_px, (-1.3, 0.6), atol=0.2)
    np.testing.assert_allclose(alignment.ramp_rad_per_px, (-0.9, 1.7), atol=2e-3)


def test_shifted_in_pixels_are_not_compared(make_object):
    truth = make_object(SHAPE, 2)
    mask = np.zeros(SHAPE, bool)
    mask[10:60, 12:70] = True
    alignment = align(np.roll(truth, (4, -3), (0, 1)), truth, mask, shift=True)
    np.testing.assert_allclose(alignment.shift_px, (-4, 3), atol=1e-3)
    expected = np.zeros(SHAPE, bool)
    expected[10:56, 15:70] = True
    assert alignment.mask[10:55, 16:70].all()
    assert not (alignment.mask & ~expected).any()


def test_a_flat_image_aligns_without_a_shift():
    flat = np.full((32, 32), 0.5 + 0j)
    alignment = align(flat, flat, ramp=True, shift=True)
    np.testing.assert_allclose(alignment.image, flat, atol=1e-9)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (0.0, 5.0), (-20.0, 1.0)])
def test_moves_by_whole_pixels_copy_pixels(make_object, shift):
    image = make_object((30, 34), 0)
    moved = shift_image(image, shift)
    y, x = (slice(int(max(s, 0)), int(n + min(s, 0))) for s, n in zip(shift, image.shape, strict=True))
    np.testing.assert_allclose(moved[y, x], np.roll(image, [int(s) for s in shift], (0, 1))[y, x], atol=1e-12)
