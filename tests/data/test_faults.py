"""Laws of scans with faults: what changes, what stays, and the true values that come with them."""

import dataclasses
import json

import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.true_experiment import PER_FRAME, UNITS, TrueExperiment
from ptypinn.io.formats.native import read_native
from ptypinn.io.load_save import load, save
from ptypinn.physics.experiment_draws import position_matrix
from ptypinn.stages.info import info
from ptypinn.stages.simulate import simulate

SMALL = SimulateConfig(object_size=(96, 80), size=32, n_patterns=30, pupil_radius=0.5, defocus_waves=0.6)
EVERY = (
    *("positions:1", "affine:1.04:1.02:3:0.02", "rotation:5", "drift:5", "motion:3", "flux:0.1", "flux-drift:0.05"),
    *("probe-variation:1", "probe-guess:0.15", "coherence:0.7:0.2:0.1", "background:0.1", "point-spread:0.6"),
    *("beam-offset:3:-1.5", "descan:2", "ramp:2:1", "saturation:20000", "hot-pixels:6", "cosmic-rays:9"),
    *("empty-frames:0.1", "repeated-frames:0.1"),
)
CLEAN = simulate(SMALL)


def faulty(*faults, **changes):
    return simulate(dataclasses.replace(SMALL, faults=faults, **changes))


def frame_shift(scan):
    """Displacement of the padded object against the clean one, from the true positions."""
    return scan.experiment.positions_px - CLEAN.positions_px


def test_a_scan_without_faults_has_no_true_values_beside_it():
    assert CLEAN.experiment is None and "faults" not in CLEAN.provenance


@pytest.mark.parametrize(
    "fault", ["positions:2", "affine:1.04:1.02:3:0.02", "rotation:20", "drift:8", "probe-guess:0.15", "ramp:0:0"]
)
def test_a_wrong_record_changes_no_count(fault):
    scan = faulty(fault)
    np.testing.assert_array_equal(scan.counts, CLEAN.counts)
    shift = frame_shift(scan)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0].round(), shift.shape), atol=1e-9)
    low = shift[0].round().astype(int)
    inner = scan.truth[low[0] : low[0] + 96, low[1] : low[1] + 80]
    np.testing.assert_array_equal(inner, CLEAN.truth)


def test_the_drift_is_the_difference_of_true_and_recorded_positions():
    scan = faulty("drift:8")
    np.testing.assert_allclose(scan.experiment.positions_px - scan.positions_px, scan.experiment.drift_px, atol=1e-9)
    drift = scan.experiment.drift_px
    assert np.linalg.norm(drift - drift[0], axis=1).max() == pytest.approx(8)


def test_the_matrix_takes_true_positions_to_recorded_ones():
    scan = faulty("affine:1.04:1.02:3:0.02", "rotation:10", "drift:4")
    true, recorded = scan.experiment.positions_px - scan.experiment.drift_px, scan.positions_px
    expected = (true - true.mean(0)) @ scan.experiment.position_matrix.T
    np.testing.assert_allclose(recorded - recorded.mean(0), expected, atol=1e-9)
    turn, rest = position_matrix(rotation_deg=10.0), position_matrix(1.04, 1.02, 3.0, 0.02)
    np.testing.assert_allclose(scan.experiment.position_matrix, (turn @ rest).numpy())


def test_independent_errors_have_their_size():
    scan = faulty("positions:2", n_patterns=400)
    errors = scan.positions_px - scan.experiment.positions_px
    assert errors.std() == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(errors.mean(0), 0, atol=1e-9)


def test_the_recorded_probe_is_the_guess_and_the_true_one_is_stored():
    scan = faulty("probe-guess:0.15")
    np.testing.assert_array_equal(scan.experiment.probe, CLEAN.probe)
    overlap = abs(np.vdot(scan.probe, CLEAN.probe)) / (np.linalg.norm(scan.probe) * np.linalg.norm(CLEAN.probe))
    assert 0.3 < overlap < 0.99
    assert (abs(scan.probe) ** 2).sum() == pytest.approx((abs(CLEAN.probe) ** 2).sum(), rel=1e-5)


