"""The bright-field disk of electron scans moves with the scan position: how far, and everything else as without."""

import dataclasses

import numpy as np
import pytest

import ptypinn as pp
from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.data.beam_centre import flatten_curvature, mean_pattern, move_beam_behind
from ptypinn.data.beam_survey import survey_beam
from ptypinn.data.bright_field import fit_bright_field, form_images
from ptypinn.data.descan import DESCAN, Descan, measure_descan
from ptypinn.data.scan_rotation import follow_disk, repeat_path
from ptypinn.metrics.beam import measure_beam
from ptypinn.metrics.comparison import compare
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.solvers.unrolled.reconstruct import _flatten_draft
from ptypinn.stages.evaluate import experiment_warnings
from ptypinn.stages.info import info
from ptypinn.stages.refine import refine

MICROSCOPE = {"particle": "electron", "energy_eV": 300e3, "detector_distance_m": 0.1, "probe": "lens"}
SAMPLE = {"object": "dead_leaves", "amplitude_range": (1.0, 1.0), "scan": "raster", "object_size": (136, 136)}
SHORT = {"probe_rounds": 8, "rounds": 8, "threads": 1, "positions": "recorded"}


def electron_scan(size_px, phase=0.6, photons=2e4, seed=3, **options):
    """A scan whose disk moves by some pixels; 0 for one that stands still."""
    faults = [f"descan-linear:{size_px}"] if size_px else []
    lens = {"convergence_mrad": 9.0, "defocus_m": 60e-9, "step_px": 4.0, "seed": seed, "photons": photons}
    config = pp.SimulateConfig(**{**MICROSCOPE, **SAMPLE, **lens, **options}, phase_range=(0.0, phase), faults=faults)
    return pp.simulate(config)


@pytest.fixture(scope="module")
def still():
    return electron_scan(0)


@pytest.fixture(scope="module")
def moving():
    return electron_scan(3)


def measure(scan):
    return measure_descan(scan, fit_bright_field(mean_pattern(scan), scan.good))


def true_path(scan):
    path = scan.experiment.beam_px
    return path - path.mean(0)


@pytest.mark.parametrize(("size", "phase", "photons"), [(1, 0.6, 2e4), (3, 0.6, 1e3), (3, 2.0, 2e4), (10, 1.0, 1e4)])
def test_the_size_of_the_motion_is_found_with_its_error(size, phase, photons):
    scan = electron_scan(size, phase, photons, seed=size)
    descan, disk = measure(scan)
    assert descan.is_large
    assert descan.size_px == pytest.approx(size, rel=0.2)
    assert abs(descan.size_px - size) < 4 * descan.error_px
    rest = descan.path_px(scan.positions_px) - true_path(scan)
    assert np.hypot(*rest.T).max() < 6 * descan.error_px
    assert disk.radius_px == pytest.approx(11.85, abs=0.1)


@pytest.mark.parametrize("phase", [0.6, 2.0])
def test_a_disk_that_stands_still_is_left_alone(phase):
    scan = electron_scan(0, phase)
    assert not measure(scan)[0].is_large
    same, disk = follow_disk(scan)
    assert same is scan
    assert disk.motion[0].size_px == measure(scan)[0].size_px
    assert survey_beam(scan, mean_pattern(scan)).warnings() == []


def test_bad_pixels_on_the_rim_do_not_hide_the_motion(moving):
    bad = np.zeros((moving.size, moving.size), bool)
    bad[:, 36:40], bad[40:46] = True, True
    counts = np.where(bad, 60000, moving.counts[:]).astype(np.uint16)
    descan, _ = measure(moving.replace(counts=counts, mask=~bad))
    assert descan.size_px == pytest.approx(3, rel=0.1)


def test_scans_of_photons_or_few_positions_show_none(moving):
    photons = moving.replace(particle="photon")
    assert follow_disk(photons) == (photons, None)
    few = moving.subset(np.arange(40))
    assert measure(few) is None
    known = moving.replace(beam_px=true_path(moving))
    assert follow_disk(known) == (known, None)


def test_the_survey_holds_while_the_disk_moves(still, moving):
    """Tilted images follow the disk: defocus, rotation and semi-angle are those of the scan that stands still."""
    one, other = (survey_beam(scan, mean_pattern(scan)) for scan in (still, moving))
    assert other.disk.radius_px == pytest.approx(one.disk.radius_px, abs=0.1)
    assert other.defocus_m == pytest.approx(60e-9, abs=2 * one.defocus_error_m)
    assert abs(other.turn_deg) < 2
    assert not other.is_turned
    record = other.to_record()["descan"]
    assert record["size_px"] == pytest.approx(3, rel=0.2)
    assert record["size_mrad"] == pytest.approx(1e3 * record["size_px"] * other.pixel_angle_rad)
    assert any("descan" in warning and "--beam still" in warning for warning in other.warnings())
    label = dict(other.describe())["descan"]
    assert "mrad, over the scan" in label
    assert "not significant" in dict(one.describe())["descan"]


