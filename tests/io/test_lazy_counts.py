"""Lazy counts read exactly what arrays would, in any process, and check what they read."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.errors import InputError
from ptypinn.io.lazy_counts import LazyCounts

COUNTS = np.random.default_rng(0).integers(0, 60000, (40, 8, 8)).astype(np.uint16)


@pytest.fixture(scope="module")
def lazy(tmp_path_factory):
    path = tmp_path_factory.mktemp("lazy") / "counts.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("counts", data=COUNTS, chunks=(3, 8, 8), **hdf5plugin.Blosc())
    return LazyCounts(path, "counts")


KEYS = st.one_of(
    st.slices(40),
    st.lists(st.integers(0, 39), max_size=30).map(lambda v: np.array(v, int)),
    st.lists(st.booleans(), min_size=40, max_size=40).map(np.array),
)


@given(KEYS)
def test_reads_what_an_array_gives(lazy, key):
    np.testing.assert_array_equal(lazy[key], COUNTS[key])
    assert lazy[key].dtype == COUNTS.dtype


def test_survives_pickling(lazy):
    lazy[:2]
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(again[5:9], COUNTS[5:9])
    assert (again.shape, again.dtype) == (lazy.shape, lazy.dtype)


def test_other_processes_read_for_themselves(lazy):
    lazy[:2]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_read_sum, pickle.dumps(lazy)).result() == int(COUNTS[:7].sum())


def _read_sum(pickled):
    return int(pickle.loads(pickled)[:7].sum())


def test_bad_counts_are_found_when_read_and_named_by_their_number(tmp_path):
    values = COUNTS.astype(np.float32)
    values[17, 2, 3] = np.nan
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        file["counts"] = values
    counts = LazyCounts(path, "counts")
    counts[:17]
    with pytest.raises(InputError, match=r"bad\.h5: counts: found nan at pattern 17, pixel \(2, 3\)"):
        counts[np.array([3, 17, 30])]
    good = np.ones((8, 8), bool)
    good[2, 3] = False
    assert LazyCounts(path, "counts", good)[:].shape == COUNTS.shape


def test_a_file_that_went_away(tmp_path):
    path = tmp_path / "gone.h5"
    with h5py.File(path, "w") as file:
        file["counts"] = COUNTS
    pickled = pickle.dumps(LazyCounts(path, "counts"))
    path.unlink()
    with pytest.raises(InputError, match=r"gone\.h5"):
        pickle.loads(pickled)[:]
