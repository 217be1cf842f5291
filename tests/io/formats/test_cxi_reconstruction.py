"""Reconstructions as CXI images: in the frame of the scan, with a plot for viewers."""

import h5py
import numpy as np
import pytest

from ptypinn.errors import InputError
from ptypinn.io.load_save import load, load_reconstruction, save
from ptypinn.stages.convert import convert

PIXEL = 3.1e-8


@pytest.fixture
def path(make_recon, tmp_path):
    return save(make_recon(origin_px=(-7, 12), pixel_size_m=PIXEL), tmp_path / "recon.cxi", "cxi")


def test_image_and_scan_share_one_frame(path, make_recon):
    """By the definition of the scan: rows along -y, columns along -x, the sample moves against the probe."""
    recon = make_recon(origin_px=(-7, 12), pixel_size_m=PIXEL)
    height, width = recon.object.shape
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["entry_1/image_1/data"][()], recon.object)
        translation = file["entry_1/sample_1/geometry_1/translation"][()]
        np.testing.assert_allclose(translation[:, 1], (recon.positions_px[:, 0] - 7) * PIXEL)
        np.testing.assert_allclose(translation[:, 0], (recon.positions_px[:, 1] + 12) * PIXEL)
        np.testing.assert_allclose(file["entry_1/image_1/image_size"][()], [width * PIXEL, height * PIXEL, 0])
        middle = [(12 + width / 2) * PIXEL, (-7 + height / 2) * PIXEL, 0]
        np.testing.assert_allclose(file["entry_1/image_1/image_center"][()], middle)
    back = load_reconstruction(path)
    assert back.origin_px == (-7, 12)
    np.testing.assert_allclose(back.positions_px, recon.positions_px, atol=1e-12)


def test_viewers_find_the_phase_with_axes_and_units(path):
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        signal = plot[plot.attrs["signal"]]
        axes = [plot[name] for name in plot.attrs["axes"]]
        assert plot.attrs["NX_class"] == "NXdata" and signal.attrs["units"] == "rad"
        assert [len(axis) for axis in axes] == list(signal.shape)
        assert {axis.attrs["units"] for axis in axes} == {"m"}


def test_optics_go_along_and_the_rest_is_named(path, make_recon, tmp_path):
    optics = load_reconstruction(path).provenance["optics"]
    expected = make_recon().provenance["optics"]
    assert optics == pytest.approx(expected, rel=1e-12)
    native = save(make_recon(uncertainty=np.ones((20, 17), np.float32)), tmp_path / "recon.h5")
    done = convert(native, tmp_path / "other.cxi")
    assert (done.kind, done.format) == ("reconstruction", "cxi")
    assert set(done.lost) == {
        "uncertainty of the object",
        "records of where the data came from and how they were made",
    }
    with pytest.raises(InputError, match="object pixel: found none"):
        save(make_recon(pixel_size_m=None), tmp_path / "none.cxi", "cxi")
    with pytest.raises(InputError, match=r"found no such dataset|a reconstruction"):
        load(path)


@pytest.mark.parametrize("name", ["image_size", "image_center"])
def test_an_image_without_its_place_is_no_reconstruction(path, name):
    with h5py.File(path, "r+") as file:
        del file[f"entry_1/image_1/{name}"]
    with pytest.raises(InputError, match=f"image_1/{name}: found no such dataset"):
        load_reconstruction(path)
