"""Reconstructions for PtyPy: storages whose views are found by its own rule."""

import h5py
import numpy as np

from ptypinn.io.load_save import load_reconstruction, save
from ptypinn.stages.convert import convert

PIXEL = 3.1e-8


def test_views_lie_where_ptypy_looks_for_them(make_recon, make_scan, tmp_path):
    """A view's middle, pixel N//2, is at its position: pixel `(position - origin) / psize` of the storage."""
    recon = make_recon(origin_px=(-7, 12), pixel_size_m=PIXEL)
    path = save(recon, tmp_path / "recon.ptyr", "ptyr")
    with h5py.File(path) as file:
        assert file["header/kind"][()] == b"minimal"
        (name,) = file["content/obj"]
        storage = file[f"content/obj/{name}"]
        pixels = (file[f"content/positions/{name}"][()] - storage["_origin"][()]) / storage["_psize"][()]
        np.testing.assert_allclose(pixels - 8 // 2, recon.positions_px, atol=1e-9)
        np.testing.assert_array_equal(storage["data"][0], recon.object)
        (name,) = file["content/probe"]
        probe = file[f"content/probe/{name}"]
        np.testing.assert_array_equal(probe["data"][()], recon.probe)
        np.testing.assert_allclose(probe["_origin"][()] + 4 * PIXEL, 0, atol=1e-20)


def test_scan_and_reconstruction_share_positions(make_recon, make_scan, tmp_path):
    scan = make_scan(truth=None)
    places = scan.positions_px - np.array([2, 3])
    recon = make_recon(positions_px=places, origin_px=(2, 3), pixel_size_m=scan.pixel_size_m)
    with (
        h5py.File(save(scan, tmp_path / "scan.ptyd", "ptyd")) as data,
        h5py.File(save(recon, tmp_path / "recon.ptyr", "ptyr")) as result,
    ):
        (outcome,) = result["content/positions"].values()
        np.testing.assert_allclose(outcome[()], data["chunks/0/positions"][()], rtol=1e-12)


def test_the_suffix_chooses_the_format(make_recon, tmp_path):
    native = save(make_recon(), tmp_path / "recon.h5")
    done = convert(native, tmp_path / "recon.ptyr")
    assert (done.kind, done.format) == ("reconstruction", "ptyr")
    np.testing.assert_array_equal(load_reconstruction(done.path).object, make_recon().object)
