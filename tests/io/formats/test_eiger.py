"""Dectris master files as the detector writes them: frames in linked files, mask, geometry, all-ones pixels."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import detect_format, load

ENERGY, DISTANCE, PIXEL = 12658.0, 5.1, 75e-6
OBJECT_PIXEL = 1.2398419843320026e-6 / ENERGY * DISTANCE / (16 * PIXEL)
CENTRE = (14, 21)
SHAPE = (30, 44)
ALL_ONES = 2**16 - 1
FILTERS = {
    "bitshuffle": hdf5plugin.Bitshuffle(cname="lz4"),
    "lz4": hdf5plugin.LZ4(),
    "plain": {},
}


def write(folder, experiment, filters="bitshuffle", per_file=5, **changes):
    """Photons of the experiment around the beam centre of a wider detector, five frames a file."""
    frames = np.full((12, *SHAPE), 7, np.uint16)
    y, x = CENTRE
    frames[:, y - 8 : y + 8, x - 8 : x + 8] = np.rint(experiment.counts)
    frames = changes.pop("frames", lambda f: f)(frames)
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "scan_master.h5", "w") as master:
        for number, start in enumerate(range(0, 12, per_file), 1):
            name = f"scan_data_{number:06d}.h5"
            with h5py.File(folder / name, "w") as data:
                part = frames[start : start + per_file]
                data.create_dataset("entry/data/data", data=part, chunks=(1, *SHAPE), **FILTERS[filters])
            master[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        mask = np.zeros(SHAPE, np.uint32)
        mask[y + 3, x - 2] = 2
        entries = {
            "detectorSpecific/pixel_mask": (mask, ""),
            "detectorSpecific/photon_energy": (ENERGY, "eV"),
            "detector_distance": (DISTANCE, "m"),
            "x_pixel_size": (PIXEL, "m"),
            "y_pixel_size": (PIXEL, "m"),
            "beam_center_x": (CENTRE[1] + 0.2, "pixel"),
            "beam_center_y": (CENTRE[0] - 0.3, "pixel"),
            "bit_depth_image": (16, ""),
            **changes,
        }
        for name, (value, unit) in entries.items():
            master[f"entry/instrument/detector/{name}"] = value
            master[f"entry/instrument/detector/{name}"].attrs["units"] = unit
    return folder / "scan_master.h5"


@pytest.fixture
def table(tmp_path, experiment):
    path = tmp_path / "positions.csv"
    um = experiment.positions_px * OBJECT_PIXEL * 1e6
    np.savetxt(path, um[:, ::-1], delimiter=",", header="x_um, y_um", fmt="%.9g")
    return path


def options(table, **more):
    return LoadConfig(**{"positions_file": str(table), "crop_px": 16, **more})


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("budget", [4096.0, 1e-9])
def test_frames_geometry_and_positions(tmp_path, experiment, table, filters, budget):
    path = write(tmp_path / "run", experiment, filters)
    assert detect_format(path) == "eiger"
    scan = load(path, options(table, memory_budget_gib=budget))
    np.testing.assert_array_equal(scan.counts[:], np.rint(experiment.counts))
    np.testing.assert_allclose(scan.positions_px, experiment.positions_px, atol=1e-5)
    assert (scan.energy_eV, scan.detector_distance_m, scan.detector_pixel_m) == (ENERGY, DISTANCE, PIXEL)
    assert scan.pixel_size_m == pytest.approx(OBJECT_PIXEL)
    expected = np.ones((16, 16), bool)
    expected[8 + 3, 8 - 2] = False
    np.testing.assert_array_equal(scan.good, expected)


def overflow(frames):
    frames[4, 10, 20] = ALL_ONES
    return frames


@pytest.mark.parametrize("budget", [4096.0, 1e-9])
def test_all_bits_set_mean_an_invalid_pixel_in_the_whole_scan(tmp_path, experiment, table, budget):
    scan = load(write(tmp_path / "run", experiment, frames=overflow), options(table, memory_budget_gib=budget))
    assert not scan.good[10 - 14 + 8, 20 - 21 + 8]
    assert scan.counts[:].max() < ALL_ONES


def test_an_overflow_that_no_look_beforehand_found_is_an_error(tmp_path, experiment, table, monkeypatch):
    monkeypatch.setattr("ptypinn.io.derived_counts.SAMPLED", 2)
    path = write(tmp_path / "run", experiment, frames=overflow)
    with pytest.raises(InputError, match=r"an overflow at pattern 4, pixel \(4, 7\).*--memory-budget-gib"):
        load(path, options(table, memory_budget_gib=1e-9)).counts[np.array([1, 4])]


def test_energy_from_the_wavelength_and_units_of_the_file(tmp_path, experiment, table):
    path = write(tmp_path / "run", experiment, **{"detectorSpecific/photon_energy": (0.0, "eV")})
    with h5py.File(path, "r+") as file:
        file["entry/instrument/beam/incident_wavelength"] = 1e10 * 1.2398419843320026e-6 / ENERGY
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "angstrom"
    assert load(path, options(table)).energy_eV == pytest.approx(ENERGY)
    path = write(tmp_path / "keV", experiment, **{"detectorSpecific/photon_energy": (ENERGY / 1e3, "keV")})
    assert load(path, options(table)).energy_eV == pytest.approx(ENERGY)


def test_pixels_are_used_where_the_geometry_is_not_known(tmp_path, experiment):
    table = tmp_path / "pixels.txt"
    np.savetxt(table, experiment.positions_px, header="y_px x_px")
    scan = load(write(tmp_path / "run", experiment, detector_distance=(0.0, "m")), options(table))
    assert (scan.pixel_size_m, scan.detector_distance_m) == (None, None)
    np.testing.assert_array_equal(scan.positions_px, experiment.positions_px)


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({}, {"positions_file": ""}, "positions: found none.*--positions-file"),
        ({"detector_distance": (0.0, "m")}, {}, "positions: found lengths in um.*--detector-distance-m"),
        ({"x_pixel_size": (55e-6, "m")}, {}, "x_pixel_size: found detector pixels of"),
        ({"x_pixel_size": (3.0, "furlong")}, {}, "@units: found 'furlong'"),
        ({"beam_center_x": (1.0, "")}, {}, "--crop-px: found 16 pixels around"),
        ({"bit_depth_image": (99, "")}, {}, "bit_depth_image: found 99"),
        ({"detectorSpecific/pixel_mask": (np.zeros((3, 3)), "")}, {}, "pixel_mask"),
    ],
)
def test_what_lacks_or_contradicts_is_named(tmp_path, experiment, table, changes, given, message):
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "run", experiment, **changes), options(table, **given))


def test_a_missing_data_file_is_named(tmp_path, experiment, table):
    path = write(tmp_path / "run", experiment)
    (path.parent / "scan_data_000002.h5").unlink()
    with pytest.raises(InputError, match=r"data_000002: found a link to scan_data_000002\.h5, where no frames are"):
        load(path, options(table))


@pytest.mark.parametrize("way", ["../elsewhere/", "absolute", "symlink"])
def test_data_files_outside_the_folder_need_an_option(tmp_path, experiment, table, way):
    path = write(tmp_path / "run", experiment)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    outside = elsewhere / "scan_data_000001.h5"
    (path.parent / outside.name).rename(outside)
    if way == "symlink":
        (path.parent / outside.name).symlink_to(outside)
    else:
        target = outside if way == "absolute" else f"{way}{outside.name}"
        with h5py.File(path, "r+") as file:
            del file["entry/data/data_000001"]
            file["entry/data/data_000001"] = h5py.ExternalLink(target, "/entry/data/data")
    with pytest.raises(InputError, match=r"outside the folder of the file, expected files in it, or --allow-external"):
        load(path, options(table))
    scan = load(path, options(table, allow_external=True))
    np.testing.assert_array_equal(scan.counts[:], np.rint(experiment.counts))


def test_frames_of_a_raster_need_no_table(tmp_path, experiment):
    path = write(tmp_path / "run", experiment)
    raster = {"raster_shape": (3, 4), "scan_step_m": 2 * OBJECT_PIXEL, "crop_px": 16, "survey": False}
    scan = load(path, LoadConfig(**raster))
    y, x = np.meshgrid(np.arange(3), np.arange(4), indexing="ij")
    np.testing.assert_allclose(scan.positions_px, 2 * np.stack([y.ravel(), x.ravel()], 1))
    electrons = load(path, LoadConfig(**raster, particle="electron", energy_eV=200e3, pixel_size_m=OBJECT_PIXEL))
    assert electrons.wavelength_m == pytest.approx(2.508e-12, rel=1e-3)
    with pytest.raises(InputError, match="scan step: found none"):
        load(path, LoadConfig(**{**raster, "scan_step_m": None}))
    with pytest.raises(InputError, match="10 positions for 12 patterns"):
        load(path, LoadConfig(**{**raster, "raster_shape": (2, 5)}))