def test_a_partially_coherent_beam_is_recorded_as_one_mode():
    scan = faulty("coherence:0.7:0.2:0.1")
    np.testing.assert_array_equal(scan.probe, CLEAN.probe)
    power = (np.abs(scan.experiment.probe.astype(complex)) ** 2).sum((1, 2))
    np.testing.assert_allclose(power / power.sum(), [0.7, 0.2, 0.1], rtol=1e-5)
    same = simulate(dataclasses.replace(SMALL, mode_fractions=(0.7, 0.2, 0.1)))
    assert abs(scan.counts.astype(float) - same.counts).sum() < 0.05 * same.counts.sum()


@pytest.mark.parametrize("fault", ["flux:0.2", "flux-drift:0.2"])
def test_the_photons_of_frames_follow_the_flux(fault):
    scan = faulty(fault)
    sums, ideal = (each.counts.sum((1, 2), dtype=float) for each in (scan, CLEAN))
    np.testing.assert_allclose(sums / ideal, scan.experiment.flux, rtol=0.01)
    assert scan.experiment.flux.std() > 0.1


def test_the_background_holds_its_fraction_of_the_photons():
    scan = faulty("background:0.1")
    assert scan.counts.sum() / CLEAN.counts.sum() == pytest.approx(1.1, rel=2e-3)
    added = (scan.counts.astype(float) - CLEAN.counts).mean(0)
    assert np.corrcoef(added.ravel(), scan.experiment.background.ravel())[0, 1] > 0.3
    assert scan.experiment.background.sum() == pytest.approx(0.1 * CLEAN.counts.sum() / 30, rel=2e-3)


def centres(scan):
    y, x = np.indices((32, 32)) - 16
    sums = scan.counts.sum((1, 2), dtype=float)
    return np.stack([(scan.counts * axis).sum((1, 2)) / sums for axis in (y, x)], 1)


def test_the_beam_moves_to_its_offset_and_over_the_scan():
    for scan in (faulty("beam-offset:2:-1.5"), faulty("descan:3"), faulty("beam-offset:1:1", "descan:2")):
        np.testing.assert_allclose(centres(scan) - centres(CLEAN), scan.experiment.beam_px, atol=0.15)


def test_a_wedge_moves_the_beam_and_belongs_to_the_sample():
    scan = faulty("ramp:2:-1")
    np.testing.assert_allclose(centres(scan) - centres(CLEAN), np.broadcast_to([2, -1], (30, 2)), atol=0.15)
    turns = np.angle(scan.truth * CLEAN.truth.conj() * (scan.truth * CLEAN.truth.conj())[0, 0].conj())
    assert turns[1, 0] == pytest.approx(2 * np.pi * 2 / 32, abs=1e-4)
    assert turns[0, 1] == pytest.approx(-2 * np.pi / 32, abs=1e-4)


def test_motion_is_recorded_and_keeps_the_photons():
    scan, still = faulty("motion:4", photons=1e8), faulty(photons=1e8)
    np.testing.assert_allclose(np.linalg.norm(scan.experiment.motion_px, axis=1), 4)
    assert scan.counts.mean() == pytest.approx(still.counts.mean(), rel=0.01)
    assert np.abs(scan.counts.astype(float) - still.counts).mean() > 0.015 * still.counts.mean()


def test_a_point_spread_blurs_every_frame():
    scan = faulty("point-spread:1")
    steps = [np.abs(np.diff(each.counts.astype(float), axis=2)).sum() for each in (scan, CLEAN)]
    assert steps[0] < 0.9 * steps[1]
    assert scan.counts.mean() == pytest.approx(CLEAN.counts.mean(), rel=0.02)


def test_bright_pixels_are_where_the_record_has_them():
    scan = faulty("hot-pixels:6", "cosmic-rays:9")
    extra = scan.counts.astype(float) - CLEAN.counts
    places = np.zeros_like(extra, bool)
    places[:, scan.experiment.hot_pixels[:, 0], scan.experiment.hot_pixels[:, 1]] = True
    places[tuple(scan.experiment.cosmic_rays.T)] = True
    assert not extra[~places].any() and (extra[places] > 0).mean() > 0.95
    assert scan.good.all()


def test_empty_and_repeated_frames_are_where_the_record_has_them():
    scan = faulty("empty-frames:0.1", "repeated-frames:0.1")
    true = scan.experiment
    assert len(true.empty_frames) == len(true.repeated_frames) == 3
    assert not scan.counts[true.empty_frames].any()
    np.testing.assert_array_equal(scan.counts[true.repeated_frames], scan.counts[true.repeated_frames - 1])
    others = np.setdiff1d(np.arange(30), [*true.empty_frames, *true.repeated_frames])
    np.testing.assert_array_equal(scan.counts[others], CLEAN.counts[others])