def test_images_of_a_known_motion_are_those_without_it(still, moving):
    disk = fit_bright_field(mean_pattern(still), still.good)
    known = moving.replace(beam_px=true_path(moving))
    reference = form_images(still.replace(beam_px=np.zeros((still.n_patterns, 2))), disk)
    images, blind = form_images(known, disk), form_images(moving, disk)
    noise = 1 / np.sqrt(reference.counts.mean())
    left, unseen = (np.std(one.images - reference.images) for one in (images, blind))
    assert left < 1.2 * noise
    assert unseen > 1.2 * left  # which is counting noise


def test_the_mean_pattern_follows_a_known_motion(still, moving):
    known = moving.replace(beam_px=true_path(moving) + np.array([4.0, -2.0]))
    distances = [np.abs(mean_pattern(scan) - mean_pattern(still)).sum() for scan in (known, moving)]
    assert distances[0] < 0.6 * distances[1]


def test_a_motion_beside_the_known_one_is_measured(moving):
    import torch

    known = moving.replace(beam_px=true_path(moving))
    assert measure_beam(known, torch.device("cpu")).rms_px < 0.25 * measure_beam(moving, torch.device("cpu")).rms_px


def test_an_offset_is_put_behind_a_thick_sample_beside_the_motion(moving):
    known = moving.replace(beam_px=true_path(moving))
    counts = np.roll(moving.counts[:], 2, axis=1)
    behind, offset = move_beam_behind(known.replace(counts=counts))
    assert offset.y_px == pytest.approx(2, abs=0.2)
    np.testing.assert_allclose(behind.beam_px - [offset.y_px, offset.x_px], true_path(moving), atol=1e-12)


@pytest.fixture(scope="module")
def solved(moving):
    return pp.reconstruct(moving, config=ReconstructConfig(**SHORT))


def error_of(recon, scan):
    comparison = compare(recon, scan, None, EvaluateConfig())
    image, truth, mask = comparison.alignment.image, comparison.reference, comparison.alignment.mask
    return np.sqrt(np.mean(np.abs(image - truth)[mask] ** 2))


def test_a_moving_disk_costs_little_of_the_object(solved, moving, still):
    config = ReconstructConfig(**SHORT)
    assert error_of(solved, moving) < 1.5 * error_of(pp.reconstruct(still, config=config), still)
    blind = pp.reconstruct(moving, config=dataclasses.replace(config, beam="still"))
    assert error_of(blind, moving) > 3 * error_of(solved, moving)


def test_what_was_done_is_on_record(solved, moving):
    assert solved.provenance["scan"][DESCAN]["size_px"] == pytest.approx(3, rel=0.2)
    assert any("bright-field disk moves with the scan position" in line for line in experiment_sentences(solved))
    assert "descan" in info(moving).to_dict()["beam"]


def test_refining_goes_on_with_the_motion(solved, moving):
    assert repeat_path(moving, solved).beam_px is solved.beam_px
    refined = refine(moving, RefineConfig(iterations=5), initial=solved)
    assert error_of(refined, moving) < 1.3 * error_of(solved, moving)
    bare = dataclasses.replace(solved, provenance={})
    assert repeat_path(moving, bare) is moving


def test_a_curved_sample_of_a_moving_disk_is_flattened_along_both_axes(solved, moving):
    y, x = (np.arange(n) - n / 2 for n in solved.object.shape)
    bent = solved.object * np.exp(1e-3j * (y[:, None] ** 2 + x**2)).astype(np.complex64)
    flat = flatten_curvature(dataclasses.replace(solved, object=bent))
    slope = np.median(np.diff(np.unwrap(np.angle(flat.object), axis=1), axis=1), axis=0)
    inner = slice(len(x) // 3, -len(x) // 3)
    assert np.abs(np.polyfit(x[:-1][inner], slope[inner], 1)[0]) < 4e-4


@pytest.mark.parametrize(
    ("error_px", "refine_probe", "warns"), [(0.5, True, True), (0.5, False, False), (1e-3, True, False)]
)
def test_an_error_of_the_motion_that_curves_phases_beyond_the_uncertainty_is_a_warning(
    solved, error_px, refine_probe, warns
):
    scan = {**solved.provenance["scan"], DESCAN: {**solved.provenance["scan"][DESCAN], "error_px": error_px}}
    config = {**solved.provenance["config"], "refine_probe": refine_probe}
    recon = dataclasses.replace(solved, provenance={**solved.provenance, "scan": scan, "config": config})
    assert any("curved over the scan" in warning for warning in experiment_warnings(recon)) == warns


def test_the_draft_of_a_thick_sample_is_flattened_with_the_motion_of_its_beam(solved, moving):
    y, x = (np.arange(n) - n / 2 for n in solved.object.shape)
    bent = solved.object * np.exp(1e-3j * (y[:, None] ** 2 + x**2)).astype(np.complex64)
    draft = dataclasses.replace(solved, object=bent)
    scan, flat = _flatten_draft(moving, draft, ReconstructConfig())
    np.testing.assert_array_equal(scan.beam_px, flat.beam_px)
    assert np.abs(flat.beam_px - draft.beam_px).max() > 0.1
    assert _flatten_draft(moving, draft, ReconstructConfig(refine_probe=False)) == (moving, draft)


def test_the_words_name_size_and_error():
    descan = Descan(np.eye(2) * 0.02, 2.0, 0.03, 1e-3)
    assert descan.describe() == "2.00 +- 0.03 px, 2 mrad, over the scan"
    assert "not significant" in dataclasses.replace(descan, error_px=0.6).describe()
