"""Laws of simulated scans: dose, determinism, detector, geometry."""

import dataclasses
import importlib
import json

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from ptypinn.config.shared import default_of
from ptypinn.config.simulate import PROBE_FIELDS, SimulateConfig
from ptypinn.data.simulation import draw_positions, draw_probe
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.stages.simulate import simulate

SMALL = SimulateConfig(object_size=(96, 80), size=32, n_patterns=30, pupil_radius=0.5, defocus_waves=0.6)


def small(**changes):
    """The small scan with changes; the shape of its zone plate goes with another kind of probe."""
    if changes.get("probe", SMALL.probe) != SMALL.probe:
        changes = {**{name: default_of(SimulateConfig, name) for name in PROBE_FIELDS[SMALL.probe]}, **changes}
    return dataclasses.replace(SMALL, **changes)


def transmitted(scan, positions):
    """Photons behind the sample, sum |P O|^2, of every pattern with integer positions."""
    size, (height, width) = scan.size, scan.truth.shape
    assert (positions >= 0).all() and (positions + size <= [height, width]).all()
    windows = np.lib.stride_tricks.sliding_window_view(np.abs(scan.truth.astype(complex)) ** 2, (size, size))
    patches = windows[tuple(positions.astype(int).T)]
    return (patches * (np.abs(scan.probe.astype(complex)) ** 2).sum(0)).sum((1, 2))


def test_the_same_seed_gives_the_same_scan_and_another_seed_another():
    first, second, other = simulate(small(seed=3)), simulate(small(seed=3)), simulate(small(seed=4))
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_array_equal(first.positions_px, second.positions_px)
    np.testing.assert_array_equal(first.truth, second.truth)
    assert not np.array_equal(first.truth, other.truth)
    assert not np.array_equal(first.positions_px, other.positions_px)


def test_the_noise_and_the_sample_have_seeds_of_their_own():
    base, noise, sample = simulate(small()), simulate(small(noise_seed=9)), simulate(small(object_seed=9))
    np.testing.assert_array_equal(base.truth, noise.truth)
    np.testing.assert_array_equal(base.positions_px, noise.positions_px)
    assert not np.array_equal(base.counts, noise.counts)
    assert not np.array_equal(base.truth, sample.truth)
    np.testing.assert_array_equal(base.positions_px, sample.positions_px)


@pytest.mark.parametrize("photons", [1e2, 1e4, 1e6, 1e10])
@pytest.mark.parametrize("probe", ["zone_plate", "disk", "gaussian"])
def test_every_pattern_holds_the_photons_that_the_sample_transmits(photons, probe):
    shape = {} if probe == "zone_plate" else {"probe_diameter_px": 10.0}
    config = small(photons=photons, probe=probe, integer_positions=True, **shape)
    scan = simulate(config)
    assert np.sum(np.abs(scan.probe.astype(complex)) ** 2) == pytest.approx(photons, rel=1e-6)
    expected, measured = transmitted(scan, scan.positions_px), scan.counts.sum((1, 2), dtype=np.float64)
    assert np.abs(measured - expected).max() < 5 * np.sqrt(expected.max()) + 1e-6 * expected.max()
    note = scan.provenance
    assert note["photons_expected"] == pytest.approx(expected.mean(), rel=1e-6)
    assert note["photons_measured"] == pytest.approx(measured.mean(), rel=1e-12)


def test_incoherent_modes_add_up_to_the_same_dose():
    scan = simulate(small(mode_fractions=(0.7, 0.2, 0.1), integer_positions=True))
    assert scan.probe.shape[0] == 3
    expected = transmitted(scan, scan.positions_px)
    assert np.abs(scan.counts.sum((1, 2)) - expected).max() < 5 * np.sqrt(expected.max())


def test_the_order_of_a_pattern_is_that_of_an_empty_sample():
    scan = simulate(small(amplitude_range=(1.0, 1.0), phase_range=(0.0, 0.0), photons=1e8))
    pupil = np.abs(np.fft.fftshift(np.fft.fft2(scan.probe[0], norm="ortho"))) ** 2
    np.testing.assert_allclose(scan.counts.mean(0), pupil, atol=1e-3 * pupil.max())


@pytest.mark.parametrize("photons", [1e6, 1e10])
def test_counts_take_the_smallest_type_that_holds_them(photons):
    spot = {"probe": "disk", "probe_diameter_px": 30.0, "n_patterns": 4, "phase_range": (0.0, 0.0)}
    scan = simulate(small(photons=photons, amplitude_mean=2.7, amplitude_range=(1.0, 1.0), **spot))
    brightest = int(scan.counts.max())
    assert brightest > (2**16 if photons == 1e6 else 2**32)
    assert scan.counts.dtype == (np.uint32 if photons == 1e6 else np.uint64)
    field = np.fft.fft2(scan.truth[0, 0] * scan.probe[0].astype(complex), norm="ortho")
    assert brightest == pytest.approx(np.abs(field).max() ** 2, abs=5 * brightest**0.5)
    assert simulate(small()).counts.dtype == np.uint16


