"""Fourier ring correlation: known answers, thresholds and limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.metrics import fourier_ring_correlation, half_bit_threshold
from ptypinn.metrics.image import soft_window

SEEDS = st.integers(0, 2**12)


def noise(seed, shape=(64, 64)):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@given(SEEDS, st.floats(0.1, 9))
def test_an_image_correlates_fully_with_itself_at_any_scale(seed, factor):
    image = noise(seed, (48, 65))
    frc = fourier_ring_correlation(factor * image, image)
    np.testing.assert_allclose(frc.correlation, 1, atol=1e-9)
    assert frc.half_bit_px == frc.half_px == 2.0
    assert frc.half_bit_reaches_nyquist and frc.half_reaches_nyquist


@given(SEEDS)
def test_independent_noise_has_no_resolution(seed):
    frc = fourier_ring_correlation(1 + noise(seed), 1 + noise(seed + 10_000))
    assert frc.half_bit_px > 10
    assert frc.half_px > 10
    assert not frc.half_bit_reaches_nyquist
    assert np.abs(frc.correlation[8:].mean()) < 0.1


@given(SEEDS, st.floats(0.1, 0.4))
def test_the_crossing_lies_where_the_common_signal_ends(seed, cutoff):
    q = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128)] * 2, indexing="ij"))
    low = lambda image: np.fft.ifft2(np.fft.fft2(image) * (q < cutoff))  # noqa: E731
    high = lambda image: image - low(image)  # noqa: E731
    common = low(noise(seed, (128, 128)))
    first, second = (common + high(noise(seed + k, (128, 128))) for k in (1, 2))
    frc = fourier_ring_correlation(first, second)
    assert 1 / frc.half_bit_px == pytest.approx(cutoff, abs=0.02)
    assert 1 / frc.half_px == pytest.approx(cutoff, abs=0.02)


def filtered(image, change):
    """The image with another spectrum: `change` maps the frequency of a pixel, in rings, to a factor."""
    ring = np.round(np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) * n for n in image.shape), indexing="ij")))
    return np.fft.ifft2(np.fft.fft2(image) * change(ring))


@given(SEEDS, st.sampled_from([1, 2]), st.floats(0.3, 1.0))
def test_the_first_rings_of_a_few_pixels_decide_nothing(seed, ring, error):
    image = filtered(noise(seed, (128, 128)), lambda q: 1 / np.maximum(q, 1))  # strongest at low frequencies
    other = image + error * filtered(noise(seed + 1, image.shape), lambda q: (q == ring) / np.maximum(q, 1))
    assert fourier_ring_correlation(image, other).half_bit_px < 3


@given(SEEDS, st.integers(6, 50))
def test_one_ring_below_the_threshold_is_an_accident_and_all_beyond_are_not(seed, ring):
    image, disturbance = noise(seed, (128, 128)), noise(seed + 1, (128, 128))
    alone = image + 9 * filtered(disturbance, lambda q: q == ring)
    beyond = image + 9 * filtered(disturbance, lambda q: q >= ring)
    one, all_beyond = (fourier_ring_correlation(image, other, edge_fraction=0.01) for other in (alone, beyond))
    assert all_beyond.half_bit_px == pytest.approx(128 / ring, rel=0.3)
    assert one.half_bit_px <= all_beyond.half_bit_px


def test_correlation_follows_the_signal_to_noise_ratio():
    signal = noise(0, (256, 256))
    first, second = (signal + 0.8 * noise(k, (256, 256)) for k in (1, 2))
    frc = fourier_ring_correlation(first, second)
    assert frc.correlation[20:].mean() == pytest.approx(1 / (1 + 0.8**2), abs=0.01)


def test_the_uniform_background_and_the_outline_do_not_correlate():
    mask = np.hypot(*np.mgrid[-40:40, -40:40]) < 33
    frc = fourier_ring_correlation((5 + noise(1, (80, 80))) * mask, (7 + noise(2, (80, 80))) * mask, mask)
    assert frc.half_bit_px > 10


def test_half_bit_threshold_has_its_published_values():
    np.testing.assert_allclose(half_bit_threshold(np.array([1.0, 1e12])), [1.0, 0.2071 / 1.2071], atol=1e-4)
    assert half_bit_threshold(np.array([100.0]))[0] == pytest.approx((0.2071 + 0.19102) / (1.2071 + 0.09102))


def test_window_is_one_inside_and_soft_inwards():
    mask = np.zeros((30, 40), bool)
    mask[3:27, 5:35] = True
    window = soft_window(mask, 5.0)
    assert (window[~mask] == 0).all() and (window[mask] > 0).all()
    assert window[15, 20] == 1
    assert (np.diff(window[15, 4:10]) > 0).all()


def test_tiny_regions_are_refused():
    with pytest.raises(ValueError, match="too small"):
        fourier_ring_correlation(noise(0, (6, 40)), noise(0, (6, 40)))
