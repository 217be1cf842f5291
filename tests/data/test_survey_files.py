"""The survey of files when they are loaded: every format alike, in memory or on disk, and switched off on request."""

import dataclasses
import shutil

import h5py
import numpy as np
import pytest

from ptypinn.cli.main import main
from ptypinn.config.load import LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.simulation import simulate_scan
from ptypinn.data.survey_record import SURVEY, describe_survey
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save

N = 32
ON_DISK = LoadConfig(memory_budget_gib=1e-9)
SCAN = SimulateConfig(size=N, object_size=(68, 68), n_patterns=80, photons=1e5, probe="disk", probe_diameter_px=10.0)


def spoil(counts):
    """Make a gap, a hot pixel, an empty and a bright frame, and a cosmic ray."""
    counts[41] *= 50
    counts[:, 4, 5] = 9000
    counts[:, 20] = np.iinfo(counts.dtype).max
    counts[[17, 30]] = 0
    counts[50, 9, 9] = 30000


@pytest.fixture(scope="module")
def spoiled():
    scan = simulate_scan(SCAN)
    counts = scan.counts.astype(np.uint32)
    spoil(counts)
    return scan.replace(counts=counts)


@pytest.mark.parametrize("name", ["scan.h5", "scan.cxi", "scan.npz"])
def test_every_format_is_surveyed_alike_in_memory_and_on_disk(spoiled, name, tmp_path):
    formats = {"scan.h5": "native", "scan.cxi": "cxi", "scan.npz": "npz"}
    path = save(spoiled, tmp_path / name, formats[name])
    whole, lazy = load(path), load(path, ON_DISK)
    assert isinstance(whole.counts, np.ndarray)
    assert name == "scan.npz" or not isinstance(lazy.counts, np.ndarray)
    for scan in (whole, lazy):
        record = scan.provenance[SURVEY]
        assert record["frames_left_out"] == [17, 30, 41]
        assert record["cosmic_rays"]["frame_y_x"] == [[50, 9, 9]]
        assert np.argwhere(~scan.good)[:, 0].tolist().count(20) == N
        assert not scan.good[4, 5]
        np.testing.assert_array_equal(scan.counts[:], whole.counts)
    index = np.setdiff1d(np.arange(80), [17, 30, 41])
    np.testing.assert_array_equal(lazy.counts[[3, 17]], whole.counts[[3, 17]])
    np.testing.assert_array_equal(whole.positions_px, load(path, LoadConfig(survey=False)).positions_px[index])


def test_numbers_are_those_of_the_file_where_patterns_are_selected(spoiled, tmp_path):
    path = save(spoiled, tmp_path / "scan.h5")
    assert load(path, LoadConfig(select="5-")).provenance[SURVEY]["frames_left_out"] == [17, 30, 41]


def test_it_can_be_switched_off(spoiled, tmp_path):
    scan = load(save(spoiled, tmp_path / "scan.h5"), LoadConfig(survey=False))
    assert SURVEY not in scan.provenance
    np.testing.assert_array_equal(scan.counts, spoiled.counts)
    assert scan.good.all()


def test_the_photons_of_the_probe_are_those_of_good_frames(spoiled, tmp_path):
    clean = simulate_scan(SCAN)
    scans = [scan.replace(probe=scan.probe * 3, probe_gauge="relative", truth=None) for scan in (spoiled, clean)]
    paths = [save(scan, tmp_path / f"{number}.h5") for number, scan in enumerate(scans)]
    photons = [load(path).provenance["probe_calibration"]["photons"] for path in paths]
    assert photons[0] == pytest.approx(photons[1], rel=0.02)


@pytest.mark.parametrize("config", [LoadConfig(), ON_DISK])
@pytest.mark.parametrize("flag", [np.nan, -1.0])
def test_flags_in_every_frame_are_masked_and_in_some_refused(config, flag, tmp_path):
    path = save(simulate_scan(SCAN), tmp_path / "scan.cxi", "cxi")
    with h5py.File(path, "r+") as file:
        data = file["entry_1/instrument_1/detector_1/data"]
        counts, name = data[()].astype(np.float32), data.name
        counts[:, :, 12] = flag
        del file[name]
        file[name] = counts
    scan = load(path, config)
    np.testing.assert_array_equal(np.argwhere(~scan.good.all(0)).ravel(), [12])
    assert np.isfinite(scan.counts[:]).all()
    assert f"32 pixels hold {flag:g} in every pattern: masked" in describe_survey(scan.provenance[SURVEY])
    counts[3, 5, 6] = counts[44, 1, 1] = flag
    other = shutil.copy(path, tmp_path / "other.cxi")
    with h5py.File(other, "r+") as file:
        file[name][:] = counts
    with pytest.raises(InputError, match=r"at pattern 3, pixel \(5, 6\).*44.*--select"):
        load(other, config)


def test_info_and_the_record_of_a_converted_scan_list_it(spoiled, tmp_path, capsys):
    path = save(spoiled, tmp_path / "scan.h5")
    assert main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "! 32 pixels hold 4294967295 in every pattern: masked" in printed
    assert "frame 41 holds" in printed
    again = load(save(load(path), tmp_path / "clean.h5"))
    assert SURVEY not in again.provenance
    assert again.provenance["converted_from"][SURVEY]["frames_left_out"] == [17, 30, 41]


def test_stray_positions_do_not_count_for_the_canvas(tmp_path):
    clean = simulate_scan(SCAN).replace(truth=None)
    far = clean.positions_px.copy()
    far[9] += 15000
    path = save(clean.replace(positions_px=far), tmp_path / "scan.h5")
    scan = load(path, dataclasses.replace(LoadConfig(), max_canvas_pixels=10**6))
    assert scan.provenance[SURVEY]["frames_left_out"] == [9]
    with pytest.raises(InputError, match="canvas"):
        load(path, LoadConfig(survey=False, max_canvas_pixels=10**6))
