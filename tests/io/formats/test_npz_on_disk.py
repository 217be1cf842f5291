"""NPZ archives are read as far as they are needed: stored patterns stay on disk, other arrays are left alone."""

import pickle

import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.lazy_counts import MappedCounts
from ptypinn.io.load_save import load
from ptypinn.io.safe.npz import Archive

M, N = 9, 16


def write(path, order="nhw", amplitude=False, save=np.savez, **more):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 500, (M, N, N)).astype(np.float32 if amplitude else np.uint16)
    stored = np.sqrt(counts) if amplitude else counts
    arrays = {
        "objectGuess": np.ones((40, 40), np.complex64),
        "diffraction": np.ascontiguousarray(np.moveaxis(stored, 0, -1)) if order == "hwn" else stored,
        "positions_px": rng.uniform(0, 9, (M, 2)),
        **more,
    }
    save(path, **arrays)
    return counts


@pytest.mark.parametrize("order", ["nhw", "hwn"])
@pytest.mark.parametrize("amplitude", [False, True])
@pytest.mark.parametrize("crop", [None, 8])
def test_stored_patterns_stay_on_disk_and_read_the_same(tmp_path, order, amplitude, crop):
    path = tmp_path / "scan.npz"
    counts = write(path, order, amplitude)
    options = {"axis_order": order, "domain": "amplitude" if amplitude else "counts", "crop_px": crop}
    lazy = load(path, LoadConfig(**options, memory_budget_gib=1e-9))
    eager = load(path, LoadConfig(**options))
    assert isinstance(lazy.counts, MappedCounts) and isinstance(eager.counts, np.ndarray)
    assert not isinstance(eager.counts, np.memmap)
    np.testing.assert_array_equal(lazy.counts[:], eager.counts)
    assert lazy.counts.dtype == eager.counts.dtype
    expected = counts if crop is None else counts[:, 4:12, 4:12]
    np.testing.assert_allclose(eager.counts, expected, rtol=1e-6)
    copy = pickle.loads(pickle.dumps(lazy.counts))
    np.testing.assert_array_equal(copy[np.array([5, 1])], eager.counts[[5, 1]])


def test_compressed_patterns_are_read_within_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "scan.npz"
    counts = write(path, save=np.savez_compressed)
    np.testing.assert_array_equal(load(path, LoadConfig(memory_budget_gib=1e-9)).counts, counts)
    monkeypatch.setattr("ptypinn.io.safe.hdf5.MAX_ARRAY_BYTES", 2000.0)
    with pytest.raises(InputError, match=r"diffraction: found an array of 4\.\d+ kB.*--memory-budget-gib"):
        load(path, LoadConfig(memory_budget_gib=1e-9))
    write(path)
    assert load(path, LoadConfig(memory_budget_gib=1e-9)).n_patterns == M


def test_arrays_that_nobody_asks_for_are_not_read(tmp_path):
    """Files carry notes that need unpickling; patterns beside them are none the worse for it."""
    path = tmp_path / "scan.npz"
    counts = write(path, metadata=np.array({"made": "by somebody"}, object))
    np.testing.assert_array_equal(load(path).counts, counts)
    with pytest.raises(InputError, match="metadata: found pickled Python objects"):
        Archive(path)["metadata"]


@pytest.mark.parametrize("budget", [1e-9, 1024.0])
def test_bad_pixels_may_hold_anything(tmp_path, budget):
    path, bad = tmp_path / "scan.npz", np.zeros((N, N), bool)
    bad[3, 4] = True
    stored = np.ones((M, N, N), np.float32)
    stored[:, 3, 4] = np.nan
    np.savez(path, diffraction=stored, positions_px=np.zeros((M, 2)), bad_pixels=bad)
    scan = load(path, LoadConfig(domain="counts", memory_budget_gib=budget))
    assert np.isnan(scan.counts[:][:, 3, 4]).all()
    stored[2, 5, 6] = -1
    np.savez(path, diffraction=stored, positions_px=np.zeros((M, 2)), bad_pixels=bad)
    with pytest.raises(InputError, match=r"-1\.0 at pattern 2, pixel \(5, 6\)"):
        load(path, LoadConfig(domain="counts", memory_budget_gib=budget)).counts[:]


def test_a_member_that_is_not_where_the_archive_says_is_refused(tmp_path):
    path = tmp_path / "scan.npz"
    write(path)
    content = bytearray(path.read_bytes())
    where = content.index(b"diffraction.npy") - 30
    content[where : where + 4] = b"XXXX"
    path.write_bytes(content)
    with pytest.raises(InputError, match="diffraction: found a truncated or damaged file"):
        load(path)
