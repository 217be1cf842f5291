"""Laws of a real exposure: energy, limits, equivalences, against direct formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.physics.experiment import (
    Exposure,
    aberrate_probe,
    beam_ramp,
    expose_frames,
    pupil_rim,
    sample_motion,
    spread_points,
    tilt_object,
)
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import shift_probe, split_positions
from ptypinn.physics.probes import ZonePlate, zone_plate_probe
from ptypinn.physics.propagation import to_centred

SIZE, FRAMES = 32, 5
PROBE = zone_plate_probe(SIZE, ZonePlate(pupil_radius=0.5, defocus_waves=0.6), 1e4).to(torch.complex128)


def draw(seed=0):
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(72.0), torch.arange(64.0), indexing="ij")
    phase = 0.6 * torch.sin(y / 5 + 2 * torch.rand(1, generator=random)) * torch.cos(x / 7)
    canvas = torch.polar(0.8 + 0.2 * torch.cos(y / 6).double(), phase.double())
    positions = 8 + 16 * torch.rand(FRAMES, 2, generator=random, dtype=torch.float64)
    return canvas, positions


def ideal_frames(canvas, positions):
    corners, _ = split_positions(positions)
    rest = positions - positions.round()
    return to_centred(FAR_FIELD.predict_scan(canvas[None], PROBE, corners, rest))


@given(seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_without_deviations_the_exposure_is_ideal(seed):
    canvas, positions = draw(seed)
    torch.testing.assert_close(expose_frames(canvas, PROBE, positions, Exposure()), ideal_frames(canvas, positions))


@given(seed=st.integers(0, 99), share=st.floats(0.0, 0.5))
@settings(max_examples=5, deadline=None)
def test_flux_multiplies_the_beam_and_not_the_background(seed, share):
    canvas, positions = draw(seed)
    flux = torch.linspace(0.5, 1.5, FRAMES, dtype=torch.float64)
    background = torch.full((SIZE, SIZE), share, dtype=torch.float64)
    frames = expose_frames(canvas, PROBE, positions, Exposure(flux=flux, background=background))
    torch.testing.assert_close(frames, ideal_frames(canvas, positions) * flux[:, None, None] + share)


def test_motion_is_the_mean_over_many_positions():
    canvas, positions = draw()
    path = torch.tensor([[3.0, -4.0]] * FRAMES, dtype=torch.float64)
    frames = expose_frames(canvas, PROBE, positions, Exposure(path_px=path))
    times = (torch.arange(64, dtype=torch.float64) + 0.5) / 64 - 0.5
    reference = torch.stack([ideal_frames(canvas, positions + t * path) for t in times]).mean(0)
    assert float((frames - reference).abs().max() / reference.max()) < 1e-3
    assert float((frames - ideal_frames(canvas, positions)).abs().max() / reference.max()) > 0.01


@given(steps=st.integers(1, 12), length=st.floats(0.1, 20))
def test_positions_during_an_exposure_have_the_frame_in_their_middle(steps, length):
    start, path = torch.zeros(2, 2).double(), torch.tensor([[length, 0.0], [0.0, length]]).double()
    places, weights = sample_motion(start, path, steps)
    assert float(weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(torch.einsum("bsk,s->bk", places, weights), start, atol=1e-12, rtol=0)
    assert float(places.abs().max()) < length / 2
    assert steps == 1 or float((places[0, :, 0].square() * weights).sum()) == pytest.approx(length**2 / 12)


@given(st.tuples(st.floats(-6, 6), st.floats(-6, 6)))
@settings(max_examples=10, deadline=None)
def test_a_beam_beside_the_centre_moves_the_pattern(offset):
    canvas, positions = draw()
    centred = expose_frames(canvas, PROBE, positions, Exposure())
    beam = torch.tensor([offset] * FRAMES, dtype=torch.float64)
    moved = expose_frames(canvas, PROBE, positions, Exposure(beam_px=beam))
    torch.testing.assert_close(moved.sum((1, 2)), centred.sum((1, 2)))
    whole = [round(step) for step in offset]
    by_whole = expose_frames(canvas, PROBE, positions, Exposure(beam_px=torch.tensor([whole] * FRAMES).double()))
    torch.testing.assert_close(by_whole, torch.roll(centred, whole, (1, 2)))


@given(deflection=st.tuples(st.floats(-8, 8), st.floats(-8, 8)), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_a_wedge_and_a_beam_beside_the_centre_give_the_same_counts(deflection, seed):
    canvas, positions = draw(seed)
    positions = positions.round()
    wedge = expose_frames(tilt_object(canvas, deflection, SIZE), PROBE, positions, Exposure())
    beam = torch.tensor([deflection] * FRAMES, dtype=torch.float64)
    torch.testing.assert_close(wedge, expose_frames(canvas, PROBE, positions, Exposure(beam_px=beam)))


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
@settings(max_examples=10, deadline=None)
def test_aberrations_keep_the_power_and_their_opposite_undoes_them(values):
    aberrations = torch.tensor([values], dtype=torch.float64)
    changed = aberrate_probe(PROBE, aberrations)
    torch.testing.assert_close(changed.abs().square().sum(), PROBE.abs().square().sum())
    torch.testing.assert_close(aberrate_probe(changed[0], -aberrations)[0], PROBE, rtol=1e-9, atol=1e-9)


def test_a_tilt_moves_the_beam_on_the_sample():
    tilt = 0.7
    moved = aberrate_probe(PROBE, torch.tensor([[0.0, tilt, 0.0]], dtype=torch.float64))
    pixels = -tilt / (2 * math.pi * pupil_rim(PROBE))
    expected = shift_probe(PROBE, torch.tensor([[pixels, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(moved[:, :, 1:, 1:], expected[:, :, 1:, 1:], atol=2.0, rtol=0.05)


def test_the_pupil_of_a_zone_plate_is_as_wide_as_its_cone():
    assert pupil_rim(PROBE) == pytest.approx(0.5 * 0.5, rel=0.12)


@given(spread=st.floats(0.6, 3), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_a_point_spread_keeps_the_light_and_widens_by_its_variance(spread, seed):
    frame = torch.zeros(1, 64, 64, dtype=torch.float64)
    place = np.random.default_rng(seed).integers(24, 40, 2)
    frame[0, place[0], place[1]] = 7.0
    blurred = spread_points(frame, spread)
    assert float(blurred.sum()) == pytest.approx(7.0)
    assert float(blurred.min()) >= 0
    axis = torch.arange(64) - int(place[0])
    variance = float((blurred[0].sum(1) * axis.square()).sum() / 7.0)
    assert variance == pytest.approx(spread**2 + 1 / 12, rel=0.02)  # of the spread, and of a pixel


def test_light_beyond_the_edge_is_lost():
    frame = torch.zeros(1, 16, 16, dtype=torch.float64)
    frame[0, 0, 8] = 1.0
    assert 0.4 < float(spread_points(frame, 1.0).sum()) < 0.8


@given(st.tuples(st.floats(-4, 4), st.floats(-4, 4)))
def test_beam_ramps_have_unit_modulus_and_no_turn_in_the_middle(offset):
    ramp = beam_ramp(torch.tensor([offset], dtype=torch.float64), 16)[0]
    torch.testing.assert_close(ramp.abs(), torch.ones(16, 16, dtype=torch.float64))
    assert abs(complex(ramp[8, 8]) - 1) < 1e-12
