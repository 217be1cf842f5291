"""Rows of tables that grow: each is taken once, with the values that it has in the end."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_helpers import parts

from ptypinn.streams.messages import Positions
from ptypinn.streams.sources.hdf5_places import FileOptions
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.positions_file import PositionsFile
from ptypinn.streams.sources.rows import GrowingRows


def collect_rows(rows, tables):
    """Rows of a table at several times, the last of which is its end."""
    blocks = [each for table in tables[:-1] for each in rows.take(table)] + list(rows.take(tables[-1], last=True))
    numbers = np.concatenate([each.numbers for each in blocks])
    return numbers, np.concatenate([each.positions_m for each in blocks])


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8), st.randoms())
def test_columns_that_are_filled_in_at_different_times(count, fills, random):
    path = np.array([[random.choice([0.0, 1.0, 2.0]), random.choice([0.0, 1.0, 3.0])] for _ in range(count)])
    tables, y, x = [], 0, 0
    for more_y, more_x in fills:
        y, x = max(y, more_y), max(x, more_x)
        tables.append(path * (np.arange(count)[:, np.newaxis] < [y, x]))
    numbers, places = collect_rows(GrowingRows(), [*tables, path])
    assert sorted(numbers.tolist()) == list(range(count)) and np.array_equal(places, path[numbers])


def test_a_line_along_one_axis_is_taken_once_the_table_stands_still():
    rows, line = GrowingRows(settle_s=0.05), np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert list(rows.take(line)) == [] and rows.is_waiting
    time.sleep(0.06)
    assert [each.numbers.tolist() for each in rows.take(line)] == [[0, 1]] and not rows.is_waiting


@pytest.mark.parametrize("path", [[[0, 1], [0, 2], [0, 0]], [[1, 1], [0, 0]]])
def test_lines_of_a_text_table_are_complete(tmp_path, path):
    table = tmp_path / "stage.csv"
    table.write_text("y_um, x_um\n" + "".join(f"{y}, {x}\n" for y, x in path))
    source = PositionsFile(table, FileOptions(), SourceOptions(idle_s=0.1))
    stream = source.messages()
    blocks = parts([next(stream), next(stream)], Positions)
    source.close()
    stream.close()
    assert len(blocks) == 1 and np.allclose(blocks[0].positions_m, np.array(path) * 1e-6)
