"""Scans of crystals that abTEM simulates: what our survey of the beam and our reconstruction say of them is true."""

import numpy as np
import pytest

import ptypinn as pp
from ptypinn.data.aberrations import measure_aberrations
from ptypinn.data.beam_survey import survey_beam
from ptypinn.io.provenance import optics_record
from ptypinn.physics.optics import compute_wavelength

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
abtem = pytest.importorskip("abtem")
build = pytest.importorskip("ase.spacegroup").crystal

CELL_A, CELLS, ENERGY_EV, SEMI_ANGLE_MRAD, STEP_A, FIELD_A = 3.905, 8, 200e3, 20.0, 0.4, 13.6
WAVELENGTH_M = compute_wavelength(ENERGY_EV, "electron")
SIZE, DOSE_PER_A2 = 96, 1e5
DEFOCUS_A, ASTIGMATISM_A = 150.0, 40.0


def make_crystal(layers):
    """Strontium titanate along its axis."""
    basis = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
    cell = [CELL_A] * 3 + [90] * 3
    return build(["Sr", "Ti", "O"], basis=basis, spacegroup=221, cellpar=cell) * (CELLS, CELLS, layers)


def simulate(atoms, phonons=0, **probe):
    """Patterns (rows, columns, SIZE, SIZE), fractions of an electron, and the object pixel, metres."""
    sample = abtem.FrozenPhonons(atoms, num_configs=phonons, sigmas=0.08, seed=1) if phonons else atoms
    potential = abtem.Potential(sample, sampling=0.12, slice_thickness=CELL_A / 2)
    beam = abtem.Probe(energy=ENERGY_EV, semiangle_cutoff=SEMI_ANGLE_MRAD, **probe)
    beam.grid.match(potential)
    start = (CELLS * CELL_A - FIELD_A) / 2
    scan = abtem.GridScan((start, start), (start + FIELD_A,) * 2, sampling=STEP_A, endpoint=False)
    measured = beam.scan(potential, scan=scan, detectors=abtem.PixelatedDetector(max_angle=50)).compute()
    patterns = measured.array  # the mean over phonon configurations
    middle = patterns.shape[-1] // 2
    part = slice(middle - SIZE // 2, middle + SIZE // 2)
    pixel_m = WAVELENGTH_M / (SIZE * 1e-3 * measured.angular_sampling[0])
    return patterns[..., part, part], pixel_m


def to_scan(patterns, pixel_m, degrees=0.0, dose=DOSE_PER_A2, seed=0):
    """A scan with counting noise, its positions turned."""
    rows, columns = patterns.shape[:2]
    counts = np.random.default_rng(seed).poisson(patterns.reshape(-1, SIZE, SIZE) * dose * STEP_A**2).astype(np.uint16)
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    positions = np.stack([y.ravel(), x.ravel()], 1) @ turn.T * STEP_A * 1e-10 / pixel_m
    return pp.ScanData(
        counts=counts,
        positions_px=positions - positions.min(0),
        pixel_size_m=pixel_m,
        energy_eV=ENERGY_EV,
        particle="electron",
        provenance={"file": "crystal"},
    )


def survey(scan):
    return survey_beam(scan, scan.counts[:].mean(0).astype(float))


def reconstruct(scan):
    return pp.reconstruct(scan, config=pp.ReconstructConfig(threads=2, device="cpu", assume="ideal"))


@pytest.fixture(scope="module")
def thin():
    return simulate(make_crystal(5), defocus=DEFOCUS_A, astigmatism=ASTIGMATISM_A)


@pytest.fixture(scope="module")
def recon(thin):
    return reconstruct(to_scan(*thin))


def test_the_semi_angle_comes_out_within_a_percent(thin):
    for dose in (1e3, 1e4, 1e5):
        assert survey(to_scan(*thin, dose=dose)).semi_angle_mrad == pytest.approx(SEMI_ANGLE_MRAD, rel=0.01)


@pytest.mark.parametrize("degrees", [0.0, 12.0, -20.0])
def test_the_rotation_comes_out_within_its_error(thin, degrees):
    beam = survey(to_scan(*thin, degrees=degrees))
    shown = beam.orientation
    assert not shown.is_mirrored
    assert abs(shown.rotation_deg - degrees) < min(3 * shown.rotation_error_deg, 1.0)
    assert beam.is_turned == (degrees != 0)


@pytest.mark.parametrize("layers", [5, 15])
def test_a_transposed_camera_is_named(layers, thin):
    patterns, pixel_m = thin if layers == 5 else simulate(make_crystal(layers), defocus=DEFOCUS_A)
    assert not survey(to_scan(patterns, pixel_m)).warnings()
    scan = to_scan(patterns.swapaxes(-1, -2), pixel_m)
    assert "--transpose-positions" in " ".join(survey(scan).warnings())


def test_the_defocus_of_the_solved_probe_is_that_of_the_middle_of_the_crystal(recon):
    """The lens is underfocused as abTEM counts it: its focus lies downstream of the entrance."""
    lens = measure_aberrations(recon, optics_record(recon))
    assert 1e3 * lens.semi_angle_rad == pytest.approx(SEMI_ANGLE_MRAD, rel=0.01)
    middle_m = -1e-10 * (DEFOCUS_A - 5 * CELL_A / 2)
    assert lens.terms["C10"].size_m == pytest.approx(middle_m, abs=1e-9)
    assert lens.terms["C12"].size_m == pytest.approx(1e-10 * ASTIGMATISM_A, abs=0.4e-9)


def test_the_phase_is_that_of_the_projected_potential(recon):
    """Up to the detector's angle, and a shift by the choice of the canvas."""
    potential = abtem.Potential(make_crystal(5), sampling=recon.pixel_size_m * 1e10, slice_thickness=CELL_A / 2)
    projected = potential.build().compute().array.sum(0)
    phase = np.angle(recon.object * np.exp(-1j * np.angle(recon.object.mean())))
    edge = 24
    middle = [length // 2 for length in phase.shape]
    ours = phase[middle[0] - edge : middle[0] + edge, middle[1] - edge : middle[1] + edge]
    best = max(
        np.corrcoef(ours.ravel(), np.roll(projected, (y, x), (0, 1))[: 2 * edge, : 2 * edge].ravel())[0, 1]
        for y in range(11)
        for x in range(11)
    )
    assert best > 0.9
    assert recon.metrics["amplitude_residual"] < 1.05 * recon.metrics["expected_residual"]


def test_frozen_phonons_at_low_dose_change_neither(thin):
    patterns, pixel_m = simulate(make_crystal(5), phonons=4, defocus=DEFOCUS_A, astigmatism=ASTIGMATISM_A)
    scan = to_scan(patterns, pixel_m, dose=1e4)
    assert survey(scan).semi_angle_mrad == pytest.approx(SEMI_ANGLE_MRAD, rel=0.01)
    lens = measure_aberrations(other := reconstruct(scan), optics_record(other))
    assert lens.terms["C10"].size_m == pytest.approx(-1e-10 * (DEFOCUS_A - 5 * CELL_A / 2), abs=2e-9)
