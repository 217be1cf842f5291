"""Laws of the detector: Poisson statistics at any dose, saturation, dead pixels, determinism."""

import pytest
import torch

from ptypinn.physics.detector import draw_dead_pixels, sample_counts, saturate, zero_dead_pixels


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mean", [0.02, 1.0, 9.5, 12.0, 1e3, 2.0**25, 1e10])
def test_counts_have_the_mean_and_variance_of_a_poisson_variable(mean):
    counts = sample_counts(torch.full((40, 50, 50), mean, dtype=torch.float64), generator(1))
    number = counts.numel()
    assert torch.equal(counts, counts.round())
    assert abs(counts.mean() - mean) < 4 * (mean / number) ** 0.5
    assert abs(counts.var() / mean - 1) < 4 * ((2 + 1 / mean) / number) ** 0.5


def test_large_counts_keep_their_last_digit():
    counts = sample_counts(torch.full((4, 50, 50), 2.0**30), generator(2))
    assert 0.47 < (counts % 2).mean() < 0.53


def test_counts_of_different_pixels_are_independent():
    counts = sample_counts(torch.full((200, 8, 8), 5.0), generator(3)).flatten(1)
    correlation = torch.corrcoef(counts.T) - torch.eye(64)
    assert correlation.abs().max() < 5 / 200**0.5


def test_the_seed_fixes_the_draw_however_it_is_cut_into_batches():
    expected = 100 * torch.rand((6, 16, 16), generator=generator(0))
    whole, source = sample_counts(expected, generator(7)), generator(7)
    parts = torch.cat([sample_counts(part, source) for part in expected.split(2)])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, sample_counts(expected, generator(8)))


def test_dark_pixels_stay_dark():
    assert not sample_counts(torch.zeros(3, 8, 8), generator(0)).any()


def test_saturation_clips_what_is_above_and_leaves_what_is_below():
    counts = torch.tensor([[0.0, 99.0], [100.0, 5000.0]])
    assert torch.equal(saturate(counts, 100.0), torch.tensor([[0.0, 99.0], [100.0, 100.0]]))


def test_dead_pixels_read_zero_and_are_as_many_as_asked_for():
    mask = draw_dead_pixels(16, 40, generator(5))
    counts = zero_dead_pixels(torch.ones(3, 16, 16), mask)
    assert (~mask).sum() == 40
    assert torch.equal(counts == 0, (~mask).expand(3, 16, 16))
