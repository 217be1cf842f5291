"""Laws of stitching: constants, sub-pixel placement, the one stitcher for training and inference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.patches import (
    _add_by_index,
    add_patches,
    extract_patches,
    probe_intensity,
    shift_images,
    shift_probe,
)
from ptypinn.physics.stitch import coverage_mask, shift_patches, stitch, weighted_mean

SEEDS = st.integers(0, 2**16)
SIZE, HEIGHT, WIDTH = 16, 30, 27


def scene(seed, batch=6):
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(SIZE) - 7.5, torch.arange(SIZE) - 7.5, indexing="ij")
    probe = torch.exp(-(y**2 + x**2) / 18).to(torch.complex64)[None] * 30
    corners = torch.stack(
        [
            torch.randint(0, HEIGHT - SIZE + 1, (2, batch), generator=generator),
            torch.randint(0, WIDTH - SIZE + 1, (2, batch), generator=generator),
        ],
        -1,
    )
    fractions = torch.rand((2 * batch, 2), generator=generator) - 0.5
    weights = probe_intensity(shift_probe(probe, fractions)).view(2, batch, SIZE, SIZE)
    return corners, fractions, weights


@given(SEEDS, st.complex_numbers(min_magnitude=0.01, max_magnitude=100.0, allow_nan=False))
def test_constant_object_stitches_to_the_constant_on_every_covered_pixel(seed, value):
    corners, fractions, weights = scene(seed)
    patches = torch.full(weights.shape, value, dtype=torch.complex64)
    weighted, total = stitch(shift_patches(patches, fractions), weights, corners, HEIGHT, WIDTH)
    covered, stitched = coverage_mask(total), weighted_mean(weighted, total)
    touched = covered_by_any_patch(corners)
    assert (covered <= touched).all()
    assert covered.sum() > 0.9 * touched.sum()
    torch.testing.assert_close(stitched[covered], torch.full_like(stitched[covered], value), rtol=1e-5, atol=0)
    assert (stitched[~covered] == 1).all()


def covered_by_any_patch(corners):
    touched = torch.zeros(2, HEIGHT, WIDTH)
    add_patches(touched, torch.ones(2, corners.shape[1], SIZE, SIZE), corners)
    return touched > 0


@given(SEEDS)
def test_patches_cut_from_an_object_stitch_back_to_it(seed):
    corners, _, weights = scene(seed)
    truth = torch.randn((2, HEIGHT, WIDTH), dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    weighted, total = stitch(extract_patches(truth, corners, SIZE), weights, corners, HEIGHT, WIDTH)
    covered = coverage_mask(total)
    torch.testing.assert_close(weighted_mean(weighted, total)[covered], truth[covered], rtol=1e-4, atol=1e-5)


@given(SEEDS)
def test_alignment_undoes_the_sub_pixel_offset_of_a_smooth_patch(seed):
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.zeros(4, SIZE, SIZE, dtype=torch.complex64)
    spectrum[:, :4, :4] = torch.randn((4, 4, 4), dtype=torch.complex64, generator=generator)
    smooth = torch.fft.ifft2(spectrum)
    fractions = torch.rand((4, 2), generator=generator) - 0.5
    seen_by_the_probe = shift_images(smooth, -fractions)
    torch.testing.assert_close(shift_patches(seen_by_the_probe[None], fractions)[0], smooth, rtol=1e-4, atol=1e-6)


@given(SEEDS)
def test_streamed_sums_equal_those_of_one_call(seed):
    corners, _, weights = scene(seed)
    patches = torch.randn(weights.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    weighted, _ = stitch(patches, weights, corners, HEIGHT, WIDTH)
    streamed = torch.zeros_like(weighted)
    for part in (slice(0, 2), slice(2, None)):
        add_patches(streamed, (patches * weights)[:, part], corners[:, part])
    torch.testing.assert_close(streamed, weighted)


@pytest.fixture(params=[False, True], ids=["any order", "deterministic"])
def deterministic(request):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(request.param)
    yield request.param
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128])
def test_adding_by_index_is_adding_slice_by_slice(deterministic, dtype):
    """The way of a GPU: on a CPU it adds the patches of a pixel in their order too, so that the sums are the same."""
    for seed in range(20):
        corners, _, weights = scene(seed, batch=40)
        patches = torch.randn(weights.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
        by_slices, by_index = (torch.ones(2, HEIGHT, WIDTH, dtype=dtype) for _ in range(2))
        add_patches(by_slices, patches, corners)
        _add_by_index(by_index, patches, corners)
        assert torch.equal(by_index, by_slices)
