"""What readers must not take for granted: units, whose energy it is, where the middle lies, what is no count."""

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.physics.optics import compute_wavelength

SOURCE, DETECTOR = "entry_1/instrument_1/source_1", "entry_1/instrument_1/detector_1"


@pytest.fixture
def file(make_scan, tmp_path):
    """A CXI file and the scan in it."""
    scan = make_scan(truth=None, mask=None, dtype="int32")
    return save(scan, tmp_path / "scan.cxi", "cxi"), scan


def put(path, name, value, unit=None):
    with h5py.File(path, "r+") as opened:
        del opened[name]
        opened[name] = value
        if unit is not None:
            opened[name].attrs["units"] = unit


def test_cxi_numbers_are_in_the_units_that_they_name(file):
    path, scan = file
    put(path, f"{SOURCE}/energy", scan.energy_eV / 1e3, "keV")
    put(path, f"{SOURCE}/wavelength", scan.wavelength_m * 1e10, "angstrom")
    put(path, f"{DETECTOR}/distance", scan.detector_distance_m * 1e3, "mm")
    back = load(path)
    assert (back.energy_eV, back.detector_distance_m) == pytest.approx((scan.energy_eV, scan.detector_distance_m))
    assert back.pixel_size_m == pytest.approx(scan.pixel_size_m)
    put(path, f"{DETECTOR}/distance", scan.detector_distance_m, "furlong")
    with pytest.raises(InputError, match=r"distance@units: found 'furlong'"):
        load(path)


def test_mega_is_not_taken_for_milli(file):
    path, scan = file
    put(path, f"{SOURCE}/energy", scan.energy_eV * 1e3, "meV")
    assert load(path).energy_eV == pytest.approx(scan.energy_eV)
    put(path, f"{SOURCE}/energy", scan.energy_eV / 1e6, "MeV")
    assert load(path).energy_eV == pytest.approx(scan.energy_eV)
    put(path, f"{SOURCE}/energy", scan.energy_eV, "mev")
    with pytest.raises(InputError, match=r"energy@units: found 'mev'"):
        load(path)


def test_the_energy_of_the_ring_is_not_that_of_a_photon(file):
    path, scan = file
    put(path, f"{SOURCE}/energy", 3e9 * 1.602176634e-19, "J")
    with pytest.raises(InputError, match=r"source_1/energy: found 3e\+09 eV beside a wavelength.*--energy-eV"):
        load(path)
    assert load(path, LoadConfig(energy_eV=scan.energy_eV)).energy_eV == scan.energy_eV


def test_electrons_are_not_taken_for_photons(make_scan, tmp_path):
    pixel = compute_wavelength(8765.4321, "electron") * 2 / 3 / (8 * 7.5e-5)
    scan = make_scan(truth=None, particle="electron", pixel_size_m=pixel)
    path = save(scan, tmp_path / "scan.cxi", "cxi")
    with pytest.raises(InputError, match="--particle electron"):
        load(path)
    back = load(path, LoadConfig(particle="electron"))
    np.testing.assert_allclose(back.positions_px, scan.positions_px)


@pytest.mark.parametrize("shape", ["rows", "one per pattern"])
def test_basis_vectors_are_rows_in_some_files(file, shape):
    path, scan = file
    step = scan.detector_pixel_m
    rows = np.array([[0, -step, 0], [-step, 0, 0]])
    put(path, f"{DETECTOR}/basis_vectors", rows if shape == "rows" else np.repeat(rows[None], 5, 0))
    np.testing.assert_allclose(load(path).positions_px, scan.positions_px)


@pytest.mark.parametrize("budget", [1e-9, 1024.0])
def test_pixels_that_are_negative_throughout_are_flags(file, budget):
    """Gaps read -1 and dead pixels -2 in signed frames of some detectors; a pixel that is so once is an error."""
    path, scan = file
    counts = scan.counts.copy()
    counts[:, 2], counts[:, 5, 1] = -1, -2
    put(path, f"{DETECTOR}/data", counts)
    with h5py.File(path, "r+") as opened:
        opened[f"{DETECTOR}/mask"][0, 0] = 0x8
    back = load(path, LoadConfig(memory_budget_gib=budget))
    bad = np.zeros((8, 8), bool)
    bad[2], bad[5, 1], bad[0, 0] = True, True, True
    np.testing.assert_array_equal(back.mask, ~bad)
    cut = load(path, LoadConfig(memory_budget_gib=budget, centre_px=(4, 4), crop_px=8))
    np.testing.assert_array_equal(cut.mask, ~bad)
    del back, cut
    counts[3, 7, 7] = -1
    put(path, f"{DETECTOR}/data", counts)
    with pytest.raises(InputError, match=r"-1 at pattern 3, pixel \(7, 7\)"):
        load(path, LoadConfig(memory_budget_gib=budget)).counts[:]


def test_ptypy_says_where_the_zero_frequency_is(make_scan, tmp_path):
    """PtyPy leaves patterns uncut where their shape was right already, and only notes the middle that it found."""
    scan = make_scan(size=16, truth=None, probe=None)
    path = save(scan, tmp_path / "scan.ptyd", "ptyd")
    with h5py.File(path, "r+") as opened:
        opened["meta/center"][:] = (8.4, 7.3)
    assert load(path).size == 16
    with h5py.File(path, "r+") as opened:
        opened["meta/center"][:] = (6.2, 8.9)
    back = load(path)
    np.testing.assert_array_equal(back.counts, scan.counts[:, :12, 3:15])
    np.testing.assert_array_equal(back.mask, scan.mask[:12, 3:15])
    np.testing.assert_allclose(back.positions_px * back.pixel_size_m, scan.positions_px * scan.pixel_size_m)
    assert back.provenance["centre_px"] == (6, 9) and "centre_px" not in back.provenance["options"]
    assert load(path, LoadConfig(centre_px=(8, 8))).size == 16
