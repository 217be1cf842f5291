"""Selections of patterns with their positions, in every format; errors name what to leave out."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig, is_range_text
from ptypinn.data.ranges import format_ranges, parse_ranges
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import build_scan, select_patterns
from ptypinn.io.load_save import load, save

FORMATS = {"native": ".h5", "cxi": ".cxi", "ptyd": ".ptyd", "ptychodus": ".h5", "npz": ".npz"}
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
DATA = "entry_1/instrument_1/detector_1/data"
N = 11


@given(st.sets(st.integers(0, 49), min_size=1), st.booleans())
def test_texts_name_the_numbers_that_they_were_made_of(numbers, others):
    text = ("~" if others else "") + format_ranges(sorted(numbers))
    assert is_range_text(text)
    wanted = set(range(50)) - numbers if others else numbers
    assert parse_ranges(text, 50).tolist() == sorted(wanted)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 5))
def test_ranges_are_those_of_python_with_their_end(first, length, step):
    assert parse_ranges(f"{first}-{first + length}:{step}", 50).tolist() == list(range(first, first + length + 1, step))
    assert parse_ranges(f"{first}-:{step}", 50).tolist() == list(range(first, 50, step))


@pytest.mark.parametrize("text", ["a", "1,,2", "5-3", "-3", "1-9:0", "~", "1;2", "1 2", "~~1"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match=r"--select: found .*numbers and ranges counted from 0"):
        LoadConfig(select=text)


@pytest.mark.parametrize("budget", [1.0, 1e-9])
@pytest.mark.parametrize("name", FORMATS)
def test_a_selection_is_a_part_of_the_scan(make_scan, tmp_path, name, budget):
    scan = make_scan(n=N, truth=None)
    path = save(scan, tmp_path / f"scan{FORMATS[name]}", name)
    options = {"survey": False, "memory_budget_gib": budget, "calibration": "none"}
    whole = load(path, LoadConfig(**options))
    part = load(path, LoadConfig(select="~0,4-6", **options))
    index = [1, 2, 3, 7, 8, 9, 10]
    np.testing.assert_array_equal(part.counts[:], whole.counts[np.array(index)])
    np.testing.assert_array_equal(part.positions_px, whole.positions_px[index])
    np.testing.assert_array_equal(part.mask, whole.mask)
    assert part.provenance["selected"] == {"patterns": "1-3,7-10", "of": N}


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_unequal_numbers_are_paired_by_the_selection(patterns, positions, data):
    """Numbers below both select both; as many numbers as the shorter has pair them with the whole of it."""
    shorter, total = sorted((patterns, positions))
    first = data.draw(st.integers(0, total - shorter))
    stack = np.arange(patterns, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32)
    places = np.stack([np.arange(positions, dtype=np.float64)] * 2, 1)
    scan = build_scan(
        LoadConfig(select=f"{first}-{first + shorter - 1}"), counts=stack, positions_px=places, provenance={}
    )
    lag = scan.counts[:, 0, 0] - scan.positions_px[:, 0]
    assert scan.n_patterns == shorter
    assert (lag == (first if patterns > positions else -first if positions > patterns else 0)).all()


@pytest.mark.parametrize(
    ("patterns", "positions", "advice"),
    [(7, 5, '"0-4" takes the first patterns, --select "2-6" the last'), (5, 7, '"0-4" takes the first positions')],
)
def test_unequal_numbers_are_an_error_with_its_remedy(make_scan, tmp_path, patterns, positions, advice):
    scan = make_scan(n=7, truth=None, mask=None)
    path = save(scan, tmp_path / "scan.cxi", "cxi")
    with h5py.File(path, "r+") as file:
        for name, count in ((DATA, patterns), (TRANSLATION, positions)):
            values = file[name][:count]
            del file[name]
            file[name] = values
    with pytest.raises(InputError, match=rf"found {positions} positions for {patterns} patterns.*--select {advice}"):
        load(path)
    np.testing.assert_array_equal(load(path, LoadConfig(select="0-4", survey=False)).counts, scan.counts[:5])
    with pytest.raises(InputError, match=r"--select: found 7 in 0-7, expected numbers from 0 to 6"):
        load(path, LoadConfig(select="0-7"))
    with pytest.raises(InputError, match=r"--select: found 2 numbers up to 6.*numbers below 5, or 5 numbers in all"):
        load(path, LoadConfig(select="0,6"))


def test_positions_that_are_not_finite_are_named_with_the_selection_without_them(make_scan, tmp_path):
    scan = make_scan(n=N, truth=None)
    path = save(scan, tmp_path / "scan.cxi", "cxi")
    with h5py.File(path, "r+") as file:
        file[TRANSLATION][[2, 7], 0] = np.nan
    with pytest.raises(InputError, match=rf"positions 2 and 7 of {N} that are not finite.*--select \"~2,7\""):
        load(path)
    with pytest.raises(InputError, match=rf"position 7 of {N} that is not finite.*--select \"~2,7\""):
        load(path, LoadConfig(select="~2"))
    assert load(path, LoadConfig(select="~2,7", survey=False)).n_patterns == N - 2


def test_patterns_that_are_not_finite_are_named_with_the_selection_without_them(make_scan, tmp_path):
    counts = make_scan(n=N).counts.astype(np.float32)
    path = save(make_scan(n=N, counts=counts, truth=None, mask=None), tmp_path / "scan.cxi", "cxi")
    with h5py.File(path, "r+") as file:
        file[DATA][3, 1, 2] = file[DATA][8] = np.nan
    message = rf"nan at pattern 3, pixel \(1, 2\), and alike in patterns 3 and 8 of {N}.*--select \"~3,8\""
    with pytest.raises(InputError, match=message):
        load(path, LoadConfig(survey=False))
    assert load(path, LoadConfig(survey=False, select="~3,8")).n_patterns == N - 2


def test_readers_of_other_packages_need_not_select():
    """A scan that a plug-in built is selected afterwards, and one that was selected is left alone."""
    scan = ScanData(counts=np.arange(5)[:, None, None] * np.ones((1, 8, 8)), positions_px=np.zeros((5, 2)))
    part = select_patterns(scan, LoadConfig(select="1,3"))
    assert part.counts[:, 0, 0].tolist() == [1, 3]
    assert select_patterns(part, LoadConfig(select="1,3")) is part
