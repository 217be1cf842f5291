"""What numpy, xarray and torch get: the values to the last bit, their units, and no copies where none are needed."""

from __future__ import annotations

import dataclasses
import json
import sys

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.tensors import tensor_of
from ptypinn.errors import InputError
from ptypinn.io.lazy_counts import LazyCounts

SIZES = st.integers(1, 20)
PIXELS = st.none() | st.floats(1e-12, 1e-6)


def an_object(height, width, modes=1, pixel=None, origin=(0, 0)) -> Reconstruction:
    rng = np.random.default_rng(height + 100 * width)

    def field(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)

    return Reconstruction(
        field(height, width),
        rng.uniform(size=(height, width)).astype(np.float32),
        field(modes, 4, 4),
        rng.uniform(0, 9, (5, 2)),
        origin_px=origin,
        pixel_size_m=pixel,
        uncertainty=rng.uniform(size=(height, width)).astype(np.float32),
        scale=[{"stage": "loading", "expected": 2.0, "measured": 1.5}],
        provenance={"seed": 3, "file": "a.h5"},
    )


def a_scan(counts, **known) -> ScanData:
    positions = np.random.default_rng(0).uniform(0, 9, (counts.shape[0], 2))
    return ScanData(counts, positions, **known)


@given(SIZES, SIZES, st.integers(1, 3), PIXELS, st.tuples(st.integers(-50, 50), st.integers(-50, 50)))
def test_xarray_holds_a_reconstruction_with_its_units(height, width, modes, pixel, origin):
    pytest.importorskip("xarray")
    recon = an_object(height, width, modes, pixel, origin)
    data = recon.to_xarray()
    for name in ("object", "illumination", "uncertainty", "probe"):
        values = getattr(recon, name)
        assert data[name].dtype == values.dtype and np.shares_memory(data[name].values, values)
        np.testing.assert_array_equal(data[name].values, values)
    unit, scale = ("pixel", 1) if pixel is None else ("m", pixel)
    for axis, first, length in zip("yx", origin, (height, width), strict=True):
        assert data[axis].attrs["units"] == data[f"position_{axis}"].attrs["units"] == unit
        np.testing.assert_allclose(data[axis].values, scale * np.arange(first, first + length), rtol=1e-12)
    on_object = np.stack(
        [data[f"position_{axis}"].values / scale - start for axis, start in zip("yx", origin, strict=True)]
    )
    np.testing.assert_allclose(on_object.T, recon.positions_px, atol=1e-9)
    assert data.object.attrs["units"] == "1" and data.illumination.attrs["units"] == "photons per pixel"
    assert json.loads(data.attrs["scale"]) == recon.scale
    assert json.loads(data.attrs["provenance"]) == recon.provenance
    assert data.attrs.get("pixel_size_m") == pixel and data.attrs["origin_px"] == list(origin)


@given(st.integers(1, 6), st.sampled_from([8, 10, 16]), PIXELS, st.booleans())
def test_xarray_holds_a_scan_with_its_units(n_patterns, size, pixel, full):
    pytest.importorskip("xarray")
    counts = np.random.default_rng(size).integers(0, 60000, (n_patterns, size, size)).astype(np.uint16)
    extra = {"probe": np.ones((2, size, size), np.complex64), "truth": np.ones((30, 31), np.complex64)} if full else {}
    scan = a_scan(counts, pixel_size_m=pixel, energy_eV=8e3, detector_pixel_m=5e-5, **extra)
    data = scan.to_xarray()
    np.testing.assert_array_equal(data.counts.values, counts)
    assert np.shares_memory(data.counts.values, counts)
    assert data.mask.dtype == bool and data.mask.shape == (size, size)
    assert data.detector_y.attrs["units"] == "m" and float(data.detector_y[size // 2]) == 0
    assert data.attrs["energy_eV"] == 8e3 and data.attrs["wavelength_m"] == scan.wavelength_m
    assert {"probe", "truth"} & set(data.variables) == set(extra)
    assert data.position_y.attrs["units"] == ("pixel" if pixel is None else "m")


def test_xarray_reads_counts_on_disk_when_they_are_used(tmp_path, monkeypatch):
    xarray = pytest.importorskip("xarray")
    stored = np.random.default_rng(1).integers(0, 99, (30, 8, 8)).astype(np.uint16)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["counts"] = stored
    read: list[int] = []
    once = LazyCounts._read
    monkeypatch.setattr(LazyCounts, "_read", lambda self, wanted: read.extend(wanted.tolist()) or once(self, wanted))
    scan = a_scan(LazyCounts(tmp_path / "scan.h5", "counts"))
    data = scan.to_xarray()
    assert "counts" in repr(data) and read == []
    np.testing.assert_array_equal(data.counts[7].values, stored[7])
    assert read == [7]
    for key in ((slice(3, 9, 2), 2), ([4, 1, 4], slice(1, 3)), (-1, 2, 3), (slice(2), [0, 5]), (5, [1, 2], [3, 4])):
        again = scan.to_xarray()
        expected = xarray.DataArray(stored, dims=data.counts.dims)[key]
        np.testing.assert_array_equal(again.counts[key].values, expected.values)
    np.testing.assert_array_equal(scan.to_xarray().counts.values, stored)


@pytest.mark.parametrize("make", [lambda: an_object(3, 4), lambda: a_scan(np.ones((2, 8, 8), np.uint16))])
def test_a_missing_xarray_is_named_with_what_brings_it(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"to_xarray: found no package xarray, expected .* 'ptypinn\[xarray\]'"):
        make().to_xarray()


@given(SIZES, SIZES)
def test_torch_shares_the_memory_of_a_reconstruction(height, width):
    recon = an_object(height, width)
    recon = dataclasses.replace(recon, slices=np.stack([recon.object] * 2), gap_fresnel_numbers=np.ones(1))
    for name, tensor in recon.to_torch()._asdict().items():
        array = getattr(recon, name)
        assert tensor.data_ptr() == array.ctypes.data, name
        np.testing.assert_array_equal(tensor.numpy(), array)
    bare = dataclasses.replace(recon, uncertainty=None, slices=None, gap_fresnel_numbers=None).to_torch()
    assert bare.uncertainty is None and bare.slices is None


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i4", "f4", "f8"])
def test_torch_keeps_the_counts(kind, tmp_path):
    counts = np.random.default_rng(2).integers(0, 200, (5, 8, 8)).astype(kind)
    tensors = a_scan(counts).to_torch()
    assert tensors.counts.data_ptr() == counts.ctypes.data
    assert tensors.probe is None and tensors.truth is None and tensors.mask.all()
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["counts"] = counts
    np.testing.assert_array_equal(a_scan(LazyCounts(tmp_path / "scan.h5", "counts")).to_torch().counts.numpy(), counts)


def test_arrays_that_torch_cannot_share_are_copied():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    locked = values.copy()
    locked.flags.writeable = False
    for array in (locked, values[::-1], values.astype(">f4"), values.T):
        tensor = tensor_of(array)
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor_of(values.T).data_ptr() == values.ctypes.data
    tensor_of(locked)[0, 0] = 7
    assert locked[0, 0] == 0


def test_numpy_takes_a_reconstruction_for_its_object():
    recon = an_object(6, 7)
    assert np.asarray(recon) is recon.object
    np.testing.assert_allclose(np.abs(recon), np.abs(recon.object))
    assert np.asarray(recon, np.complex128).dtype == np.complex128
    assert not np.shares_memory(np.array(recon), recon.object)
    with pytest.raises(ValueError, match="copy"):
        np.array(recon, np.complex128, copy=False)
