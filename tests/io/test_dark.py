"""Measured backgrounds: of files that hold dark frames, of `--dark`, and in files that are written."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn import LoadConfig, ScanData, load, load_reconstruction, save
from ptypinn.data.orientation import Orientation, derive
from ptypinn.data.reconstruction import Reconstruction

DARK = "entry_1/instrument_1/detector_1/data_dark"
PLAIN = {"survey": False}


@pytest.fixture(scope="module")
def scan():
    rng = np.random.default_rng(0)
    probe = rng.normal(size=(1, 16, 16, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return ScanData(
        rng.poisson(20, (9, 16, 16)).astype(np.uint16),
        5.0 * np.argwhere(np.ones((3, 3))),
        probe,
        pixel_size_m=1e-8,
        energy_eV=8000.0,
        detector_distance_m=1.0,
        detector_pixel_m=1.23984198e-6 / 8000 / (16 * 1e-8),
    )


@pytest.fixture(scope="module")
def dark():
    return np.random.default_rng(1).uniform(0, 4, (16, 16)).astype(np.float32)


def test_a_background_is_written_and_read_to_the_bit(scan, dark, tmp_path):
    again = load(save(scan.replace(background=dark), tmp_path / "scan.h5"), LoadConfig(**PLAIN))
    assert again.background.dtype == np.float32
    assert np.array_equal(again.background, dark)
    assert load(save(scan, tmp_path / "bare.h5"), LoadConfig(**PLAIN)).background is None


def test_that_of_a_reconstruction_too(dark, tmp_path):
    image = np.ones((20, 20), np.complex64)
    recon = Reconstruction(image, np.abs(image), image[None, :16, :16], np.zeros((3, 2)), background=dark)
    assert np.array_equal(load_reconstruction(save(recon, tmp_path / "recon.h5")).background, dark)


def test_dark_frames_of_a_cxi_file_are_its_background(scan, dark, tmp_path):
    path = save(scan, tmp_path / "scan.cxi", "cxi")
    frames = np.stack([dark - 0.1, dark + 0.1])
    with h5py.File(path, "r+") as file:
        file[DARK] = frames
    read = load(path, LoadConfig(**PLAIN))
    assert np.allclose(read.background, np.maximum(frames.mean(0), 0), atol=1e-6)
    assert read.provenance["dark"]["photons_per_frame"] == pytest.approx(dark.sum(), rel=1e-3)
    assert "unread" not in read.provenance
    cut = load(path, LoadConfig(crop_px=8, **PLAIN))
    assert np.array_equal(cut.background, read.background[4:12, 4:12])
    assert np.array_equal(
        load(save(read, tmp_path / "again.cxi", "cxi"), LoadConfig(**PLAIN)).background, read.background
    )


def test_dark_of_another_shape_is_refused_by_name(scan, dark, tmp_path):
    path = save(scan, tmp_path / "scan.cxi", "cxi")
    np.save(tmp_path / "dark.npy", dark[1:])
    with pytest.raises(ValueError, match=r"dark\.npy.*shape"):
        load(path, LoadConfig(dark=str(tmp_path / "dark.npy")))
    with h5py.File(path, "r+") as file:
        file[DARK] = dark[1:]
    with pytest.raises(ValueError, match="data_dark"):
        load(path)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_a_dark_from_another_file_takes_the_place_of_the_files_own(scan, dark, tmp_path, kind):
    place = tmp_path / f"dark.{kind}"
    if kind == "npy":
        np.save(place, dark)
    elif kind == "npz":
        np.savez(place, dark=np.stack([dark] * 3), other=np.ones(3))
    else:
        with h5py.File(place, "w") as file:
            file["some/frames"] = dark
    path = save(scan.replace(background=dark + 1), tmp_path / "scan.h5")
    given_dark = LoadConfig(dark=f"{place}:some/frames" if kind == "h5" else str(place), **PLAIN)
    assert np.allclose(load(path, given_dark).background, dark)


def test_pixels_without_a_dark_are_masked_and_negative_ones_count_as_none(scan, dark, tmp_path):
    odd = dark.copy()
    odd[2, 3], odd[5, 6] = np.nan, -2
    np.save(tmp_path / "dark.npy", odd)
    read = load(save(scan, tmp_path / "scan.h5"), LoadConfig(dark=str(tmp_path / "dark.npy"), **PLAIN))
    assert not read.good[2, 3]
    assert read.background[5, 6] == 0
    assert read.good.sum() == 255


def test_a_relative_probe_is_calibrated_to_the_photons_beside_the_dark(scan, dark, tmp_path):
    path, place = save(scan, tmp_path / "scan.h5"), tmp_path / "dark.npy"
    np.save(place, dark)
    photons = [
        np.sum(np.abs(load(path, LoadConfig(**more, **PLAIN)).probe) ** 2) for more in ({}, {"dark": str(place)})
    ]
    assert photons[0] - photons[1] == pytest.approx(dark.sum(), rel=1e-3)


@given(transpose=st.booleans(), flip=st.sampled_from(["none", "y", "x", "yx"]), gain=st.sampled_from([None, 2.0]))
def test_background_turns_with_the_patterns_and_is_in_their_unit(transpose, flip, gain):
    counts = np.random.default_rng(2).poisson(9, (3, 8, 8)).astype(np.uint16)
    scan = ScanData(counts, np.zeros((3, 2)), background=counts[1].astype(np.float32))
    derived = derive(scan, Orientation(transpose, flip), Orientation(), gain)
    assert np.array_equal(derived.background, derived.counts[1])
