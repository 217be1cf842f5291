"""Tables of positions: units in the header, any usual separator, and errors that name the line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.position_table import read_positions

FACTORS = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9, "A": 1e-10}
STYLES = ("{axis}_{unit}", "{axis} ({unit})", "{axis} [{unit}]", "{axis}/{unit}")
DEFAULTS = LoadConfig()


@given(
    unit=st.sampled_from(sorted(FACTORS)),
    style=st.sampled_from(STYLES),
    separator=st.sampled_from([",", ";", "\t", ", "]),
    comment=st.sampled_from(["", "# ", "#"]),
    values=st.lists(st.tuples(*[st.floats(-1e3, 1e3, allow_subnormal=False)] * 2), min_size=1, max_size=9),
)
def test_any_spelling_reads_the_same(tmp_path_factory, unit, style, separator, comment, values):
    path = tmp_path_factory.mktemp("table") / "positions.csv"
    names = ["frame", style.format(axis="x", unit=unit), style.format(axis="Y", unit=unit)]
    lines = [separator.join([str(n), repr(x), repr(y)]) for n, (y, x) in enumerate(values)]
    path.write_text("\n".join([comment + separator.join(names), *lines, ""]), encoding="utf-8")
    result = read_positions(path, DEFAULTS, 2e-8)
    np.testing.assert_allclose(result, np.array(values) * FACTORS[unit] / 2e-8, rtol=1e-12, atol=1e-300)


def test_pixels_need_no_pixel_size_and_spaces_separate(tmp_path):
    path = tmp_path / "positions.txt"
    path.write_text("y x\n1 2\n\n# a remark\n3   4.5\n")
    expected = [[1, 2], [3, 4.5]]
    np.testing.assert_array_equal(read_positions(path, LoadConfig(positions_unit="px"), None), expected)
    np.testing.assert_allclose(read_positions(path, LoadConfig(positions_unit="nm"), 1e-9), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y_um,x_um\n1,2\n3,four\n", r"line 3: found '3,four', expected numbers in the columns y and x"),
        ("y_um,x_um\n1,2\n\n3\n", r"line 4: found 1 cells in '3', expected 2, as the first line has names"),
        ("y_um,x_nm\n1,2\n1,2\n", r"line 1: found units nm and um"),
        ("y,x\n1,2\n1,2\n", r"line 1: found columns without units.*--positions-unit"),
        ("y_furlong,x_furlong\n1,2\n1,2\n", r"line 1: found unit furlong"),
        ("1,2\n3,4\n", r"line 1: found '1,2', expected names of columns"),
        ("x_um;y_um\n1,5;2\n1.5;2\n", r"line 3: found '1.5;2', expected the decimal sign of the lines before"),
        ("x_um,y_um\n0,4,1,2\n", r"line 2: found 4 cells in '0,4,1,2', expected 2"),
        ("x_um;y_um\n0,4;1,2;3\n", r"line 2: found 3 cells"),
        ("", r"line 1: found ''"),
        ("y_um,x_um\n" + "1" * 20000, r"line 2: found more than 10000 characters"),
    ],
)
def test_errors_name_the_line(tmp_path, text, message):
    path = tmp_path / "positions.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"positions\.csv: {message}"):
        read_positions(path, DEFAULTS, 1e-8)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "positions.csv"
    path.write_bytes(b"y_um,x_um\n\xff\xfe\n")
    with pytest.raises(InputError, match=r"line 2: found something else, expected text"):
        read_positions(path, DEFAULTS, 1e-8)


@given(
    separators=st.sampled_from([(";", ";"), ("\t", "\t"), (" ", " "), (";", "\t"), (",", " ")]),
    values=st.lists(st.tuples(*[st.floats(-1e3, 1e3, allow_subnormal=False)] * 2), min_size=1, max_size=9),
    digits=st.integers(1, 6),
    directive=st.booleans(),
)
def test_decimal_commas_mean_what_points_mean(tmp_path_factory, separators, values, digits, directive):
    path = tmp_path_factory.mktemp("table") / "positions.csv"
    head, between = separators
    lines = [between.join(f"{value:.{digits}f}" for value in (x, y)) for y, x in values]
    header = head.join(["x_um", "y_um"])
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    points = read_positions(path, DEFAULTS, 2e-8)
    start = [f"sep={head}"] if directive and head == between == ";" else []
    path.write_text("\n".join([*start, header, *(line.replace(".", ",") for line in lines)]), encoding="utf-8")
    np.testing.assert_array_equal(read_positions(path, DEFAULTS, 2e-8), points)
    np.testing.assert_allclose(points * 2e-8, np.array(values) * 1e-6, atol=10.0**-digits * 1e-6)


def test_positions_that_are_no_numbers_are_for_the_selection(tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text("y_px;x_px\n1;2\nnan;3\n")
    positions = read_positions(path, DEFAULTS, None)
    np.testing.assert_array_equal(positions, [[1, 2], [np.nan, 3]])
