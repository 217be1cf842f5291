"""Arrays that a format does not read are listed, and masks are read by a declared meaning alone."""

import json

import h5py
import numpy as np
import pytest

from ptypinn.cli.main import main
from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import FORMATS, load, save

WRITERS = sorted(name for name, candidate in FORMATS.items() if candidate.write and candidate.read)


@pytest.fixture
def dead():
    mask = np.zeros((16, 16), np.uint8)
    mask[3, 4:7] = 1
    return mask


@pytest.fixture
def flat(tmp_path, make_scan, dead):
    """A flat NPZ file with a mask and a dark that nobody declared."""
    scan = make_scan(size=16)
    path = save(scan, tmp_path / "scan.npz", "npz")
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "bad_pixels"}
    np.savez(path, **arrays, mask=dead, dark=np.ones((16, 16), np.float32), note="text", exposure_s=0.1)
    return path


@pytest.mark.parametrize("name", WRITERS)
def test_of_files_that_ptypinn_writes_everything_is_read(name, make_scan, tmp_path):
    path = save(make_scan(), tmp_path / f"scan{FORMATS[name].suffixes[0]}", name)
    assert load(path, LoadConfig(format=name)).provenance.get("unread", []) == []


def test_an_undeclared_mask_and_a_dark_are_listed_by_info_convert_and_runs(flat, tmp_path, capsys):
    expected = ["mask: uint8 (16, 16)", "dark: float32 (16, 16)"]
    assert load(flat).provenance["unread"] == expected
    assert main(["info", str(flat), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unread"] == expected
    assert main(["convert", str(flat), str(tmp_path / "scan.cxi")]) == 0
    printed = capsys.readouterr().out
    assert all(array in printed for array in expected)
    folder = tmp_path / "run"
    assert main(["refine", str(flat), "--output-dir", str(folder), "--iterations", "1", "--quiet"]) == 0
    assert all(array in (folder / "log.txt").read_text() for array in expected)


@pytest.mark.parametrize("convention", ["good", "bad"])
def test_a_mask_of_declared_meaning_is_read(flat, dead, convention):
    scan = load(flat, LoadConfig(mask_convention=convention))
    assert scan.provenance["unread"] == ["dark: float32 (16, 16)"]
    np.testing.assert_array_equal(scan.good, (dead == 1) if convention == "good" else (dead == 0))


def test_arrays_of_hdf5_are_listed_once_and_links_to_what_is_read_are_not(tmp_path, make_scan):
    path = save(make_scan(), tmp_path / "scan.cxi", "cxi")
    with h5py.File(path, "a") as file:
        file["entry_1/instrument_1/detector_1/dark"] = np.ones((16, 16), np.uint16)
        file["entry_1/alias"] = file["entry_1/instrument_1/detector_1/data"]
        file["entry_1/title"] = "a scan"
    assert load(path).provenance["unread"] == ["entry_1/instrument_1/detector_1/dark: uint16 (16, 16)"]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_a_mask_file_extends_the_mask_of_every_format(name, kind, make_scan, tmp_path):
    scan = make_scan()
    path = save(scan, tmp_path / f"scan{FORMATS[name].suffixes[0]}", name)
    extra = np.ones((scan.size, scan.size), bool)
    extra[1, 2] = False
    place = tmp_path / f"mask.{kind}"
    if kind == "npy":
        np.save(place, extra)
    elif kind == "npz":
        np.savez(place, mask=extra, other=extra)
    else:
        with h5py.File(place, "w") as file:
            file["beam/stop"] = extra.astype(np.int32)
        place = f"{place}:beam/stop"
    plain = load(path, LoadConfig(format=name))
    masked = load(path, LoadConfig(format=name, mask=str(place), mask_convention="good"))
    np.testing.assert_array_equal(masked.good, plain.good & extra)
    assert masked.provenance["mask_file"] == {"file": f"mask.{kind}", "bad_pixels": 1}


def test_a_mask_of_the_whole_detector_is_cropped_as_the_patterns_are(make_scan, tmp_path):
    scan = make_scan(size=16)
    path = save(scan, tmp_path / "scan.h5")
    whole = np.zeros((scan.size, scan.size), bool)
    whole[scan.size // 2, scan.size // 2] = whole[0, 0] = True
    np.save(tmp_path / "bad.npy", whole)
    config = LoadConfig(mask=str(tmp_path / "bad.npy"), mask_convention="bad", crop_px=scan.size - 4)
    good = load(path, config).good
    assert not good[good.shape[0] // 2, good.shape[1] // 2]
    assert (~good & load(path, LoadConfig(crop_px=scan.size - 4)).good).sum() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "small.npy", "mask_convention": "bad"}, r"mask: found shape \(3, 3\), expected shape"),
        ({"mask": "ones.npy", "mask_convention": "bad"}, "mask: found no good pixel"),
        ({"mask": "none.npy", "mask_convention": "bad"}, r"none.npy: file: found nothing under this name"),
        ({"mask_convention": "bad"}, "--mask-convention: found bad, expected none without --mask"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_by_name(options, message, make_scan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan = make_scan()
    path = save(scan, tmp_path / "scan.h5")
    np.save("small.npy", np.zeros((3, 3), bool))
    np.save("ones.npy", np.ones((scan.size, scan.size), bool))
    with pytest.raises(InputError, match=message):
        load(path, LoadConfig(**options))


def test_a_mask_without_a_convention_is_refused():
    with pytest.raises(InputError, match=r"--mask-convention: found none beside --mask bad.npy, expected good or bad"):
        LoadConfig(mask="bad.npy")
