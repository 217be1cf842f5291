"""A window of near-field patterns holds their beam; what is solved within it fits the whole patterns it came from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import forward_model
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.beam_window import DARK_FRACTION, BeamWindow, WindowedCounts

FRESNEL = 0.3


def draw_scan(rng, size, radius, background=0.0, truth=False):
    """A scan of a disk of light in patterns of any size."""
    axis = np.arange(size) - size // 2
    beam = 1000.0 * (np.hypot(axis[:, None], axis) <= radius) + background
    positions = rng.integers(0, 9, (5, 2)).astype(float)
    counts = rng.poisson(beam, (5, size, size)).astype(np.uint16)
    image = np.ones((size + 9, size + 9), np.complex64) if truth else None
    return ScanData(counts, positions, fresnel_number=FRESNEL, truth=image)


def draw_recon(rng, part, modes=2):
    origin, extent = canvas_frame(part)
    waves = rng.normal(size=(2, modes, part.size, part.size, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return Reconstruction(
        object=rng.normal(size=(*extent, 2)).astype(np.float32).view(np.complex64)[..., 0],
        illumination=np.ones(extent, np.float32),
        probe=waves[0],
        positions_px=canvas_positions(part),
        origin_px=origin,
        fresnel_number=FRESNEL,
        probe_variation=waves[1:],
        probe_weights=np.ones((5, 1)),
    )


@given(size=st.integers(20, 32).map(lambda half: 2 * half), radius=st.integers(3, 12), seed=st.integers(0, 99))
def test_a_window_holds_the_beam_and_its_middle_is_that_of_the_patterns(size, radius, seed):
    scan = draw_scan(np.random.default_rng(seed), size, radius)
    window = BeamWindow.of(scan)
    part = window.cut(scan)
    assert part.size == window.edge < size
    assert part.counts.sum() >= (1 - DARK_FRACTION) * scan.counts.sum()
    assert part.counts.shape == WindowedCounts(scan.counts, window.part).shape
    middle = part.counts[:, part.size // 2, part.size // 2]
    assert np.array_equal(middle, scan.counts[:, size // 2, size // 2])


def test_light_that_fills_the_patterns_leaves_nothing_to_cut():
    scan = draw_scan(np.random.default_rng(0), 48, 10, background=300.0)
    window = BeamWindow.of(scan)
    assert window.edge == scan.size
    assert window.cut(scan) is scan


def test_a_window_is_not_too_narrow_for_the_distance():
    scan = draw_scan(np.random.default_rng(0), 64, 5)
    assert BeamWindow.of(scan.replace(fresnel_number=0.09)).edge > BeamWindow.of(scan).edge


@given(size=st.sampled_from([40, 42]), truth=st.booleans(), seed=st.integers(0, 99))
def test_a_widened_reconstruction_has_the_light_of_the_window_on_the_same_part_of_the_sample(size, truth, seed):
    rng = np.random.default_rng(seed)
    scan = draw_scan(rng, size, 8, truth=truth)
    window = BeamWindow(24, size)
    part = window.cut(scan)
    recon = draw_recon(rng, part)
    whole = window.widen(recon, part, scan)
    assert whole.probe.shape == (2, size, size)
    assert (whole.origin_px, whole.object.shape) == canvas_frame(scan)
    np.testing.assert_allclose(whole.positions_px, canvas_positions(scan))
    ours, theirs = (exit_waves(each, each.probe.shape[-1]) for each in (recon, whole))
    torch.testing.assert_close(theirs[..., window.part, window.part], ours)
    assert theirs.abs().square().sum() == pytest.approx(float(ours.abs().square().sum()), rel=1e-5)


def exit_waves(recon, size):
    corners, _ = split_positions(torch.from_numpy(recon.positions_px))
    patches = forward_model(size, FRESNEL).cut(torch.from_numpy(recon.object)[None], corners, size)
    return patches[:, None] * torch.from_numpy(recon.probe)


def test_a_background_that_was_given_stays_and_one_that_was_solved_for_goes_on_into_the_rim():
    rng = np.random.default_rng(0)
    scan = draw_scan(rng, 40, 8).replace(background=rng.random((40, 40)).astype(np.float32))
    window = BeamWindow(24, 40)
    part = window.cut(scan)
    held = replace(draw_recon(rng, part), background=part.background)
    solved = replace(held, background=np.full((24, 24), 3.0, np.float32))
    assert window.widen(held, part, scan).background is scan.background
    assert (window.widen(solved, part, scan).background == 3).all()


def test_predicted_counts_of_the_window_are_those_of_whole_patterns_away_from_its_edge():
    rng = np.random.default_rng(1)
    scan = draw_scan(rng, 48, 6)
    window = BeamWindow(32, 48)
    part = window.cut(scan)
    recon = replace(draw_recon(rng, part, modes=1), object=np.ones(canvas_frame(part)[1], np.complex64))
    axis = np.arange(32) - 16
    disk = np.exp(-(axis[:, None] ** 2 + axis**2) / 18.0).astype(np.complex64)[None]
    recon = replace(recon, probe=disk, probe_variation=None, probe_weights=None)
    whole = window.widen(recon, part, scan)
    ours, theirs = (
        to_centred(forward_model(each.probe.shape[-1], FRESNEL).predict_vacuum(torch.from_numpy(each.probe)))
        for each in (recon, whole)
    )
    torch.testing.assert_close(theirs[window.part, window.part], ours, rtol=0, atol=1e-4)
