"""Files of Nion Swift: calibrations as JSON beside a raster of patterns, in HDF5 or an archive."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import detect_format, load

ROWS, COLUMNS, EDGE = 3, 4, 16
STEPS_NM, PIXEL_RAD, VOLTAGE_V = (0.2, 0.15), 1e-3, 60e3
PROPERTIES = {
    "dimensional_calibrations": [
        *({"offset": 0.0, "scale": step, "units": "nm"} for step in STEPS_NM),
        *[{"offset": -8e-3, "scale": PIXEL_RAD, "units": "rad"}] * 2,
    ],
    "metadata": {"instrument": {"high_tension": VOLTAGE_V}},
}


@pytest.fixture
def patterns():
    return np.random.default_rng(0).integers(0, 60000, (ROWS, COLUMNS, EDGE, EDGE)).astype(np.uint16)


def write_h5(folder, patterns, properties=PROPERTIES):
    with h5py.File(folder / "scan.h5", "w") as file:
        file["data"] = patterns
        file["data"].attrs["properties"] = properties if isinstance(properties, str) else json.dumps(properties)
    return folder / "scan.h5"


def write_archive(folder, patterns, properties=PROPERTIES):
    path = folder / "scan.ndata1"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("data.npy", "w") as file:
            np.save(file, patterns)
        archive.writestr("metadata.json", properties if isinstance(properties, str) else json.dumps(properties))
    return path


@pytest.mark.parametrize("budget", [1.0, 1e-9])
@pytest.mark.parametrize("write", [write_h5, write_archive])
def test_counts_geometry_and_energy_come_out(write, budget, tmp_path, patterns):
    path = write(tmp_path, patterns)
    assert detect_format(path) == "nion"
    scan = load(path, LoadConfig(memory_budget_gib=budget, survey=False))
    np.testing.assert_array_equal(scan.counts[:], patterns.reshape(-1, EDGE, EDGE))
    assert scan.energy_eV == VOLTAGE_V and scan.particle == "electron"
    assert scan.pixel_size_m == pytest.approx(scan.wavelength_m / (EDGE * PIXEL_RAD))
    y, x = (scan.positions_px[-1] - scan.positions_px[0]) * scan.pixel_size_m
    assert y == pytest.approx((ROWS - 1) * STEPS_NM[0] * 1e-9)
    assert x == pytest.approx((COLUMNS - 1) * STEPS_NM[1] * 1e-9)


@pytest.mark.parametrize("write", [write_h5, write_archive])
def test_what_a_file_does_not_state_is_asked_for(write, tmp_path, patterns):
    path = write(tmp_path, patterns.reshape(-1, EDGE, EDGE), {})
    with pytest.raises(InputError, match="--raster-shape"):
        load(path)
    given = {"raster_shape": (ROWS, COLUMNS), "scan_step_m": 2e-10, "pixel_size_m": 1e-10}
    scan = load(path, LoadConfig(**given, survey=False))
    np.testing.assert_allclose(scan.positions_px[-1] - scan.positions_px[0], (2 * (ROWS - 1), 2 * (COLUMNS - 1)))


@pytest.mark.parametrize("write", [write_h5, write_archive])
@pytest.mark.parametrize("properties", ["no JSON", "[1, 2]", "[" * 100_000])
def test_damaged_properties_are_refused_in_one_line(write, properties, tmp_path, patterns):
    if write is write_h5:
        properties = properties[:60_000]
    with pytest.raises(InputError, match="properties: found") as caught:
        load(write(tmp_path, patterns, properties))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [write_h5, write_archive])
def test_data_of_other_axes_are_refused(write, tmp_path):
    with pytest.raises(InputError, match=r"data: found .* expected a raster of patterns"):
        load(write(tmp_path, np.zeros((4, 4), np.uint16)))


@pytest.mark.parametrize("steps", [None, 3, [], [3] * 4, [{"scale": "1"}] * 4, [{"scale": 1, "units": 7}] * 4])
def test_calibrations_of_another_kind_are_none(steps, tmp_path, patterns):
    path = write_archive(tmp_path, patterns, {"dimensional_calibrations": steps, "metadata": 3})
    with pytest.raises(InputError, match="scan step: found none"):
        load(path, LoadConfig(pixel_size_m=1e-10))
