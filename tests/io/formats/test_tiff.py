"""TIFF images as other programs see them: pages, number type, tags."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.errors import InputError
from ptypinn.io.load_save import save
from ptypinn.stages.convert import convert


@given(height=st.integers(9, 40), width=st.integers(9, 40), exponent=st.floats(-11, -5), seed=st.integers(0, 99))
def test_pages_are_the_object_and_tags_its_pixel(make_recon, tmp_path_factory, height, width, exponent, seed):
    rng = np.random.default_rng(seed)
    image = (rng.normal(size=(height, width)) + 1j * rng.normal(size=(height, width))).astype(np.complex64)
    light = np.ones((height, width), np.float32)
    recon = make_recon(object=image, illumination=light, pixel_size_m=10**exponent, origin_px=(-3, 5))
    path = save(recon, tmp_path_factory.mktemp("tiff") / "object.tif", "tiff")
    with tifffile.TiffFile(path) as file:
        amplitude, phase = (page.asarray() for page in file.pages)
        np.testing.assert_array_equal(amplitude, np.abs(image))
        np.testing.assert_array_equal(phase, np.angle(image))
        assert amplitude.dtype == phase.dtype == np.float32
        for page, name in zip(file.pages, ("amplitude", "phase"), strict=True):
            assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
            np.testing.assert_allclose(page.resolution, 0.01 / 10**exponent, rtol=1e-6)
            reports = json.loads(page.description)
            assert (reports["image"], reports["pixel_size_m"]) == (name, 10**exponent)
            assert reports["origin_px"] == [-3, 5]


@pytest.mark.parametrize("size", [None, 1e-13])
def test_tags_make_no_pixel_size_up(make_recon, tmp_path, size):
    path = save(make_recon(pixel_size_m=size), tmp_path / "object.tif", "tiff")
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].resolutionunit == tifffile.RESUNIT.NONE
        assert json.loads(file.pages[0].description)["pixel_size_m"] == size


def test_convert_takes_the_suffix_and_scans_are_refused(make_recon, make_scan, tmp_path):
    source = save(make_recon(), tmp_path / "recon.h5")
    done = convert(source, tmp_path / "object.tiff")
    assert (done.format, done.kind) == ("tiff", "reconstruction")
    assert "probe" in done.lost
    with pytest.raises(InputError, match="scans"):
        save(make_scan(), tmp_path / "scan.tif", "tiff")


def test_a_missing_package_is_named_with_its_extra(make_recon, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(InputError, match=r"pip install 'ptypinn\[tiff\]'"):
        save(make_recon(), tmp_path / "object.tif", "tiff")
