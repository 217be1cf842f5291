"""Flat NPZ files: declared domain, axis order, corner and centre positions, truth only on request."""

import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load

N, M = 8, 5


def contents(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "diffraction": rng.integers(1, 900, (M, N, N)).astype(np.uint16),
        "positions_px": rng.uniform(0, 8, (M, 2)).astype(np.float32),
        "probe_guess": (rng.normal(size=(N, N)) + 1j).astype(np.complex64),
    }


def write(path, entries):
    np.savez(path, **entries)
    return path


def test_the_real_file_needs_no_option(star):
    scan = load(star)
    assert scan.counts.shape == (516, 128, 128)
    assert scan.counts.dtype == np.uint16
    np.testing.assert_allclose(np.ptp(scan.positions_px, axis=0), [331.918, 328.893], atol=1e-3)
    with np.load(star) as file:
        np.testing.assert_array_equal(scan.positions_px, file["positions_px"].astype(np.float64))
    assert {scan.pixel_size_m, scan.energy_eV, scan.detector_distance_m, scan.detector_pixel_m} == {None}
    assert scan.probe_gauge == "calibrated"
    assert np.sum(np.abs(scan.probe) ** 2) == pytest.approx(4.61213e5, rel=1e-4)
    assert scan.provenance["probe_calibration"]["rule"] == "mean"


def test_integers_are_counts_and_floats_must_be_declared(tmp_path):
    entries = contents()
    counts = entries["diffraction"]
    entries["diffraction"] = counts.astype(np.float32)
    path = write(tmp_path / "scan.npz", entries)
    with pytest.raises(
        InputError, match=r"scan\.npz: diffraction: found float32.*--domain counts or --domain amplitude"
    ):
        load(path)
    np.testing.assert_array_equal(load(path, LoadConfig(domain="counts")).counts, counts)
    entries["diffraction"] = np.sqrt(counts.astype(np.float32))
    path = write(tmp_path / "scan.npz", entries)
    np.testing.assert_allclose(load(path, LoadConfig(domain="amplitude")).counts, counts, rtol=1e-6)


def test_integer_amplitudes_are_squared_without_overflow(tmp_path):
    entries = {**contents(), "diffraction": np.full((M, N, N), 60000, np.uint16)}
    scan = load(write(tmp_path / "scan.npz", entries), LoadConfig(domain="amplitude"))
    assert scan.counts.dtype == np.float32
    np.testing.assert_allclose(scan.counts, 3.6e9)


def test_negative_amplitudes_are_refused(tmp_path):
    path = write(tmp_path / "scan.npz", {**contents(), "diffraction": np.full((M, N, N), -1.0)})
    with pytest.raises(InputError, match="non-negative amplitudes"):
        load(path, LoadConfig(domain="amplitude"))


def test_axis_order_is_an_option_which_the_error_names(tmp_path):
    entries = contents()
    straight = load(write(tmp_path / "nhw.npz", entries))
    entries["diffraction"] = np.moveaxis(entries["diffraction"], 0, -1)
    path = write(tmp_path / "hwn.npz", entries)
    with pytest.raises(InputError, match=r"hwn\.npz: diffraction: .*--axis-order hwn"):
        load(path)
    np.testing.assert_array_equal(load(path, LoadConfig(axis_order="hwn")).counts, straight.counts)
    with pytest.raises(InputError, match=r"--axis-order nhw"):
        load(tmp_path / "nhw.npz", LoadConfig(axis_order="hwn"))


def test_xcoords_and_ycoords_are_probe_centres(tmp_path):
    entries = contents()
    corner = entries.pop("positions_px").astype(float)
    entries["ycoords"], entries["xcoords"] = (corner + N // 2).T
    np.testing.assert_allclose(load(write(tmp_path / "scan.npz", entries)).positions_px, corner)


def test_other_names_and_several_modes(tmp_path):
    entries = contents()
    probe = np.stack([entries.pop("probe_guess")] * 3)
    entries["diff3d"], entries["probeGuess"] = entries.pop("diffraction"), probe
    scan = load(write(tmp_path / "scan.npz", entries))
    assert scan.probe.shape == (3, N, N)


def test_an_object_is_the_truth_only_on_request(tmp_path):
    entries = {**contents(), "domain": "counts", "objectGuess": np.ones((20, 21), np.complex128)}
    path = write(tmp_path / "scan.npz", entries)
    scan = load(path)
    assert scan.truth is None
    assert scan.provenance["ignored"] == ["objectGuess"]
    asked = load(path, LoadConfig(truth="objectGuess"))
    assert asked.truth.shape == (20, 21)
    assert asked.provenance["ignored"] == []
    with pytest.raises(InputError, match="--truth"):
        load(path, LoadConfig(truth="object"))
    with pytest.raises(InputError, match=r"domain: found <U6 of shape \(\), expected an image"):
        load(path, LoadConfig(truth="domain"))


def test_geometry_options_give_metres(tmp_path):
    path = write(tmp_path / "scan.npz", contents())
    config = LoadConfig(energy_eV=8000.0, detector_distance_m=2.0, detector_pixel_m=75e-6)
    assert load(path, config).pixel_size_m == pytest.approx(1.2398419843e-6 / 8000 * 2 / (N * 75e-6))
    assert load(path, LoadConfig(energy_eV=8000.0)).pixel_size_m is None


@pytest.mark.parametrize("missing", ["diffraction", "positions_px"])
def test_missing_arrays_are_named(tmp_path, missing):
    entries = contents()
    del entries[missing]
    with pytest.raises(InputError, match=rf"scan\.npz: {missing}"):
        load(write(tmp_path / "scan.npz", entries))


def test_pickled_arrays_are_never_opened(tmp_path):
    entries = {**contents(), "probe_guess": np.array([{"a": 1}], dtype=object)}
    with pytest.raises(InputError, match=r"scan\.npz: probe_guess: found pickled"):
        load(write(tmp_path / "scan.npz", entries))


def test_a_truncated_archive(tmp_path):
    path = write(tmp_path / "scan.npz", contents())
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"scan\.npz: file: "):
        load(path)
