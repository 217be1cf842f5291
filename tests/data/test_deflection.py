"""The deflection of a beam has no curl: its curl shows how the scan stands to the detector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ptypinn.data.bright_field import TiltedImages
from ptypinn.data.deflection import compute_deflection, fit_deflection

TILTS = np.stack(np.meshgrid(np.arange(-3.0, 4), np.arange(-3.0, 4), indexing="ij"), -1).reshape(-1, 2)


def tilted_images(field, noise=0.0, seed=0):
    """Images by parts of a disk whose counts shift as a whole by a field (2, height, width), detector pixels."""
    slope = np.tensordot(TILTS / (TILTS**2).mean(0), field, 1)
    images = slope + noise * np.random.default_rng(seed).normal(size=slope.shape)
    return TiltedImages(images, TILTS, np.full(len(TILTS), 100.0), 2.0)


def gradient(seed, shape=(40, 44)):
    phase = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    return 0.02 * np.stack(np.gradient(phase)) / np.std(np.gradient(phase))


def turn(field, degrees, mirrored):
    """The field that a detector shows whose directions are turned to those of the scan by a rotation."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ np.diag([1, -1]) if mirrored else matrix
    return np.tensordot(matrix.T, field, 1)


@given(seed=st.integers(0, 99), degrees=st.floats(-89, 89), mirrored=st.booleans())
def test_rotation_and_hand_come_out(seed, degrees, mirrored):
    field = gradient(seed)
    fit = fit_deflection(tilted_images(turn(field, degrees, mirrored)))
    assert fit.is_mirrored == mirrored
    error = (fit.rotation_deg - degrees + 90) % 180 - 90
    assert abs(error) < 2 + 2 * fit.rotation_error_deg
    assert fit.curl_fraction < 0.2
    straight = np.tensordot(fit.turn, turn(field, degrees, mirrored), 1)
    assert abs(np.vdot(straight, field)) > 0.99 * np.linalg.norm(straight) * np.linalg.norm(field)


def test_the_deflection_is_the_mean_tilt():
    field = gradient(3)
    deflection = compute_deflection(tilted_images(field))
    np.testing.assert_allclose(deflection, field, atol=1e-12)


def test_the_stated_error_covers_the_actual_one():
    ratios = []
    for seed in range(20):
        fit = fit_deflection(tilted_images(turn(gradient(seed), 10.0, False), noise=0.02, seed=seed))
        ratios.append((fit.rotation_deg - 10.0) / fit.rotation_error_deg)
    assert 0.2 < np.sqrt(np.mean(np.square(ratios))) < 1.5


def test_noise_and_few_points_show_nothing():
    noise = np.random.default_rng(0).normal(size=(2, 40, 40))
    assert fit_deflection(tilted_images(0.02 * noise)) is None
    assert fit_deflection(tilted_images(gradient(0, (8, 40)))) is None
    assert fit_deflection(tilted_images(np.zeros((2, 20, 20)))) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_field_with_as_much_curl_as_divergence_shows_nothing(seed):
    first, second = gradient(seed), gradient(seed + 50)
    mixed = first + turn(second, 90.0, False) + turn(gradient(seed + 80), 45.0, True)
    fit = fit_deflection(tilted_images(mixed + turn(gradient(seed + 90), -45.0, True)))
    assert fit is None or fit.rotation_error_deg > 3
