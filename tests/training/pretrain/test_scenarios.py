"""What is drawn to learn from: valid, reproducible, and never what is held out."""

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.data.simulation import draw_object, draw_probe
from ptypinn.physics.optics import probe_photons
from ptypinn.training import scenarios
from ptypinn.training.scenarios import HELD_OUT_IMAGES, IMAGES, MAX_PATTERNS, SIZES, draw_random_scan

SEEDS = st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 10**6))


@given(SEEDS)
def test_a_scenario_is_a_pure_function_of_its_seed(seed):
    np.random.default_rng().random()
    assert draw_random_scan(seed, PretrainConfig()) == draw_random_scan(seed, PretrainConfig())
    assert draw_random_scan(seed, PretrainConfig()) != draw_random_scan((*seed[:2], seed[2] + 1), PretrainConfig())


@given(SEEDS, st.floats(0.5, 6.0), st.floats(0.0, 5.0), st.floats(0.0, 1.0))
def test_scenarios_stay_inside_what_is_asked_for(seed, low, span, guessed):
    config = PretrainConfig(photons_log10=(low, low + span), guessed_probe_fraction=guessed)
    drawn = draw_random_scan(seed, config)
    assert drawn.config.object_size == (SIZES[drawn.config.size],) * 2
    assert 10**low * (1 - 1e-9) <= drawn.config.photons <= 10 ** (low + span) * (1 + 1e-9)
    assert 0 <= drawn.config.overlap <= scenarios.OVERLAPS[1]
    if drawn.guess is not None:
        assert drawn.guess.probe == drawn.config.probe
        assert guessed > 0


@pytest.mark.parametrize("number", range(4))
def test_a_scan_has_a_truth_a_bounded_number_of_patterns_and_a_guess_of_the_true_power(number):
    scenario = draw_random_scan((0, 0, number), PretrainConfig(guessed_probe_fraction=1.0))
    scan = scenario.scan()
    assert scan.truth.shape == scenario.config.object_size
    assert scan.n_patterns <= 1.2 * MAX_PATTERNS
    true = draw_probe(scenario.config).numpy()
    assert (np.abs(scan.probe) ** 2).sum() == pytest.approx((np.abs(true) ** 2).sum(), rel=1e-4)
    assert not np.allclose(np.abs(scan.probe[0]), np.abs(true[0]), rtol=0.01, atol=0.01 * np.abs(true).max())


@given(SEEDS)
def test_held_out_photographs_are_never_drawn(seed):
    drawn = draw_random_scan(seed, PretrainConfig()).config
    if drawn.object == "natural":
        assert drawn.image in IMAGES
        assert drawn.phase_image in IMAGES or drawn.phase_texture == "same"
    assert not set(IMAGES) & set(HELD_OUT_IMAGES)


@pytest.mark.parametrize("texture", ["same", "independent"])
def test_held_out_photographs_are_in_no_sample(texture, monkeypatch):
    def refuse():
        raise AssertionError("a held-out photograph")

    for name in HELD_OUT_IMAGES:
        monkeypatch.setattr(skimage.data, name, refuse)
    drawn = (draw_random_scan((0, 0, number), PretrainConfig()).config for number in range(120))
    photographs = [one for one in drawn if one.object == "natural" and one.phase_texture == texture]
    assert len(photographs) > 5
    for one in photographs:
        draw_object(one)


def test_every_kind_of_sample_and_probe_is_drawn():
    drawn = [draw_random_scan((0, 0, number), PretrainConfig()) for number in range(200)]
    assert {one.config.object for one in drawn} == set(scenarios.KINDS)
    assert {one.config.probe for one in drawn} == set(scenarios.PROBES)
    assert {one.config.scan for one in drawn} == set(scenarios.SCANS)
    assert 20 < sum(one.guess is not None for one in drawn) < 90


def test_a_guess_keeps_the_photons():
    scenario = draw_random_scan((3, 0, 1), PretrainConfig(guessed_probe_fraction=1.0))
    assert float(probe_photons(draw_probe(scenario.guess))) == pytest.approx(scenario.config.photons, rel=1e-4)
