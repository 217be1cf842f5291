"""Entries read back from files: what was written, or a ValueError; never something that fails later."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.scale import LedgerEntry, stats_of
from ptypinn.scale.ledger import Stats, unreadable_entries

ENTRY = LedgerEntry("merge", 2.0, 1.0, "rms", inverse=True, by_light=0.9, stats=stats_of(np.arange(6.0).reshape(2, 3)))
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
    "by_light": ["x", [1], False],
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
def test_whatever_is_read_can_be_reckoned_with(name, figure, value):
    record = plain()
    for damaged in ({**record, name: value}, {**record, "stats": {**record["stats"], figure: value}}, value):
        try:
            entry = LedgerEntry.from_json(damaged)
        except ValueError:
            assert unreadable_entries([record, damaged]) == 1
            continue
        assert unreadable_entries([record, damaged]) == 0
        assert math.isnan(entry.discrepancy) or entry.discrepancy >= 0
        assert entry.stats is None or entry.stats.rms is None or isinstance(entry.stats.rms, float)
        json.dumps(entry.as_json())


@pytest.mark.parametrize(("records", "number"), [(None, 0), ([], 0), ("x", 1), (5, 1), ({}, 1), ([1, "x", None], 3)])
def test_records_that_are_no_list_of_entries_are_counted(records, number):
    assert unreadable_entries(records) == number
