"""Varying probes of other programs: the waves of every frame are the same here."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.opr_modes import FrameProbes, from_frames, from_opr_modes, to_opr_modes
from ptypinn.physics.probe_variation import ProbeVariation, vary_probe

FRAMES, SIZE = 9, 6


def draw(seed: int, orders: int, modes: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return images, strongest first, and their weights."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(orders, modes, SIZE, SIZE, 2)) @ [1, 1j]
    weights = np.column_stack([1 + spread * rng.normal(size=FRAMES), rng.normal(size=(FRAMES, orders - 1))])
    weights[:, 0] = np.abs(weights[:, 0]) + 0.1
    return images * (0.3 ** np.arange(orders))[:, None, None, None], weights


def waves_there(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the modes of every frame as the other programs have them."""
    waves = np.repeat(images[:1], FRAMES, 0)
    waves[:, 0] = np.einsum("jk,kyx->jyx", weights, images[:, 0])
    return waves


def waves_here(probes: FrameProbes) -> np.ndarray:
    """Return the modes of every frame as the forward model has them."""
    waves = np.repeat(probes.probe[None].astype(np.complex128), FRAMES, 0)
    if probes.variation is not None:
        variation = ProbeVariation(torch.from_numpy(probes.variation), torch.from_numpy(probes.weights))
        waves = vary_probe(torch.from_numpy(probes.probe), variation).numpy()
    return waves if probes.flux is None else waves * np.sqrt(probes.flux)[:, None, None, None]


CASES = given(
    seed=st.integers(0, 999), orders=st.integers(1, 4), modes=st.integers(1, 3), spread=st.sampled_from([0.0, 0.1, 0.5])
)


@CASES
def test_every_frame_has_the_same_waves(seed, orders, modes, spread):
    images, weights = draw(seed, orders, modes, spread)
    probes = from_opr_modes(images, weights)
    expected = waves_there(images, weights)
    assert np.abs(waves_here(probes) - expected).max() < 1e-4 * np.abs(expected).max()


@CASES
def test_weights_have_mean_0_and_are_orthogonal_and_the_flux_has_mean_1(seed, orders, modes, spread):
    probes = from_opr_modes(*draw(seed, orders, modes, spread))
    if probes.weights is not None:
        assert np.abs(probes.weights.mean(0)).max() < 1e-9
        assert np.allclose(probes.weights.T @ probes.weights / FRAMES, np.eye(probes.weights.shape[1]), atol=1e-9)
    if probes.flux is not None:
        assert probes.flux.mean() == pytest.approx(1)


@CASES
def test_there_and_back_changes_no_wave(seed, orders, modes, spread):
    images, weights = draw(seed, orders, modes, spread)
    probes = from_opr_modes(images, weights)
    again = waves_there(*to_opr_modes(probes, FRAMES))
    expected = waves_here(probes)
    scale = np.abs(expected).max()
    if modes == 1:
        assert np.abs(again - expected).max() < 1e-4 * scale
    else:  # the first mode; the power of the others is that of the mean
        assert np.abs(again[:, 0] - expected[:, 0]).max() < 1e-4 * scale


@given(seed=st.integers(0, 999), orders=st.integers(1, 3), modes=st.integers(1, 2), spread=st.sampled_from([0.0, 0.3]))
def test_probes_of_single_frames_are_the_same_but_for_a_phase(seed, orders, modes, spread):
    expected = waves_there(*draw(seed, orders, modes, spread))
    turned = expected * np.exp(2j * np.pi * np.random.default_rng(seed).random(FRAMES))[:, None, None, None]
    probes = from_frames(turned)
    waves = waves_here(probes)
    overlap = np.abs(np.sum(waves.conj() * expected, (1, 2, 3)))
    powers = np.sum(np.abs(expected) ** 2, (1, 2, 3))
    assert np.allclose(overlap, powers, rtol=1e-4)
    assert np.allclose(np.sum(np.abs(waves) ** 2, (1, 2, 3)), powers, rtol=1e-4)


def test_a_factor_per_frame_is_flux_alone():
    images, weights = draw(0, 1, 1, 0.3)
    probes = from_opr_modes(images, weights)
    assert probes.variation is None
    assert np.allclose(probes.flux, weights[:, 0] ** 2 / np.mean(weights[:, 0] ** 2))


def test_a_constant_probe_has_neither():
    images, _ = draw(0, 3, 2, 0)
    probes = from_opr_modes(images, np.tile([1.0, 0.0, 0.0], (FRAMES, 1)))
    assert probes.variation is probes.weights is probes.flux is None
    assert np.allclose(probes.probe, images[0], atol=1e-5)


@CASES
def test_frames_of_free_phase_have_the_same_intensities_and_orthogonal_weights(seed, orders, modes, spread):
    waves = waves_there(*draw(seed, orders, modes, spread))
    phases = np.exp(2j * np.pi * np.random.default_rng(seed).random(FRAMES))
    probes = from_frames(waves * phases[:, None, None, None])
    expected, there = waves.reshape(FRAMES, -1), waves_here(probes).reshape(FRAMES, -1)
    factors = np.sum(expected.conj() * there, 1) / np.sum(np.abs(expected) ** 2, 1)
    np.testing.assert_allclose(np.abs(factors), 1, atol=1e-5)
    assert np.abs(there - factors[:, None] * expected).max() < 1e-4 * np.abs(expected).max()
    if probes.weights is not None:
        assert np.abs(probes.weights.mean(0)).max() < 1e-6
        assert np.allclose(probes.weights.T @ probes.weights / FRAMES, np.eye(probes.weights.shape[1]), atol=1e-6)


def test_probes_of_many_frames_need_less_memory_than_themselves():
    rng = np.random.default_rng(0)
    frames = (rng.normal(size=(256, 2)) @ rng.normal(size=(2, 128 * 128))).astype(np.complex64)
    frames = frames.reshape(256, 1, 128, 128) + 3
    tracemalloc.start()
    probes = from_frames(frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(probes.variation) <= 3
    assert peak < frames.nbytes
