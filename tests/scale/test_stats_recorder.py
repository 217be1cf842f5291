"""The recorder: statistics equal to numpy's, no value changed, nothing copied before `collect`."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ptypinn.scale import Stats, StatsRecorder

batches = st.lists(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.just(4), st.just(5)), elements=st.floats(-1e3, 1e3, width=32)),
    min_size=1,
    max_size=5,
)


@given(batches, st.booleans())
def test_statistics_are_those_of_all_values_together(parts, as_waves):
    recorder, values = StatsRecorder(), np.concatenate(parts)
    for part in parts:
        tensor = torch.from_numpy(part)
        recorder.record("stage", torch.complex(tensor, -tensor) if as_waves else tensor, each=True)
    stats = recorder.collect()["stage"]
    values = np.abs(values) * 2**0.5 if as_waves else values
    values = values.astype(np.float64)
    assert stats.shape == values.shape
    assert stats.dtype == ("complex64" if as_waves else "float32")
    tolerance = {"rel": 1e-4, "abs": 1e-3}
    assert stats.minimum == pytest.approx(values.min(), **tolerance)
    assert stats.maximum == pytest.approx(values.max(), **tolerance)
    assert stats.mean == pytest.approx(values.mean(), **tolerance)
    assert stats.rms == pytest.approx(np.sqrt((values**2).mean()), **tolerance)
    assert stats.non_finite == 0


def test_values_that_are_not_finite_are_counted_and_leave_no_other_statistic():
    recorder = StatsRecorder()
    recorder.record("stage", torch.tensor([[1.0, torch.nan, torch.inf, -torch.inf]]))
    stats = recorder.collect()["stage"]
    assert stats.non_finite == 3
    assert (stats.minimum, stats.mean, stats.maximum, stats.rms) == (None, None, None, None)
    assert Stats.from_json({**vars(stats), "shape": list(stats.shape)}) == stats


def test_values_at_the_largest_are_counted():
    recorder, values = StatsRecorder(), torch.rand(4, 100).clamp(max=0.7)
    recorder.record("head", values)
    assert recorder.collect()["head"].at_ceiling == pytest.approx(
        float((values == values.max()).float().mean()), abs=0.01
    )


def test_one_in_so_many_is_recorded_and_the_first_always():
    recorder = StatsRecorder(every=3)
    for number in range(7):
        recorder.record("some", torch.full((1, 1), float(number)))
        recorder.record("all", torch.full((1, 1), float(number)), each=True)
    some, every = recorder.collect()["some"], recorder.collect()["all"]
    assert (some.shape, some.mean, some.maximum) == ((3, 1), 3.0, 6.0)
    assert (every.shape, every.mean) == ((7, 1), 3.0)
    recorder.clear()
    assert recorder.collect() == {}


def test_recording_changes_no_value_and_no_gradient():
    values = torch.rand(3, 4, requires_grad=True)
    doubled = values * 2
    StatsRecorder().record("stage", doubled)
    doubled.sum().backward()
    assert torch.equal(values.grad, torch.full((3, 4), 2.0))


def test_nothing_leaves_the_device_before_statistics_are_collected():
    """The meta device has no values: any attempt to read one fails."""
    recorder = StatsRecorder()
    for _ in range(3):
        recorder.record("stage", torch.ones((2, 8, 8), device="meta"), each=True)
        recorder.record("waves", torch.ones((2, 8, 8), dtype=torch.complex64, device="meta"), each=True)
    with pytest.raises((RuntimeError, NotImplementedError)):
        recorder.collect()
