"""Photons of a pattern, divided between network and loss."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.training.patch_module import ENTERING, split_photons


@settings(max_examples=10)
@given(st.floats(0.1, 1e6), st.integers(0, 2**16))
def test_parts_of_photons_are_independent_sum_up_and_depend_on_the_draw_alone(photons, seed):
    counts = torch.poisson(torch.full((64, 64), photons), generator=torch.Generator().manual_seed(seed))
    entering, measured, fraction = split_photons(counts, (seed, 0, 1))
    torch.testing.assert_close(entering * ENTERING + measured, counts)
    again, other = split_photons(counts, (seed, 0, 1))[0], split_photons(counts, (seed, 1, 1))[0]
    assert torch.equal(entering, again)
    assert not torch.equal(entering, other)
    noise = torch.stack([entering - photons, measured / fraction - photons]).flatten(1) / photons**0.5
    assert noise.mean(1).abs().max() < 0.15
    assert abs(torch.corrcoef(noise)[0, 1]) < 0.08


def test_values_that_are_no_photons_serve_network_and_loss():
    counts = torch.rand(8, 8)
    entering, measured, fraction = split_photons(counts, (0, 0, 0))
    assert entering is measured is counts
    assert fraction == 1.0


def test_validation_draws_are_as_good_as_others():
    assert not torch.equal(*(split_photons(torch.full((8, 8), 9.0), (0, epoch, 0))[0] for epoch in (-1, 0)))
