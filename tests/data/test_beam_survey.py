"""The bright-field disk and the tilted images of electron scans show semi-angle, defocus, astigmatism and rotation."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

import ptypinn as pp
from ptypinn.data.beam_survey import survey_beam
from ptypinn.data.bright_field import fit_bright_field, pixel_angle_rad
from ptypinn.data.probe_candidates import PROBE_ESTIMATE, ProbeOptics
from ptypinn.data.scan_rotation import straighten_scan
from ptypinn.report.figures.scan import info_figure
from ptypinn.report.text.scan import info_lines
from ptypinn.solvers.direct_images import form_direct_images
from ptypinn.solvers.probe_search import _measure_lens, find_probe
from ptypinn.stages.info import info

SIZE, PIXEL_M, RADIUS_PX = 64, 0.4e-10, 12.0


def lens_probe(defocus_waves, astigmatism_waves=0.0):
    """A sharp aperture with aberrations in waves at its rim; a sample downstream of the focus for positive defocus."""
    axis = np.fft.fftfreq(SIZE) * SIZE / RADIUS_PX
    y, x = axis[:, None], axis
    waves = -defocus_waves * (y**2 + x**2) + astigmatism_waves * (y**2 - x**2)
    pupil = (np.hypot(y, x) <= 1) * np.exp(2j * np.pi * waves)
    return np.fft.fftshift(np.fft.ifft2(pupil)).astype(np.complex64)[None]


def electron_scan(folder, defocus_waves, astigmatism_waves=0.0, turn=None, with_truth=False, **options):
    """A scan of a weak phase object at 300 keV, its positions turned by a matrix afterwards."""
    np.save(path := folder / "probe.npy", lens_probe(defocus_waves, astigmatism_waves))
    sample = {"object": "dead_leaves", "phase_range": (0.0, 0.4), "amplitude_range": (1.0, 1.0)}
    grid = {"scan": "raster", "step_px": 4.0, "size": SIZE, "object_size": (200, 200), "photons": 2e4, "seed": 3}
    scan = pp.simulate(pp.SimulateConfig(probe="file", probe_file=str(path), **{**sample, **grid, **options}))
    places = scan.positions_px if turn is None else scan.positions_px @ np.asarray(turn).T
    return scan.replace(
        particle="electron",
        energy_eV=300e3,
        pixel_size_m=PIXEL_M,
        detector_distance_m=None,
        detector_pixel_m=None,
        positions_px=places - places.min(0),
        truth=scan.truth if with_truth else None,
        experiment=None,
        probe=None,
    )


def rim_waves_to_metres(scan, waves):
    """Defocus of some waves at the rim: `2 waves wavelength / semi-angle^2`."""
    return 2 * waves * scan.wavelength_m / (RADIUS_PX * pixel_angle_rad(scan)) ** 2


def survey(scan):
    return survey_beam(scan, scan.counts[:].mean(0).astype(float))


@pytest.mark.parametrize("waves", [3.0, -2.5])
def test_semi_angle_and_defocus_come_out_in_metres(tmp_path, waves):
    scan = electron_scan(tmp_path, waves)
    beam = survey(scan)
    assert beam.semi_angle_mrad == pytest.approx(1e3 * RADIUS_PX * pixel_angle_rad(scan), rel=0.015)
    expected = rim_waves_to_metres(scan, waves)
    assert beam.defocus_m == pytest.approx(expected, rel=0.02)
    assert abs(beam.defocus_m - expected) < 4 * beam.defocus_error_m + 0.01 * abs(expected)
    assert abs(beam.shifts.rotation_deg) < 0.5
    assert not beam.warnings()


def test_astigmatism_comes_out_beside_defocus(tmp_path):
    scan = electron_scan(tmp_path, 4.0, 0.6)
    beam = survey(scan)
    assert beam.defocus_m == pytest.approx(rim_waves_to_metres(scan, 4.0), rel=0.03)
    assert beam.astigmatism_m == pytest.approx(rim_waves_to_metres(scan, 0.6), rel=0.15)


@pytest.mark.parametrize(("degrees", "hand"), [(2.5, 1), (-5.0, 1), (7.5, 1), (20.0, 1), (-33.0, 1), (12.0, -1)])
def test_rotation_and_hand_of_the_scan_are_named(tmp_path, degrees, hand):
    """Recorded positions are the true ones turned, and mirrored for the other hand."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1, hand])
    beam = survey(electron_scan(tmp_path, 3.0, turn=turn))
    assert beam.shifts.is_mirrored == (hand < 0)
    assert abs(beam.shifts.rotation_deg) == pytest.approx(abs(degrees), abs=0.4)
    assert np.sign(beam.shifts.rotation_deg) == np.sign(degrees)
    warnings = " ".join(beam.warnings())
    assert beam.is_turned or abs(degrees) < 5 or beam.hand_is_open
    assert ("turned by" in warnings) == beam.is_turned
    assert ("other hand" in warnings) == (hand < 0)