def test_the_limit_of_the_counters_is_met():
    scan = faulty("saturation:300")
    np.testing.assert_array_equal(scan.counts, np.minimum(CLEAN.counts, 300))


def test_one_fault_leaves_the_values_of_another_as_they_are():
    one, all_of_them = faulty("flux:0.1", "flux-drift:0.05"), faulty(*EVERY)
    np.testing.assert_array_equal(one.experiment.flux, all_of_them.experiment.flux)


def test_the_same_seed_gives_the_same_faults_and_another_seed_others():
    first, second, other = faulty(*EVERY), faulty(*EVERY), faulty(*EVERY, seed=1)
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_array_equal(first.positions_px, second.positions_px)
    assert not np.array_equal(first.experiment.drift_px, other.experiment.drift_px)


def test_batches_do_not_change_a_scan_with_faults(monkeypatch):
    whole = faulty(*EVERY)
    monkeypatch.setattr("ptypinn.data.simulation.BATCH_PIXELS", 7 * 32**2 * 3 * 6)
    np.testing.assert_array_equal(whole.counts, faulty(*EVERY).counts)


def assert_same_experiment(one: TrueExperiment, other: TrueExperiment):
    assert one.faults == other.faults and set(one.arrays()) == set(other.arrays())
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, other.arrays()[name])
        assert values.dtype == other.arrays()[name].dtype


def test_true_values_are_read_back_to_the_bit(tmp_path):
    scan = faulty(*EVERY)
    assert set(scan.experiment.arrays()) == set(UNITS) - {
        "slices",
        "slice_spacing_m",
        "sample_tilt_mrad",
    }  # of thick samples
    back = read_native(save(scan, tmp_path / "scan.h5"), LoadConfig())
    assert_same_experiment(back.experiment, scan.experiment)
    again = read_native(save(back, tmp_path / "again.h5"), LoadConfig(memory_budget_gib=1e-9))
    assert_same_experiment(again.experiment, scan.experiment)
    assert load(save(CLEAN, tmp_path / "clean.h5")).experiment is None
    assert read_native(tmp_path / "scan.h5", LoadConfig(crop_px=16)).experiment is None


def test_all_arrays_of_the_true_values_are_declared(tmp_path):
    scan = load(save(faulty("drift:3", "flux:0.1", "background:0.1"), tmp_path / "scan.h5"))
    assert scan.experiment is not None and scan.experiment.flux is not None
    assert not scan.provenance.get("unread")


def test_a_part_of_the_scan_has_its_part_of_the_true_values():
    scan, index = faulty(*EVERY), np.array([1, 4, 5, 9, 20, 21, 22, 29])
    part = scan.subset(index)
    for name in PER_FRAME:
        np.testing.assert_array_equal(getattr(part.experiment, name), getattr(scan.experiment, name)[index])
    for name in ("empty_frames", "repeated_frames"):
        frames = index[getattr(part.experiment, name)]
        np.testing.assert_array_equal(frames, np.intersect1d(index, getattr(scan.experiment, name)))
    whole = {tuple(hit) for hit in scan.experiment.cosmic_rays if hit[0] in index}
    assert {(index[j], y, x) for j, y, x in part.experiment.cosmic_rays} == whole
    assert scan.replace(counts=scan.counts[:8], positions_px=scan.positions_px[:8]).experiment is None


def test_the_probe_of_a_frame_has_its_aberrations():
    scan = faulty("probe-variation:1")
    one, other = scan.experiment.probe_of(0), scan.experiment.probe_of(29)
    assert np.linalg.norm(one - other) > 0.1 * np.linalg.norm(one)
    assert (abs(one) ** 2).sum() == pytest.approx((abs(scan.experiment.probe) ** 2).sum(), rel=1e-5)
    assert np.abs(scan.experiment.aberrations_rad).max() == pytest.approx(1)
    assert CLEAN.probe is not None and faulty("flux:0.1").experiment.probe_of(3) is not None


def test_info_names_the_simulated_faults():
    result = json.loads(json.dumps(info(faulty("drift:8", "beam-offset:3:0")).to_dict()))
    assert result["simulated_faults"] == {"drift": 8.0, "beam_offset": [3.0, 0.0]}
    assert info(CLEAN).to_dict()["simulated_faults"] is None
