"""Laws of the forward model: Parseval, adjointness, reference, covariance, gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.positions import bounding_canvas
from ptypinn.physics import patches as patches_module
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import (
    add_patches,
    extract_patches,
    place_patches,
    shift_images,
    shift_probe,
    split_positions,
)
from ptypinn.physics.propagation import back_propagate, far_field, to_centred, to_fft_order
from ptypinn.physics.ramps import Ramps, add_unramped

SIZES = st.sampled_from([8, 16, 24])
SEEDS = st.integers(0, 2**16)


def random_complex(shape, seed, dtype=torch.complex128):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_corners(windows, batch, room, seed):
    return torch.randint(0, room + 1, (windows, batch, 2), generator=torch.Generator().manual_seed(seed))


def inner(a, b):
    return torch.vdot(a.reshape(-1), b.reshape(-1))


@given(SIZES, SEEDS)
def test_far_field_keeps_the_photons_and_is_undone_by_its_adjoint(size, seed):
    wave, other = random_complex((3, size, size), seed), random_complex((3, size, size), seed + 1)
    field = far_field(wave)
    torch.testing.assert_close(field.abs().square().sum(), wave.abs().square().sum())
    torch.testing.assert_close(back_propagate(field), wave)
    torch.testing.assert_close(inner(field, other), inner(wave, back_propagate(other)))


@given(SIZES, SEEDS)
def test_orders_are_each_others_inverse_with_zero_frequency_at_the_centre(size, seed):
    patterns = torch.rand((2, size, size), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(to_fft_order(to_centred(patterns)), patterns)
    assert to_centred(patterns)[0, size // 2, size // 2] == patterns[0, 0, 0]


@given(windows=st.integers(1, 3), batch=st.integers(1, 5), size=SIZES, room=st.integers(0, 9), seed=SEEDS)
def test_place_is_the_exact_adjoint_of_extract(windows, batch, size, room, seed):
    canvases = random_complex((windows, size + room, size + room + 1), seed)
    patches = random_complex((windows, batch, size, size), seed + 1)
    corners = random_corners(windows, batch, room, seed)
    placed = place_patches(patches, corners, *canvases.shape[1:])
    torch.testing.assert_close(inner(extract_patches(canvases, corners, size), patches), inner(canvases, placed))


def test_patches_land_in_the_same_place_however_the_canvas_lies_in_memory():
    patches, corners = random_complex((1, 3, 8, 8), 0), random_corners(1, 3, 5, 1)
    rows, columns = torch.zeros((1, 13, 14), dtype=patches.dtype), torch.zeros((1, 14, 13), dtype=patches.dtype).mT
    add_patches(rows, patches, corners)
    add_patches(columns, patches, corners)
    assert torch.equal(rows, columns)


@given(batch=st.integers(1, 4), seed=SEEDS)
def test_waves_moved_back_and_added_up_are_the_exact_adjoint_of_shift(batch, seed):
    probe, waves = random_complex((2, 16, 16), seed), random_complex((batch, 2, 16, 16), seed + 1)
    shifts = torch.rand((batch, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5
    total = torch.zeros_like(probe)
    add_unramped(torch.fft.fft2(waves), Ramps.of(shifts, 16), total)
    torch.testing.assert_close(inner(shift_probe(probe, shifts), waves), inner(probe, torch.fft.ifft2(total)))
    torch.testing.assert_close(probe_photons(shift_probe(probe, shifts)[0]), probe_photons(probe))


def test_shift_by_whole_pixels_rolls():
    probe = random_complex((1, 16, 16), 1)
    moved = shift_probe(probe, torch.tensor([[2.0, -3.0]], dtype=torch.float64))
    torch.testing.assert_close(moved[0], torch.roll(probe, (2, -3), (-2, -1)))
    torch.testing.assert_close(
        shift_images(probe.real, torch.tensor([[2.0, -3.0]], dtype=torch.float64)),
        torch.roll(probe.real, (2, -3), (-2, -1)),
    )


@given(seed=SEEDS, modes=st.integers(1, 3))
def test_forward_model_matches_a_plain_numpy_reference(seed, modes):
    size, positions = 16, np.random.default_rng(seed).uniform(0, 8, (4, 2))
    canvas, probe = random_complex((26, 26), seed), random_complex((modes, size, size), seed + 1)
    corners, fractions = split_positions(torch.from_numpy(positions))
    ours = FAR_FIELD.predict_scan(canvas[None], probe, corners, fractions.double()).numpy()
    q = np.fft.fftfreq(size)
    for j, position in enumerate(positions):
        y, x = np.round(position).astype(int)
        dy, dx = position - (y, x)
        ramp = np.exp(-2j * np.pi * (q[:, None] * dy + q[None] * dx))
        expected = np.zeros((size, size))
        for mode in probe.numpy():
            shifted = np.fft.ifft2(np.fft.fft2(mode) * ramp)
            wave = shifted * canvas.numpy()[y : y + size, x : x + size]
            expected += np.abs(np.fft.fft2(wave) / size) ** 2
        np.testing.assert_allclose(ours[j], expected, rtol=1e-6, atol=1e-6)


@given(SEEDS)
def test_counts_follow_the_object_when_both_are_translated(seed):
    canvas, probe = random_complex((40, 40), seed), random_complex((1, 16, 16), seed + 1)
    corners = random_corners(1, 5, 10, seed)
    moved = torch.roll(canvas, (7, 3), (0, 1))
    before = FAR_FIELD.predict_scan(canvas[None], probe, corners)
    after = FAR_FIELD.predict_scan(moved[None], probe, corners + torch.tensor([7, 3]))
    torch.testing.assert_close(before, after)


def test_incoherent_modes_add_intensities_never_fields():
    patches, probe = random_complex((3, 16, 16), 0), random_complex((2, 16, 16), 1)
    apart = FAR_FIELD.predict_counts(patches, probe[None, :1]) + FAR_FIELD.predict_counts(patches, probe[None, 1:])
    torch.testing.assert_close(FAR_FIELD.predict_counts(patches, probe[None]), apart)


@pytest.mark.parametrize("fractions", [None, torch.tensor([[0.2, -0.4], [0.0, 0.3]], dtype=torch.float64)])
def test_gradients_of_the_forward_model_are_exact(fractions):
    canvas, probe = random_complex((1, 11, 12), 0), random_complex((2, 8, 8), 1)
    corners = random_corners(1, 2, 3, 2)
    canvas.requires_grad_(True)
    probe.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda c, p: FAR_FIELD.predict_scan(c, p, corners, fractions), (canvas, probe))


def test_patches_are_added_onto_a_canvas_in_place():
    canvases = torch.ones(2, 9, 9)
    corners = random_corners(2, 3, 1, 0)
    patches = torch.rand(2, 3, 8, 8)
    add_patches(canvases, patches, corners)
    torch.testing.assert_close(canvases, 1 + place_patches(patches, corners, 9, 9))


@given(windows=st.integers(1, 3), batch=st.integers(1, 5), seed=SEEDS)
def test_gpu_and_cpu_ways_of_adding_patches_agree(windows, batch, seed):
    by_index, corners = torch.zeros(windows, 19, 17), random_corners(windows, batch, 9, seed)
    patches = torch.rand((windows, batch, 8, 8), generator=torch.Generator().manual_seed(seed))
    patches_module._add_by_index(by_index, patches, corners)
    torch.testing.assert_close(by_index, place_patches(patches, corners, 19, 17))


@given(SEEDS)
def test_frame_holds_every_patch_with_no_pixel_to_spare(seed):
    positions = torch.from_numpy(np.random.default_rng(seed).uniform(-50, 50, (7, 2)))
    origin, (height, width) = bounding_canvas(positions.numpy(), 8)
    corners, fractions = split_positions(positions - torch.tensor(origin))
    assert corners.amin((0, 1)).tolist() == [0, 0]
    assert (corners.amax((0, 1)) + 8).tolist() == [height, width]
    assert fractions.abs().max() <= 0.5