@pytest.mark.parametrize(
    ("matrix", "options"),
    [
        (((0, 1), (1, 0)), {"transpose_positions": True}),
        (((1, 0), (0, -1)), {"flip_positions": "y"}),
        (((0, -1), (1, 0)), {"transpose_positions": True, "flip_positions": "y"}),
    ],
)
@pytest.mark.parametrize("waves", [0.2, 3.0])
def test_axes_that_are_flipped_or_exchanged_are_named_with_the_options_that_undo_it(tmp_path, matrix, options, waves):
    """Near the focus by the deflection alone; up to half a turn, which none of this settles."""
    scan = electron_scan(tmp_path, waves, turn=matrix, photons=2e5)
    beam = survey(scan)
    assert (beam.shifts is None) == (waves < 1)
    warnings = " ".join(beam.warnings())
    named = {"transpose_positions": "--transpose-positions", "flip_positions": "--flip-positions y"}
    assert [option in warnings for option in named.values()] == [name in options for name in named]
    path = pp.save(scan, tmp_path / "scan.h5")
    assert not survey(pp.load(path, pp.LoadConfig(**options))).warnings()


@pytest.mark.parametrize(("waves", "astigmatism"), [(0.8, 2.2), (0.1, 2.5)])
def test_an_astigmatism_that_exceeds_the_defocus_is_not_taken_for_a_mirrored_scan(tmp_path, waves, astigmatism):
    scan = electron_scan(tmp_path, waves, astigmatism, photons=2e5)
    beam = survey(scan)
    assert beam.to_record()["scan_is_mirrored"] is not True
    assert not beam.is_turned
    if beam.hand_is_open:
        assert "unless the lens has more astigmatism than defocus" in " ".join(beam.warnings())
        with pytest.warns(UserWarning, match="more astigmatism than defocus"):
            assert straighten_scan(scan)[0] is scan
    else:
        assert straighten_scan(scan)[0] is scan


@pytest.mark.parametrize("number", [1, 2, 3])
def test_scans_of_few_patterns_show_the_disk_alone(tmp_path, number):
    scan = electron_scan(tmp_path, 3.0)
    beam = info(scan.subset(np.arange(number))).beam
    assert beam.shifts is None and beam.semi_angle_mrad > 0
    assert straighten_scan(scan.subset(np.arange(number)))[0].n_patterns == number


