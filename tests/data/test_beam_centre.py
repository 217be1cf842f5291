"""The beam centre: displaced patterns and a phase ramp of the object are one freedom, which no result depends on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn import ReconstructConfig, RefineConfig, SimulateConfig, reconstruct, refine, simulate
from ptypinn.data.beam_centre import (
    BeamOffset,
    add_phase_ramp,
    estimate_ramp,
    mean_slope,
    measure_beam_offset,
    move_ramp_to_probe,
    remove_ramp,
    restore_ramp,
)
from ptypinn.metrics import align, complex_error
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import split_positions

offsets = st.integers(-10, 10)


@pytest.fixture(scope="module")
def scan():
    config = SimulateConfig(size=32, object_size=(72, 72), n_patterns=60, photons=1e6, seed=3)
    return simulate(config)


def rolled(scan, y, x):
    """The scan on a detector whose centre is displaced; the truth is left behind, for it has no ramp."""
    return scan.replace(counts=np.roll(scan.counts, (y, x), (1, 2)), truth=None)


@given(offsets, offsets)
def test_the_offset_follows_a_displaced_detector(scan, y, x):
    before, after = measure_beam_offset(scan), measure_beam_offset(rolled(scan, y, x))
    assert after.y_px - before.y_px == pytest.approx(y, abs=1e-9)
    assert after.x_px - before.x_px == pytest.approx(x, abs=1e-9)


@given(st.floats(-8, 8), st.floats(-8, 8))
def test_object_and_probe_predict_the_same_counts_wherever_the_ramp_is(scan, y, x):
    offset = BeamOffset(y, x, scan.size)
    corners, _ = split_positions(torch.from_numpy(scan.positions_px))

    def predict(canvas, probe):
        return FAR_FIELD.predict_scan(torch.from_numpy(canvas)[None], torch.from_numpy(probe), corners)

    with_ramp = predict(add_phase_ramp(scan.truth, offset.ramp), scan.probe)
    moved = predict(scan.truth, move_ramp_to_probe(scan, offset).probe)
    difference = (with_ramp.sqrt() - moved.sqrt()).square().sum() / with_ramp.sum()
    assert difference < 1e-9


@given(st.floats(-8, 8), st.floats(-8, 8))
def test_the_probe_of_every_frame_takes_the_ramp(scan, y, x):
    weights = np.linspace(-1, 1, scan.n_patterns)[:, None]
    images = (np.roll(scan.probe, 2, axis=-1)[None] / 4).astype(np.complex64)
    varying = scan.replace(probe_variation=images, probe_weights=weights)
    offset = BeamOffset(y, x, scan.size)
    moved = move_ramp_to_probe(varying, offset)
    for weight in weights[[0, -1], 0].astype(np.float32):
        expected = add_phase_ramp(scan.probe + weight * images[0], offset.ramp)
        np.testing.assert_allclose(moved.probe + weight * moved.probe_variation[0], expected, atol=1e-2)


def test_a_ramp_that_is_removed_and_restored_leaves_everything_as_it_was(scan):
    recon, offset = refine(scan, RefineConfig(iterations=2, device="cpu")), BeamOffset(1.5, -3.0, scan.size)
    restored = restore_ramp(remove_ramp(recon, offset), offset)
    assert np.allclose(restored.object, recon.object, atol=1e-5)
    assert np.allclose(restored.probe, recon.probe, atol=1e-3)
    assert restored.provenance["experiment"]["beam_offset_px"] == [1.5, -3.0]


def test_a_probe_that_is_solved_for_keeps_the_ramp_and_goes_on_from_there(scan):
    moved = rolled(scan, 4, 0)
    known = refine(moved, RefineConfig(iterations=4, device="cpu", refine_probe=False))
    free = refine(moved, RefineConfig(iterations=4, device="cpu"))
    further = refine(moved, RefineConfig(iterations=1, device="cpu"), initial=free)
    assert mean_slope(known)[0] == pytest.approx(2 * np.pi * 4 / scan.size, abs=0.1)
    assert mean_slope(free) == pytest.approx((0, 0), abs=1e-4)
    assert mean_slope(further) == pytest.approx((0, 0), abs=0.03)
    assert [recon.provenance["experiment"]["ramp_in"] for recon in (known, free)] == ["object", "probe"]


def test_a_scan_in_its_place_has_no_ramp(scan):
    assert measure_beam_offset(scan).distance_px < 0.25
    assert estimate_ramp(scan).distance_px == 0
    assert move_ramp_to_probe(scan, estimate_ramp(scan)) is scan


def test_the_offset_of_a_scan_without_a_probe_is_measured_against_the_zero_frequency(scan):
    offset = measure_beam_offset(rolled(scan, 3, -2).replace(probe=None))
    assert (round(offset.y_px), round(offset.x_px)) == (3, -2)


@pytest.mark.parametrize(
    "solve",
    [
        lambda scan: reconstruct(scan, config=ReconstructConfig(device="cpu", refine_probe=False)),
        lambda scan: refine(scan, RefineConfig(device="cpu", iterations=12, refine_probe=False)),
    ],
    ids=["reconstruct", "refine"],
)
def test_no_solver_depends_on_the_centre_of_the_detector(scan, solve):
    one, other = (solve(rolled(scan, *offset)) for offset in ((2, 4), (5, -3)))
    assert other.metrics["amplitude_residual"] == pytest.approx(one.metrics["amplitude_residual"], rel=0.02)
    mask = one.well_illuminated()
    moved = remove_ramp(other, BeamOffset(3.0, -7.0, scan.size))
    aligned = align(moved.object, one.object, mask, ramp=True)
    assert complex_error(aligned.image, one.object, mask) < 0.01
    assert np.allclose(other.probe, one.probe, atol=0.1)
    offset = measure_beam_offset(rolled(scan, 5, -3))
    assert other.provenance["experiment"]["beam_offset_px"] == pytest.approx([offset.y_px, offset.x_px])
