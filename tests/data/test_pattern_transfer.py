"""Laws of counts on their way to a device: nothing is lost, whatever they are stored as and read by."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.pattern_transfer import pack_counts, read_ahead
from ptypinn.data.scan import ScanData

CPU = torch.device("cpu")
COUNTS = hnp.arrays(np.float32, (2, 2, 3), elements=st.floats(-1.0, 2.0**24, width=32) | st.integers(0, 2**17))


@given(counts=COUNTS)
def test_packed_counts_are_exact_and_as_small_as_they_can_be(counts):
    counts = torch.from_numpy(counts)
    packed = pack_counts(counts)
    assert torch.equal(packed.float(), counts)
    whole = bool((counts == counts.round()).all()) and counts.min() >= 0
    bytes_needed = 1 if whole and counts.max() < 2**8 else 2 if whole and counts.max() < 2**16 else 4
    assert packed.element_size() == bytes_needed


def test_counts_that_are_no_numbers_are_not_packed():
    counts = torch.tensor([[[1.0, torch.nan]]])
    assert torch.equal(pack_counts(counts), counts) is False
    assert pack_counts(counts).dtype == torch.float32


def batches_of(scan, budget_bytes):
    batches = PatternBatches(scan, CPU, budget_bytes=budget_bytes)
    batches.batch_size = 3
    batches._stored = batches._store(budget_bytes)
    return batches


@pytest.mark.parametrize("largest", [200, 60_000, 1_000_000])
def test_patterns_are_the_same_as_floats_packed_or_read_on_every_pass(largest):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, largest, (8, 16, 16)).astype(np.uint32)
    scan = ScanData(counts, np.zeros((8, 2)), mask=rng.random((16, 16)) > 0.1)
    pixels = counts.size
    patterns = {}
    for budget_bytes in (4 * pixels, 4 * pixels - 1, pixels, pixels - 1):
        batches = batches_of(scan, budget_bytes)
        for _ in range(2):
            patterns[budget_bytes] = torch.cat([one for _, one in batches])
        halves = [dict((part.start, one) for part, one in half) for half in batches.split(2)]
        whole = {start: one for half in halves for start, one in half.items()}
        assert torch.equal(torch.cat([whole[start] for start in sorted(whole)]), patterns[budget_bytes])
        fits = {200: pixels, 60_000: 2 * pixels, 1_000_000: 4 * pixels}[largest] <= budget_bytes
        assert (batches._stored is not None) == fits
    expected = np.fft.ifftshift(np.where(scan.good, counts, 0), axes=(1, 2)).astype(np.float32)
    for one in patterns.values():
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int32, np.float64])
def test_batches_read_ahead_come_in_order_and_are_float32(dtype):
    counts = np.arange(10 * 4).reshape(10, 2, 2).astype(dtype)
    batches = [(slice(n, n + 2), counts[n : n + 2]) for n in range(0, 10, 2)]
    moved = list(read_ahead(iter(batches), CPU))
    assert [part for part, _ in moved] == [part for part, _ in batches]
    assert all(one.dtype == torch.float32 for _, one in moved)
    np.testing.assert_array_equal(torch.cat([one for _, one in moved]), counts.astype(np.float32))


def test_what_fails_while_reading_ahead_fails_where_the_batch_is_asked_for():
    def read():
        yield slice(0, 1), np.zeros((1, 2, 2), np.uint8)
        raise OSError("the file is gone")

    moved = read_ahead(read(), CPU)
    assert next(moved)[0] == slice(0, 1)
    with pytest.raises(OSError, match="the file is gone"):
        next(moved)


def test_a_pass_that_ends_early_reads_no_more_than_one_batch_ahead():
    numbers = itertools.count()
    moved = read_ahead(((slice(n, n + 1), np.full((1, 2, 2), n, np.uint8)) for n in numbers), CPU)
    next(moved)
    moved.close()
    assert next(numbers) <= 3
