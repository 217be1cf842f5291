"""Slices in files: exact in our own, with axes for viewers of NeXus, as pages of TIFF, and in snapshots not at all."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import tifffile

import ptypinn as pp
from ptypinn.data.depth import project_phase
from ptypinn.errors import InputError
from ptypinn.io.load_save import save
from ptypinn.io.reconstruction_file import Snapshots
from thick_scans import SLICE_COUNT, make_thick_scan


@pytest.fixture(scope="module")
def made():
    return make_thick_scan()


def test_round_trip_is_exact(made, tmp_path):
    tilted = dataclasses.replace(made.recon, sample_tilt=np.array([0.01, -0.02]))
    back = pp.Reconstruction.load(tilted.save(tmp_path / "tilted.h5"))
    for name in ("slices", "gap_fresnel_numbers", "sample_tilt", "object"):
        np.testing.assert_array_equal(getattr(back, name), getattr(tilted, name))
    back = pp.Reconstruction.load(made.recon.save(tmp_path / "r.h5"))
    assert back.sample_tilt is None
    assert pp.evaluate(back, made.scan).metrics["residual_over_noise"] == pytest.approx(1, abs=0.05)


def test_viewers_see_a_stack_with_its_depth_in_metres(made, tmp_path):
    spacing = made.recon.provenance["slices"]["spacing_m"]
    with h5py.File(made.recon.save(tmp_path / "r.h5")) as file:
        for name, image in (("phase", np.angle(made.recon.slices)), ("amplitude", np.abs(made.recon.slices))):
            plot = file[f"entry/slices_{name}"]
            assert list(plot.attrs["axes"]) == ["z", "y", "x"]
            np.testing.assert_allclose(plot[plot.attrs["signal"]], image, atol=1e-6)
            np.testing.assert_allclose(plot["z"], np.cumsum([0.0, *spacing]))
            assert plot["z"].attrs["units"] == plot["y"].attrs["units"] == "m"
            assert [len(plot[axis]) for axis in "zyx"] == list(made.recon.slices.shape)
        projected = file["entry/projected_phase"]
        np.testing.assert_allclose(projected["data"], project_phase(made.recon.slices), atol=1e-6)
        assert [len(projected[axis]) for axis in "yx"] == list(made.recon.object.shape)


def test_pages_of_tiff_are_the_object_and_then_its_slices(made, tmp_path):
    path = save(made.recon, tmp_path / "object.tif", "tiff")
    with tifffile.TiffFile(path) as file:
        names = [json.loads(page.description)["image"] for page in file.pages]
        assert names[:4] == ["amplitude", "phase", "amplitude of slice 1", "phase of slice 1"]
        assert names[4 + 2 * (SLICE_COUNT - 1) :] == ["projected phase"]
        np.testing.assert_allclose(file.pages[-2].asarray(), np.angle(made.recon.slices[-1]))
        np.testing.assert_allclose(file.pages[-1].asarray(), project_phase(made.recon.slices), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("gap_fresnel_numbers", [0.2], "an array of shape .*, expected 2 positive numbers, one for every gap"),
        ("gap_fresnel_numbers", [0.2, 0.0], "expected 2 positive numbers, one for every gap"),
        ("gap_fresnel_numbers", [0.2, np.nan], "expected 2 positive numbers, one for every gap"),
        ("gap_fresnel_numbers", None, "found none, expected 2 positive numbers"),
        ("sample_tilt", [0.1], r"found \[0.1\], expected two finite numbers"),
        ("sample_tilt", [0.1, np.nan], "expected two finite numbers"),
        ("slices", None, "found none, expected two slices or more"),
        ("slices", np.ones((0, 80, 72), np.complex64), "expected two slices or more of shape"),
        ("slices", np.ones((3, 8, 8), np.complex64), "expected two slices or more of shape"),
        ("slices", np.ones((80, 72), np.complex64), "expected two slices or more of shape"),
        ("slices", np.full((3, 80, 72), np.nan + 0j, np.complex64), "values that are not finite"),
    ],
)
def test_slices_and_gaps_that_do_not_fit_are_refused_in_one_line(made, tmp_path, name, values, message):
    path = made.recon.save(tmp_path / "r.h5")
    with h5py.File(path, "r+") as file:
        file.pop(f"entry/reconstruction/{name}", None)
        if values is not None:
            file[f"entry/reconstruction/{name}"] = values
    with pytest.raises(InputError, match=message):
        pp.Reconstruction.load(path)


def test_a_sample_of_other_slices_than_its_scan_is_refused(made):
    thin = dataclasses.replace(made.recon, slices=None)
    with pytest.raises(InputError, match=r"an object of shape .*, expected 3 slices, one more than gaps between them"):
        pp.evaluate(thin, made.scan)


def test_other_programs_get_the_slices_too(made):
    np.testing.assert_array_equal(made.recon.to_torch().slices.numpy(), made.recon.slices)
    dataset = made.recon.to_xarray()
    assert dataset["slices"].dims == ("slice", "y", "x")
    np.testing.assert_array_equal(dataset["slices"], made.recon.slices)


def test_a_snapshot_shows_the_object_of_all_slices(made, tmp_path):
    Snapshots(tmp_path / "snapshot.h5")(lambda: made.recon)
    with h5py.File(tmp_path / "snapshot.h5") as file:
        np.testing.assert_array_equal(file["object"], made.recon.object)
