"""Annotations of the package are checked in every test: first calls of a function, and now and then behind them."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import shape_checks
from ptypinn.data.orientation import Orientation, rotation_matrix
from ptypinn.solvers.position_geometry import rotate

FLAT, PLANE = np.zeros(3), np.zeros((3, 2))


def rejected(calls):
    """Numbers of the calls with a wrong shape that are noticed."""
    numbers = []
    for number in range(1, calls + 1):
        try:
            rotate(FLAT, 0.1, np.zeros(2))
        except TypeCheckError:
            numbers.append(number)
        except ValueError:
            pass
    return numbers


@pytest.mark.parametrize("repetition", [0, 1])
def test_first_calls_are_all_checked_in_every_test(repetition):
    assert rejected(shape_checks.FIRST_CALLS) == list(range(1, shape_checks.FIRST_CALLS + 1))


def test_later_calls_are_checked_now_and_then_and_return_the_same():
    for _ in range(shape_checks.FIRST_CALLS):
        rotate(PLANE, 0.1, np.zeros(2))
    assert len(rejected(2 * shape_checks.PERIOD)) == 2
    np.testing.assert_array_equal(rotate(PLANE + 1, 0.1, np.zeros(2)), (PLANE + 1) @ rotation_matrix(0.1).T)


def test_dataclasses_and_methods_are_checked():
    with pytest.raises(TypeCheckError):
        Orientation(transpose=np.zeros(2))
    with pytest.raises(TypeCheckError):
        Orientation.of(FLAT.astype(np.int64))


def test_functions_within_functions_are_counted_as_one_and_get_their_checks_where_they_are_called():
    checked = []

    def define(value):
        def inner():
            return value

        return shape_checks.thin_out(inner, lambda function: checked.append(value) or function)

    unused = [define(value) for value in range(3)]
    assert checked == []
    assert [define(value)() for value in range(100)] == list(range(100))
    assert checked == [*range(shape_checks.FIRST_CALLS), shape_checks.PERIOD - 1, 2 * shape_checks.PERIOD - 1]
    assert [call() for call in unused] == [0, 1, 2]
    assert len(checked) == shape_checks.FIRST_CALLS + 2
