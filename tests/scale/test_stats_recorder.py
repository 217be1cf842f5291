"""The tape: figures as numpy has them, nothing changed, nothing copied before the end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ptypinn.scale import Stats, Tape

batches = st.lists(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.just(4), st.just(5)), elements=st.floats(-1e3, 1e3, width=32)),
    min_size=1,
    max_size=5,
)


@given(batches, st.booleans())
def test_figures_are_those_of_all_values_together(parts, as_waves):
    tape, values = Tape(), np.concatenate(parts)
    for part in parts:
        tensor = torch.from_numpy(part)
        tape.note("stage", torch.complex(tensor, -tensor) if as_waves else tensor, each=True)
    found = tape.read()["stage"]
    values = np.abs(values) * 2**0.5 if as_waves else values
    values = values.astype(np.float64)
    assert found.shape == values.shape
    assert found.dtype == ("complex64" if as_waves else "float32")
    near = {"rel": 1e-4, "abs": 1e-3}
    assert found.minimum == pytest.approx(values.min(), **near)
    assert found.maximum == pytest.approx(values.max(), **near)
    assert found.mean == pytest.approx(values.mean(), **near)
    assert found.rms == pytest.approx(np.sqrt((values**2).mean()), **near)
    assert found.non_finite == 0


def test_values_that_are_not_finite_are_counted_and_leave_no_other_figure():
    tape = Tape()
    tape.note("stage", torch.tensor([[1.0, torch.nan, torch.inf, -torch.inf]]))
    found = tape.read()["stage"]
    assert found.non_finite == 3
    assert (found.minimum, found.mean, found.maximum, found.rms) == (None, None, None, None)
    assert Stats.from_json({**vars(found), "shape": list(found.shape)}) == found


def test_a_pile_at_the_largest_value_is_seen():
    tape, values = Tape(), torch.rand(4, 100).clamp(max=0.7)
    tape.note("head", values)
    assert tape.read()["head"].at_ceiling == pytest.approx(float((values == values.max()).float().mean()), abs=0.01)


def test_one_in_so_many_is_seen_and_the_first_always():
    tape = Tape(every=3)
    for number in range(7):
        tape.note("some", torch.full((1, 1), float(number)))
        tape.note("all", torch.full((1, 1), float(number)), each=True)
    some, every = tape.read()["some"], tape.read()["all"]
    assert (some.shape, some.mean, some.maximum) == ((3, 1), 3.0, 6.0)
    assert (every.shape, every.mean) == ((7, 1), 3.0)
    tape.clear()
    assert tape.read() == {}


def test_noting_changes_no_value_and_no_gradient():
    values = torch.rand(3, 4, requires_grad=True)
    doubled = values * 2
    Tape().note("stage", doubled)
    doubled.sum().backward()
    assert torch.equal(values.grad, torch.full((3, 4), 2.0))


def test_nothing_leaves_the_device_before_the_tape_is_read():
    """The meta device has no values: any attempt to look at one fails."""
    tape = Tape()
    for _ in range(3):
        tape.note("stage", torch.ones((2, 8, 8), device="meta"), each=True)
        tape.note("waves", torch.ones((2, 8, 8), dtype=torch.complex64, device="meta"), each=True)
    with pytest.raises((RuntimeError, NotImplementedError)):
        tape.read()
