"""Laws and known answers of the image comparisons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.metrics import (
    amplitude_metrics,
    complex_error,
    output_vs_truth_ratio,
    pearson_r,
    phase_difference,
    phase_metrics,
    structural_similarity,
)

SEEDS = st.integers(0, 2**16)
ANGLES = st.floats(-20, 20)
FACTORS = st.floats(0.05, 20)


def random_pair(seed, shape=(17, 23)):
    rng = np.random.default_rng(seed)
    a, b, noise = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape) for _ in range(3))
    return a, a + 0.3 * b + 0.1 * noise, rng.random(shape) < 0.7


@given(SEEDS, ANGLES, FACTORS)
def test_an_image_has_no_error_but_its_wrong_scale(seed, angle, factor):
    a, _, mask = random_pair(seed)
    turned = a * np.exp(1j * angle)
    assert complex_error(turned, a, mask) < 1e-12
    assert complex_error(factor * turned, a, mask) == pytest.approx(abs(factor - 1), abs=1e-9)
    assert complex_error(factor * turned, a, mask, fit_factor=True) < 1e-12
    assert output_vs_truth_ratio(factor * turned, a, mask) == pytest.approx(factor)


@given(SEEDS)
def test_complex_error_is_the_minimum_over_all_global_phases(seed):
    a, b, mask = random_pair(seed)
    scan = [np.linalg.norm((a * np.exp(1j * t) - b)[mask]) for t in np.linspace(0, 2 * np.pi, 721)]
    minimum = min(scan) / np.linalg.norm(b[mask])
    assert complex_error(a, b, mask) == pytest.approx(minimum, rel=1e-4)
    assert complex_error(a, b, mask) <= minimum + 1e-12
    assert complex_error(a, b, mask, fit_factor=True) <= complex_error(a, b, mask)


@given(SEEDS)
def test_amplitude_metrics_match_plain_formulas(seed):
    a, b, mask = random_pair(seed)
    metrics = amplitude_metrics(a.astype(np.complex64), b.astype(np.complex64), mask)
    x, y = np.abs(a[mask]), np.abs(b[mask])
    rmse = np.sqrt(np.mean((x - y) ** 2))
    assert metrics["amplitude_mae"] == pytest.approx(np.mean(np.abs(x - y)), rel=1e-5)
    assert metrics["amplitude_rmse"] == pytest.approx(rmse, rel=1e-5)
    assert metrics["amplitude_psnr"] == pytest.approx(10 * np.log10((y.max() - y.min()) ** 2 / rmse**2), rel=1e-5)
    assert metrics["pearson_r_amplitude"] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-5)


@given(SEEDS)
def test_phase_differences_wrap(seed):
    rng = np.random.default_rng(seed)
    target, error = rng.uniform(-np.pi, np.pi, (9, 9)), rng.uniform(-3.1, 3.1, (9, 9))
    a, b = np.exp(1j * (target + error)), 2 * np.exp(1j * target)
    np.testing.assert_allclose(phase_difference(a, b), error, atol=1e-12)
    assert phase_metrics(a, b)["phase_mae"] == pytest.approx(np.abs(error).mean())
    assert phase_metrics(a, b)["phase_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))


@given(SEEDS, ANGLES)
def test_phase_metrics_do_not_depend_on_the_phase_of_the_reference(seed, angle):
    rng = np.random.default_rng(seed)
    target, error = rng.uniform(-1, 1, (24, 24)), 0.5 * rng.standard_normal((24, 24))
    mask, turn = rng.random(target.shape) < 0.98, np.exp(1j * angle)
    image, reference = np.exp(1j * (target + error)), np.exp(1j * target)
    plain = phase_metrics(image, reference, mask)
    assert phase_metrics(image * turn, reference * turn, mask) == pytest.approx(plain, rel=1e-6)
    assert plain["pearson_r_phase"] == pytest.approx(np.corrcoef((target + error)[mask], target[mask])[0, 1], abs=1e-6)


def test_identity_is_perfect_and_worse_images_score_lower(make_object):
    truth = make_object((64, 72), 3)
    mask = np.zeros(truth.shape, bool)
    mask[5:-7, 9:-4] = True
    same = {**amplitude_metrics(truth, truth, mask), **phase_metrics(truth, truth, mask)}
    assert same["ssim_amplitude"] == same["ssim_phase"] == 1.0
    assert same["pearson_r_amplitude"] == pytest.approx(1) == same["pearson_r_phase"]
    assert "amplitude_psnr" not in same
    noise = 0.05 * np.random.default_rng(0).standard_normal(truth.shape)
    little, much = (phase_metrics(truth * np.exp(1j * k * noise), truth, mask) for k in (1, 3))
    assert 1 > little["ssim_phase"] > much["ssim_phase"] > 0
    assert little["phase_psnr"] - much["phase_psnr"] == pytest.approx(20 * np.log10(3), abs=1e-6)


def test_ssim_matches_wang_et_al_written_out(make_object):
    a, b = np.abs(make_object((40, 40), 1)), np.abs(make_object((40, 40), 2))
    span = np.ptp(b)
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for y in range(5, 35):
        for x in range(5, 35):
            p, q = a[y - 5 : y + 6, x - 5 : x + 6], b[y - 5 : y + 6, x - 5 : x + 6]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert structural_similarity(a, b, np.ones(a.shape, bool)) == pytest.approx(np.mean(values), abs=1e-9)


def test_pixels_outside_the_mask_never_count(make_object):
    truth = make_object((64, 64), 5)
    image, spoiled = (truth + 0.05 * make_object((64, 64), seed) for seed in (6, 6))
    mask = np.zeros(truth.shape, bool)
    mask[10:50, 12:60] = True
    spoiled[~mask] = 1e6
    for compute in (amplitude_metrics, phase_metrics):
        assert compute(image, truth, mask) == pytest.approx(compute(spoiled, truth, mask), abs=1e-9)
    assert complex_error(image, truth, mask) == complex_error(spoiled, truth, mask)


def test_metrics_without_a_value_are_left_out():
    flat = np.ones((32, 32), complex)
    assert pearson_r(np.ones(9), np.arange(9.0)) is None
    assert not {"ssim_amplitude", "pearson_r_amplitude", "amplitude_psnr"} & set(amplitude_metrics(flat, flat))
    assert "ssim_phase" not in phase_metrics(flat, flat)


def test_a_mask_that_selects_nothing_is_refused():
    with pytest.raises(ValueError, match="mask"):
        complex_error(np.ones((4, 4), complex), np.ones((4, 4), complex), np.zeros((4, 4), bool))
