"""Positions of electron scans are turned to the detector before anything is solved, where patterns show a turn."""

import dataclasses
from functools import partial

import numpy as np
import pytest

import ptypinn as pp
from ptypinn.data import beam_survey, scan_rotation
from ptypinn.data.scan_rotation import SCAN_ROTATION, repeat_turn, straighten_scan
from ptypinn.report.text.experiment import experiment_sentences

SIZE, RADIUS_PX = 48, 10.0


@pytest.fixture(scope="module")
def lit(tmp_path_factory):
    """A weak phase object, three waves out of focus, on a raster."""
    axis = np.fft.fftfreq(SIZE) * SIZE / RADIUS_PX
    radius = np.hypot(axis[:, None], axis)
    lens = (radius <= 1) * np.exp(-6j * np.pi * radius**2)
    path = tmp_path_factory.mktemp("lens") / "probe.npy"
    np.save(path, np.fft.fftshift(np.fft.ifft2(lens)).astype(np.complex64)[None])
    sample = {"object": "dead_leaves", "phase_range": (0.0, 0.4), "amplitude_range": (1.0, 1.0), "photons": 5e4}
    grid = {"size": SIZE, "object_size": (150, 150), "scan": "raster", "step_px": 3.5, "seed": 4}
    scan = pp.simulate(pp.SimulateConfig(probe="file", probe_file=str(path), **sample, **grid))
    scan = scan.replace(detector_distance_m=None, detector_pixel_m=None, experiment=None)
    return scan.replace(particle="electron", energy_eV=300e3, pixel_size_m=0.4e-10)


@pytest.fixture(scope="module")
def straight(lit):
    """The scan without its probe."""
    return lit.replace(probe=None)


def turned(scan, degrees):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = scan.positions_px @ turn.T
    return scan.replace(positions_px=places - places.min(0), truth=None)


def empty_recon():
    ones = np.ones((80, 80), np.complex64)
    return pp.Reconstruction(ones, ones.real, ones[None, :16, :16], np.zeros((1, 2)))


def record_call(calls, name, function, *values, **options):
    calls.append(name)
    return function(*values, **options)


def distances(one, other):
    """Distances of positions after their common shift."""
    moves = one.positions_px - other.positions_px
    return np.hypot(*(moves - moves.mean(0)).T)


@pytest.mark.parametrize("degrees", [12.0, -30.0])
def test_a_turn_is_undone_and_recorded(straight, degrees):
    scan, _ = straighten_scan(turned(straight, degrees))
    assert scan.provenance[SCAN_ROTATION]["degrees"] == pytest.approx(degrees, abs=1)
    extent = np.ptp(straight.positions_px)
    assert distances(scan, straight).max() < np.radians(1.0) * extent
    assert distances(turned(straight, degrees), straight).max() > np.radians(8.0) * extent / 2


def test_scans_that_are_straight_or_of_photons_stay_as_they_are(straight):
    assert straighten_scan(straight)[0] is straight
    photons = turned(straight, 12.0).replace(particle="photon")
    assert straighten_scan(photons) == (photons, None)


def test_axes_that_are_exchanged_are_a_warning_and_stay(straight):
    scan = straight.replace(positions_px=straight.positions_px[:, ::-1].copy(), truth=None)
    with pytest.warns(UserWarning, match="its axes are exchanged"):
        assert straighten_scan(scan)[0] is scan


@pytest.mark.parametrize(
    ("options", "turns"),
    [({}, True), ({"positions": "recorded"}, False), ({"assume": "ideal"}, False), ({"rounds": 8}, True)],
)
def test_reconstruct_turns_positions_unless_told_otherwise(straight, options, turns, monkeypatch):
    solved = []

    def solve(scan, *_, **__):
        solved.append(scan)
        return empty_recon()

    monkeypatch.setattr("ptypinn.stages.reconstruct.reconstruct_unrolled", solve)
    pp.reconstruct(turned(straight, 12.0), config=pp.ReconstructConfig(threads=1, device="cpu", **options))
    assert (SCAN_ROTATION in solved[0].provenance) == turns


@pytest.mark.parametrize(("options", "turns"), [({}, True), ({"positions": "recorded"}, False)])
def test_refine_turns_positions_unless_told_otherwise(lit, options, turns):
    scan = turned(lit, 12.0)
    recon = pp.refine(scan, config=pp.RefineConfig(iterations=1, threads=1, device="cpu", **options))
    assert (SCAN_ROTATION in recon.provenance["scan"]) == turns
    truth = lit if turns else scan
    assert distances(recon, truth).max() < np.radians(1.0) * np.ptp(lit.positions_px)


@pytest.mark.parametrize("stage", [pp.reconstruct, pp.refine])
def test_the_beam_is_surveyed_once(straight, stage, monkeypatch):
    """For the turn of the scan, the motion of its disk, and the defocus that its probe starts from."""
    surveyed = []
    measures = (beam_survey, "form_images"), (beam_survey, "measure_descan"), (scan_rotation, "measure_descan")
    for module, name in measures:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, partial(record_call, surveyed, name, function))
    started = []

    def start(candidates, optics):
        started.append(optics)
        raise InterruptedError

    monkeypatch.setattr("ptypinn.solvers.probe_search.suggest_probes", start)
    with pytest.raises(InterruptedError):
        stage(turned(straight, 12.0))
    assert sorted(surveyed) == ["form_images", "measure_descan"]
    waves = started[0].edge_waves * (RADIUS_PX / (SIZE / 2)) ** 2
    assert waves == pytest.approx(-3.0, rel=0.05)


def test_what_follows_a_reconstruction_repeats_its_turn(lit):
    """On a raster whose outer positions are moved by more than half a pattern."""
    scan = turned(lit, -30.0)
    solved, _ = straighten_scan(scan)
    assert np.abs(solved.positions_px - scan.positions_px).max() > SIZE / 2
    recon = pp.refine(solved, config=pp.RefineConfig(iterations=1, threads=1, device="cpu"))
    assert pp.diagnose(recon, scan).ledger
    again = pp.refine(scan, config=pp.RefineConfig(iterations=1, threads=1, device="cpu"), initial=recon)
    assert len(again.positions_px) == scan.n_patterns


@pytest.mark.parametrize(
    "record", [3, {}, {"degrees": "much", "about_px": [1, 2]}, {"degrees": 3.0, "about_px": [None]}]
)
def test_records_that_are_no_turn_turn_nothing(straight, record):
    for provenance in ({"scan": {SCAN_ROTATION: record}}, {"scan": [1]}):
        assert repeat_turn(straight, dataclasses.replace(empty_recon(), provenance=provenance)) is straight


def test_the_report_states_the_turn():
    record = {"scan": {SCAN_ROTATION: {"degrees": 12.31, "error_degrees": 0.42}}}
    recon = dataclasses.replace(empty_recon(), provenance=record)
    assert "turned by 12.3 +- 0.42 degrees against the detector" in " ".join(experiment_sentences(recon))
    other = dataclasses.replace(recon, provenance={"scan": {SCAN_ROTATION: {"degrees": "much"}}})
    assert "turned" not in " ".join(experiment_sentences(other))
