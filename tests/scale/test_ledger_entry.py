"""Entries read from files: equal to what was written, or a ValueError; never an entry that fails later."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.scale import LedgerEntry, compute_stats
from ptypinn.scale.ledger_entry import Stats, count_unreadable_entries

ENTRY = LedgerEntry(
    "merge", 2.0, 1.0, "rms", inverse=True, illumination_weighted=0.9, stats=compute_stats(np.arange(6.0).reshape(2, 3))
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
WRONG = {
    "stage": [5, None, [1], {}],
    "source": [5, None],
    "expected": ["x", "1.0", [1], {}, True, -1.0, 10**400],
    "measured": ["x", [1], -1.0],
    "illumination_weighted": ["x", [1], False],
    "inverse": ["x", 1, None],
    "on_path": ["no", [0]],
    "stats": ["x", 5, [1]],
}
WRONG_STATS = {
    "shape": ["x", 5, None, ["x"], [1.5], [True]],
    "dtype": [5, None],
    "minimum": ["x", [1]],
    "mean": ["x", {}],
    "std": ["x", True],
    "non_finite": ["x", None, 1.5],
    "at_ceiling": ["x", [0.1]],
}


def plain(entry=ENTRY):
    return json.loads(json.dumps(entry.as_json(), allow_nan=False))


def cases(table):
    return [(name, value) for name, values in table.items() for value in values]


def test_an_entry_is_read_as_it_was_written():
    assert LedgerEntry.from_json(plain()) == ENTRY
    lost = LedgerEntry.from_json(plain(replace(ENTRY, measured=math.inf)))
    assert math.isnan(lost.measured) and lost.expected == 2.0
    assert LedgerEntry.from_json({**plain(), "expected": 2}).expected == 2.0
    assert LedgerEntry.from_json({**plain(), "of a later version": 1}) == ENTRY


def test_an_entry_with_the_keys_of_version_0_1_is_read():
    record = plain(replace(ENTRY, counting_tolerance=0.01))
    record["by_light"], record["chance"] = record.pop("illumination_weighted"), record.pop("counting_tolerance")
    entry = LedgerEntry.from_json(record)
    assert (entry.illumination_weighted, entry.counting_tolerance) == (0.9, 0.01)


@pytest.mark.parametrize(("name", "value"), cases(WRONG))
def test_a_field_of_another_type_is_an_error(name, value):
    with pytest.raises(ValueError, match=name):
        LedgerEntry.from_json({**plain(), name: value})


@pytest.mark.parametrize(("name", "value"), cases(WRONG_STATS))
def test_statistics_of_another_type_are_an_error(name, value):
    record = {**plain()["stats"], name: value}
    with pytest.raises(ValueError, match=name):
        Stats.from_json(record)
    with pytest.raises(ValueError, match=name):
        LedgerEntry.from_json({**plain(), "stats": record})


@pytest.mark.parametrize("name", ["stage", "expected", "measured", "source"])
def test_a_field_that_is_missing_is_an_error(name):
    record = plain()
    del record[name]
    with pytest.raises(ValueError, match=name):
        LedgerEntry.from_json(record)


@given(st.sampled_from(sorted(plain())), st.sampled_from(sorted(plain()["stats"])), ANYTHING)
def test_every_entry_that_is_read_can_be_computed_with(name, statistic, value):
    record = plain()
    for damaged in ({**record, name: value}, {**record, "stats": {**record["stats"], statistic: value}}, value):
        try:
            entry = LedgerEntry.from_json(damaged)
        except ValueError:
            assert count_unreadable_entries([record, damaged]) == 1
            continue
        assert count_unreadable_entries([record, damaged]) == 0
        assert math.isnan(entry.discrepancy) or entry.discrepancy >= 0
        assert entry.stats is None or entry.stats.rms is None or isinstance(entry.stats.rms, float)
        json.dumps(entry.as_json())


@pytest.mark.parametrize(("records", "number"), [(None, 0), ([], 0), ("x", 1), (5, 1), ({}, 1), ([1, "x", None], 3)])
def test_records_that_are_no_list_of_entries_are_counted(records, number):
    assert count_unreadable_entries(records) == number
