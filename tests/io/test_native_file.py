"""Our own scan file: exact round trip, CXI layout, no metres invented, nothing half-written."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.io.formats.cxi import read_cxi
from ptypinn.io.formats.native import read_native
from ptypinn.io.lazy_counts import LazyCounts
from ptypinn.io.load_save import load, save

ARRAYS = ("counts", "positions_px", "probe", "mask", "truth")
NUMBERS = ("pixel_size_m", "energy_eV", "detector_distance_m", "detector_pixel_m", "probe_gauge")
OPTIONAL = ("probe", "truth", "pixel_size_m", "energy_eV", "detector_distance_m", "detector_pixel_m")


def same_bits(a, b):
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a[:]), np.asarray(b[:])
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_scan(a, b):
    for name in ARRAYS:
        assert same_bits(getattr(a, name), getattr(b, name)), name
    for name in NUMBERS:
        assert getattr(a, name) == getattr(b, name), name


@given(
    n=st.integers(1, 9),
    size=st.sampled_from([8, 10, 16]),
    dtype=st.sampled_from(["uint16", "uint32", "int32", "float32"]),
    modes=st.integers(1, 3),
    gauge=st.sampled_from(["relative", "calibrated"]),
    missing=st.sets(st.sampled_from(OPTIONAL)),
    lazy=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_round_trip_is_exact_to_the_bit(make_scan, tmp_path_factory, n, size, dtype, modes, gauge, missing, lazy, seed):
    absent = dict.fromkeys(missing)
    scan = make_scan(n, size, dtype, modes, seed, probe_gauge=gauge, **absent)
    path = tmp_path_factory.mktemp("native") / "scan.h5"
    save(scan, path)
    back = read_native(path, LoadConfig(memory_budget_gib=1e-9 if lazy else 1.0))
    assert isinstance(back.counts, LazyCounts) == lazy
    assert_same_scan(scan, back)
    assert {key: back.provenance[key] for key in scan.provenance} == scan.provenance


def test_a_loaded_scan_saved_again_is_the_same(make_scan, tmp_path):
    first = load(save(make_scan(), tmp_path / "a.h5"))
    second = load(save(first, tmp_path / "b.h5"))
    assert_same_scan(first, second)
    assert second.provenance["file"] == "b.h5"
    assert second.provenance["converted_from"]["file"] == "a.h5"


def test_a_cxi_reader_finds_the_same_scan_in_the_standard_paths(make_scan, tmp_path):
    size = 1.2398419843320026e-6 / 8765.4321 * (2 / 3) / (8 * 7.5e-5)
    scan = make_scan(pixel_size_m=size)
    other = read_cxi(save(scan, tmp_path / "scan.cxi"), LoadConfig())
    assert same_bits(other.counts, scan.counts)
    assert same_bits(other.mask, scan.mask)
    np.testing.assert_allclose(other.positions_px, scan.positions_px, rtol=1e-9)
    np.testing.assert_allclose(
        [other.energy_eV, other.pixel_size_m, other.detector_distance_m], [8765.4321, size, 2 / 3], rtol=1e-12
    )


def test_standard_paths_hold_si_units(make_scan, tmp_path):
    scan = make_scan()
    with h5py.File(save(scan, tmp_path / "scan.cxi")) as file:
        energy = file["entry_1/instrument_1/source_1/energy"]
        assert energy.attrs["units"] == "J"
        assert energy[()] == pytest.approx(8765.4321 * 1.602176634e-19, rel=1e-12)
        assert file["entry_1/instrument_1/source_1/wavelength"][()] == pytest.approx(scan.wavelength_m)
        assert isinstance(file["entry_1/data_1"].get("data", getlink=True), h5py.SoftLink)
        assert file["entry_1/data_1/translation"].shape == (5, 3)
        mask = file["entry_1/instrument_1/detector_1/mask"]
        assert mask.dtype == np.uint32
        assert np.array_equal(mask[()] != 0, ~scan.good)


def test_no_metres_are_invented(make_scan, tmp_path):
    scan = make_scan(pixel_size_m=None, energy_eV=None, detector_distance_m=None, detector_pixel_m=None)
    with h5py.File(save(scan, tmp_path / "scan.cxi")) as file:
        names = []
        file.visit(names.append)
    assert not [
        n for n in names if n.split("/")[-1] in {"translation", "energy", "wavelength", "distance", "x_pixel_size"}
    ]


class WriteInterruptedError(Exception):
    pass


class BreaksAfterOnePattern:
    """Counts whose disk is pulled out while they are copied."""

    shape, dtype = (4, 8, 8), np.dtype("uint16")

    def __getitem__(self, key):
        raise WriteInterruptedError


def test_an_interrupted_write_leaves_nothing(make_scan, tmp_path):
    with pytest.raises(WriteInterruptedError):
        save(make_scan(n=4, counts=BreaksAfterOnePattern()), tmp_path / "scan.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_keeps_the_earlier_file(make_scan, tmp_path):
    scan = make_scan()
    save(scan, tmp_path / "scan.h5")
    with pytest.raises(WriteInterruptedError):
        save(make_scan(n=4, counts=BreaksAfterOnePattern()), tmp_path / "scan.h5")
    assert_same_scan(load(tmp_path / "scan.h5"), scan)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("name", "pixel"), [("native", 7.5e-5), ("native", None), ("cxi", 7.5e-5)])
def test_default_chain_leads_to_patterns_with_axes(make_scan, tmp_path, name, pixel):
    scan = make_scan(detector_pixel_m=pixel)
    with h5py.File(save(scan, tmp_path / "scan.cxi", name)) as file:
        node, classes = file, [file.attrs["NX_class"]]
        while "default" in node.attrs:
            node = node[node.attrs["default"]]
            classes.append(node.attrs["NX_class"])
        assert classes == ["NXroot", "NXentry", "NXdata"]
        signal = node[node.attrs["signal"]]
        np.testing.assert_array_equal(signal, scan.counts)
        assert signal.attrs["units"] == "counts"
        assert [len(node[axis]) for axis in node.attrs["axes"]] == list(signal.shape)
        assert node["x"].attrs["units"] == ("pixel" if pixel is None else "m")
        assert node["x"][scan.size // 2] == 0
        assert node["x"][scan.size // 2 + 1] == (pixel or 1)