def test_batches_do_not_change_the_counts(monkeypatch):
    whole = simulate(SMALL)
    monkeypatch.setattr(importlib.import_module("ptypinn.data.simulation"), "BATCH_PIXELS", 7 * 32**2)
    reports = []
    parts = simulate(SMALL, progress=lambda stage, done, total, **figures: reports.append((stage, done, total)))
    np.testing.assert_array_equal(whole.counts, parts.counts)
    assert reports[0] == ("simulate", 7, 30) and reports[-1] == ("simulate", 30, 30)


def test_a_detector_saturates_and_has_dead_pixels():
    ideal, real = simulate(SMALL), simulate(small(saturation=500.0, dead_pixels=25))
    assert ideal.counts.max() > 500 == real.counts.max()
    assert (~real.good).sum() == 25 and not real.counts[:, ~real.good].any()
    np.testing.assert_array_equal(real.counts[:, real.good], np.minimum(ideal.counts, 500)[:, real.good])
    assert real.provenance["saturated_fraction"] == pytest.approx((ideal.counts > 500).mean())


@pytest.mark.parametrize("kind", ["raster", "jittered_raster", "fermat", "uniform"])
@pytest.mark.parametrize("number", [None, 40])
def test_the_scan_stays_inside_the_object_with_its_buffer(kind, number):
    config = small(scan=kind, n_patterns=number, buffer_px=5)
    positions, recorded = draw_positions(config)
    assert torch.equal(positions, recorded)
    assert positions.min() >= 5
    assert (positions + 32 <= torch.tensor([96 - 5, 80 - 5])).all()


@pytest.mark.parametrize("overlap", [0.5, 0.7, 0.85])
@pytest.mark.parametrize("kind", ["raster", "jittered_raster", "fermat"])
def test_the_overlap_asked_for_is_met(kind, overlap):
    config = small(scan=kind, n_patterns=None, overlap=overlap, object_size=(130, 120), jitter_px=0.0)
    positions = draw_positions(config)[0].numpy()
    nearest = np.median(cKDTree(positions).query(positions, k=2)[0][:, 1])
    assert 1 - nearest / equivalent_diameter(draw_probe(config)) == pytest.approx(overlap, abs=0.03)
    assert simulate(config).provenance["overlap"] == pytest.approx(overlap, abs=0.03)


def test_integer_positions_are_whole_and_fractional_ones_are_not():
    assert torch.equal(*(draw_positions(small(integer_positions=True))[0].frac(), torch.zeros(30, 2)))
    assert draw_positions(SMALL)[0].frac().count_nonzero() > 50


def test_recorded_positions_differ_from_the_true_ones_by_the_error_asked_for():
    config = small(position_error_px=1.5, object_size=(160, 160), n_patterns=200)
    true, recorded = draw_positions(config)
    assert (recorded - true).std() == pytest.approx(1.5, rel=0.12)
    scan, exact = simulate(config), simulate(small(object_size=(160, 160), n_patterns=200, buffer_px=6))
    np.testing.assert_array_equal(scan.positions_px, recorded.numpy())
    np.testing.assert_allclose(exact.positions_px, true.numpy())
    np.testing.assert_array_equal(scan.counts, exact.counts)


def test_units_are_consistent():
    scan = simulate(SMALL)
    pixel = scan.wavelength_m * scan.detector_distance_m / (scan.size * scan.detector_pixel_m)
    assert scan.pixel_size_m == pytest.approx(pixel)
    assert 1e-9 < pixel < 1e-6
    assert scan.probe_gauge == "calibrated"
    # The rim of the cone, lambda / (2 dr) times the distance, lies at its share of the detector's half-width.
    rim = scan.wavelength_m / (2 * scan.provenance["zone_plate"]["outermost_zone_m"]) * scan.detector_distance_m
    assert rim == pytest.approx(0.5 * scan.size / 2 * scan.detector_pixel_m)


def test_provenance_says_how_to_make_the_scan_again():
    scan = simulate(small(mode_fractions=(0.8, 0.2)))
    note = json.loads(json.dumps(dict(scan.provenance), allow_nan=False))
    again = simulate(SimulateConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in note["config"].items()}))
    np.testing.assert_array_equal(scan.counts, again.counts)


def test_the_amplitude_may_exceed_one():
    scan = simulate(small(amplitude_mean=2.7, phase_range=(0.0, 0.0)))
    assert np.abs(scan.truth).mean() == pytest.approx(2.7, rel=1e-5)
    assert not scan.truth.imag.any()
    assert scan.provenance["photons_measured"] == pytest.approx(1e6 * 2.7**2, rel=0.1)