def sample_phase(scan, images, step):
    """The true phase, relative to its mean, blurred to the grid of a picture and read at its points."""
    y, x = (np.arange(length) * step + SIZE // 2 for length in images.shape)
    smooth = gaussian_filter(np.angle(scan.truth), step)
    values = map_coordinates(smooth, np.meshgrid(y, x, indexing="ij"), order=1)
    return values - values.mean()


def correlate(one, other):
    middle = np.s_[one.shape[0] // 6 : -one.shape[0] // 6, one.shape[1] // 6 : -one.shape[1] // 6]
    return np.corrcoef(one[middle].ravel(), other[middle].ravel())[0, 1]


def test_pictures_show_the_sample_before_anything_is_solved(tmp_path):
    scan = electron_scan(tmp_path, 3.0, with_truth=True)
    beam = survey(scan)
    images = form_direct_images(beam.tilted, beam.shifts, beam.orientation.turn, SIZE)
    phase = sample_phase(scan, images.phase, images.step_px)
    assert correlate(images.phase - gaussian_filter(images.phase, 6), phase - gaussian_filter(phase, 6)) > 0.6
    fine = sample_phase(scan, images.tilt_corrected, images.fine_step_px)
    assert images.tilt_corrected.shape == tuple(3 * length for length in images.phase.shape)
    detail = fine - gaussian_filter(fine, 3)
    assert abs(correlate(images.tilt_corrected - gaussian_filter(images.tilt_corrected, 3), detail)) > 0.4
    blurred = sample_phase(scan, images.bright_field, images.step_px)
    assert abs(correlate(images.bright_field, blurred)) < 0.3


def test_the_plot_of_info_has_the_pictures(tmp_path):
    for waves, corrected in ((3.0, True), (0.2, False)):
        look = info(electron_scan(tmp_path, waves))
        titles = [axes.get_title() for axes in info_figure(look).axes]
        assert "Bright field" in titles and "Phase from the deflection, rad" in titles
        assert ("Bright field, tilts corrected" in titles) == corrected


def test_near_the_focus_and_of_few_positions_no_defocus_is_stated(tmp_path):
    near = survey(electron_scan(tmp_path, 0.2))
    assert near.shifts is None
    assert near.semi_angle_mrad > 0
    few = survey(electron_scan(tmp_path, 3.0, step_px=20.0))
    assert few.shifts is None
    assert "too few positions" in dict(few.describe())["defocus"]


@given(
    radius=st.floats(5, 24),
    y=st.floats(-4, 4),
    x=st.floats(-4, 4),
    scattered=st.floats(0, 0.15),
    seed=st.integers(0, 99),
)
def test_a_disk_is_measured_to_a_fraction_of_a_pixel(radius, y, x, scattered, seed):
    """Every pixel averages the disk over its area; scattered electrons surround it."""
    fine = (np.arange(64 * 8) + 0.5) / 8 - 32.5
    disk = np.hypot(fine[:, None] - y, fine - x) < radius
    axis = np.arange(64) - 32
    halo = scattered * np.exp(-(axis[:, None] ** 2 + axis**2) / 30**2)
    mean = disk.reshape(64, 8, 64, 8).mean((1, 3)) + halo
    counts = np.random.default_rng(seed).poisson(1000 * mean)
    good = np.ones((64, 64), bool)
    good[3, 40] = good[50, 9] = False
    fit = fit_bright_field(counts / 1000, good)
    assert fit.radius_px == pytest.approx(radius, abs=0.1 + 0.01 * radius)
    assert np.hypot(fit.centre_px[0] - y, fit.centre_px[1] - x) < 0.15


def test_cones_with_a_stop_and_speckle_have_no_disk():
    axis = np.arange(64) - 32
    distance = np.hypot(axis[:, None], axis)
    good = np.ones((64, 64), bool)
    assert fit_bright_field(1.0 * ((distance < 20) & (distance > 12)), good) is None
    assert fit_bright_field(np.random.default_rng(0).exponential(np.exp(-distance / 8)), good) is None
    assert fit_bright_field(np.zeros((64, 64)), good) is None


def test_info_prints_the_beam_of_electrons_alone(tmp_path):
    scan = electron_scan(tmp_path, 3.0)
    text = "\n".join(info_lines(look := info(scan)))
    assert "Beam" in text and "mrad" in text and "downstream of the focus" in text
    record = json.loads(json.dumps(look.to_dict()))["beam"]
    assert record["defocus_m"] > 0 and record["scan_is_mirrored"] is False
    photons = dataclasses.replace(scan, particle="photon")
    assert info(photons).beam is None


def test_a_probe_starts_at_the_defocus_that_tilted_images_show(tmp_path):
    scan = electron_scan(tmp_path, 3.0, object_size=(150, 150))
    started = find_probe(scan, ProbeOptics(), torch.device("cpu"))
    record = started.provenance[PROBE_ESTIMATE]
    assert record["model"] == "lens"
    assert record["trials"] > 1  # the usual ones are tried beside it
    assert record["defocus_m"] == pytest.approx(rim_waves_to_metres(scan, 3.0), rel=0.05)
    true, ours = lens_probe(3.0)[0], started.probe[0]
    overlap = np.abs(np.fft.ifft2(np.fft.fft2(true) * np.conj(np.fft.fft2(ours)))).max()
    assert overlap / (np.linalg.norm(true) * np.linalg.norm(ours)) > 0.9


def test_a_defocus_is_measured_for_a_lens_of_given_angle_and_not_where_one_is_given(tmp_path):
    scan = electron_scan(tmp_path, 3.0)
    mean = scan.counts[:].mean(0).astype(float)
    lens = _measure_lens(scan, mean, ProbeOptics("lens", pupil_radius=0.375))
    assert lens.pupil_radius == 0.375
    assert lens.edge_waves * (RADIUS_PX / (SIZE / 2)) ** 2 == pytest.approx(-3.0, rel=0.05)
    for optics in (ProbeOptics("lens", edge_waves=1.0), ProbeOptics("aperture")):
        assert _measure_lens(scan, mean, optics) is None


@pytest.mark.parametrize("places", ["diagonal", "two"])
def test_positions_along_a_line_show_the_disk_alone(tmp_path, places):
    scan = electron_scan(tmp_path, 3.0)
    along = np.arange(scan.n_patterns) * 0.1 if places == "diagonal" else np.arange(scan.n_patterns) % 2
    beam = info(scan.replace(positions_px=np.stack([along, along], 1).astype(float))).beam
    assert beam.semi_angle_mrad > 0
    assert beam.shifts is None
    assert beam.tilted is None


def test_bad_pixels_may_hold_anything_and_do_not_shrink_the_disk(tmp_path):
    scan = electron_scan(tmp_path, 3.0)
    cross, counts = np.ones((SIZE, SIZE), bool), scan.counts[:].astype(np.float32)
    cross[31:33] = cross[:, 31:33] = False
    counts[:, ~cross] = np.nan
    whole, masked = info(scan).beam, info(scan.replace(counts=counts, mask=cross)).beam
    assert masked.disk.radius_px == pytest.approx(whole.disk.radius_px, rel=0.01)
    assert masked.defocus_m == pytest.approx(whole.defocus_m, rel=0.02)
    assert np.isfinite(masked.tilted.images).all()


def test_lengths_stay_open_where_the_pixel_is_unknown(tmp_path):
    beam = survey(electron_scan(tmp_path, 3.0).replace(pixel_size_m=None))
    assert beam.semi_angle_mrad is None and beam.defocus_m is None
    labels = dict(beam.describe())
    assert "defocus" not in labels and "scan rotation" in labels