def test_phase_and_amplitude_may_have_textures_of_their_own():
    same, own = simulate(SMALL), simulate(small(phase_texture="independent"))
    np.testing.assert_allclose(np.abs(same.truth), np.abs(own.truth), rtol=1e-6)
    assert abs(np.corrcoef(np.abs(same.truth).ravel(), np.angle(same.truth).ravel())[0, 1]) > 0.99
    assert abs(np.corrcoef(np.abs(own.truth).ravel(), np.angle(own.truth).ravel())[0, 1]) < 0.5


def test_a_simulated_scan_survives_its_file_and_lends_its_probe(tmp_path):
    scan = simulate(small(dead_pixels=3, mode_fractions=(0.9, 0.1)))
    path = save(scan, tmp_path / "scan.h5")
    read = load(path)
    np.testing.assert_array_equal(read.counts[:], scan.counts)
    np.testing.assert_array_equal(read.truth, scan.truth)
    borrowed = simulate(small(probe="file", probe_file=str(path), photons=1e4))
    np.testing.assert_allclose(borrowed.probe, scan.probe / 10, rtol=1e-5, atol=1e-5 * np.abs(scan.probe).max())


def test_a_probe_of_another_size_is_refused(tmp_path):
    np.save(tmp_path / "probe.npy", np.ones((16, 16), np.complex64))
    with pytest.raises(InputError, match=r"shape \(1, 16, 16\), expected \(modes, 32, 32\)"):
        simulate(small(probe="file", probe_file=str(tmp_path / "probe.npy")))


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"object_size": (31, 64)}, "--object-size"),
        ({"buffer_px": 40}, "--object-size"),
        ({"overlap": 0.5}, "--n-patterns"),
        ({"n_patterns": None, "overlap": 1.0}, "--overlap"),
        ({"n_patterns": 0}, "--n-patterns"),
        ({"photons": 0.0}, "--photons"),
        ({"mode_fractions": (1.0, 0.0)}, "--mode-fractions"),
        ({"probe": "file"}, "--probe-file"),
        ({"probe_file": "x.npy"}, "--probe-file"),
        ({"size": 33}, "--size"),
        ({"amplitude_mean": -1.0}, "--amplitude-mean"),
        ({"dead_pixels": 1024}, "--dead-pixels"),
        ({"saturation": 0.0}, "--saturation"),
        ({"central_stop": 1.3}, "--central-stop"),
        ({"object": "natural", "feature_px": 2.0}, "--feature-px"),
        ({"energy_eV": 0.0}, "--energy-eV"),
        ({"position_error_px": -1.0}, "--position-error-px"),
        ({"noise_seed": -1}, "--noise-seed"),
    ],
)
def test_contradictions_are_refused_by_the_name_of_the_flag(changes, flag):
    with pytest.raises(InputError, match=flag):
        small(**changes)


def test_a_scan_without_end_is_refused():
    with pytest.raises(InputError, match="patterns"):
        simulate(small(n_patterns=None, step_px=1e-9))


def test_an_unknown_photograph_is_refused():
    with pytest.raises(InputError, match="--image"):
        simulate(small(object="natural", image="nobody"))


def test_near_field_images_are_shadows_of_the_sample_and_know_their_geometry(tmp_path):
    config = SimulateConfig(
        size=64,
        object_size=(118, 118),
        n_patterns=40,
        probe="disk",
        probe_diameter_px=30.0,
        photons=1e7,
        focus_distance_m=4e-3,
        detector_pixel_m=55e-6,
    )
    scan = simulate(config)
    assert scan.provenance["near_field"]["magnification"] == pytest.approx(251.0)
    assert scan.pixel_size_m == pytest.approx(55e-6 / 251)
    again = load(save(scan, tmp_path / "scan.h5"))
    assert again.fresnel_number == scan.fresnel_number
    fit = compute_data_fit(again, scan.truth, scan.probe, scan.positions_px)
    assert fit.misfit == pytest.approx(1, abs=0.02)
    with pytest.raises(InputError, match="--focus-distance-m: found together with --faults drift:3"):
        dataclasses.replace(config, faults=("drift:3",))
    with pytest.raises(InputError, match=r"geometry: found .* of propagation in 64 pixels"):
        simulate(dataclasses.replace(config, detector_pixel_m=1e-6))


def test_a_monitor_is_recorded_beside_empty_frames():
    options = {"size": 32, "object_size": (72, 72), "n_patterns": 64}
    scan = simulate(SimulateConfig(**options, faults=("flux:0.1", "empty-frames:0.2"), monitor=True))
    assert scan.flux is not None
    record = scan.provenance["monitor"]
    assert record["applied"]
    assert record["slope"] == pytest.approx(1, abs=0.2)
