"""What counts leave open in the stacks of tiles is aligned: a stack cut into tiles, each changed so, comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ptypinn.physics.forward import forward_model
from ptypinn.solvers.unrolled import stack_stitching
from ptypinn.solvers.unrolled.stack_stitching import StackFreedoms, stitch_stacks
from ptypinn.solvers.unrolled.tile_stitching import TileResult
from ptypinn.solvers.unrolled.tiling import Box, tile_canvas

SIZE, SLICES = 32, 3
GAPS = np.array([0.2, 0.4])


def draw_stack(shape, seed=0):
    """Smooth slices that are periodic, so that they may be displaced."""
    noise = np.random.default_rng(seed).normal(size=(2, SLICES, *shape))
    phase, loss = (np.stack([gaussian_filter(one, 2.5, mode="wrap") for one in images]) for images in noise)
    return np.exp(-0.2 * np.abs(loss) + 3j * phase).astype(np.complex64)


@settings(max_examples=20)
@given(
    scales=st.lists(st.floats(-0.3, 0.3), min_size=SLICES, max_size=SLICES),
    phases=st.lists(st.floats(-3, 3), min_size=SLICES, max_size=SLICES),
    tilts=st.lists(st.integers(-2, 2), min_size=4, max_size=4),
)
def test_freedoms_change_no_count(scales, phases, tilts):
    freedoms, y = StackFreedoms(GAPS, 10.0), np.indices((SIZE, SIZE)) - SIZE / 2
    values = np.array([*scales, *phases, *(10.0 * 2 * np.pi / SIZE * np.array(tilts))])  # ramps of whole turns
    probe = torch.from_numpy(np.exp(-(y**2).sum(0) / 60 + 0.03j * (y**2).sum(0)).astype(np.complex64))[None]
    slices = draw_stack((SIZE, SIZE))
    changed = np.stack([freedoms.apply(image, number, values) for number, image in enumerate(slices)])
    model, corner = forward_model(SIZE, None, GAPS.tolist()), torch.zeros(1, 1, 2, dtype=torch.long)
    before, after = (
        model.predict_scan(torch.from_numpy(stack), probe, corner, torch.zeros(1, 2)) for stack in (slices, changed)
    )
    assert float((after - before).norm() / before.norm()) < 1e-4


@pytest.fixture
def tiles(tmp_path):
    """A stack in four tiles, each with phases, scales and tilts of its own."""
    rows, columns = np.indices((13, 13)) * 8
    corners = np.stack([rows.ravel(), columns.ravel()], 1).astype(np.int64)
    layout = tile_canvas(corners, SIZE, (128, 128), 64, 32)
    truth, rng, results = draw_stack((128, 128)), np.random.default_rng(1), []
    freedoms = StackFreedoms(GAPS, max(max(tile.canvas.shape) for tile in layout.tiles) / 2)
    for number, tile in enumerate(layout.tiles):
        values = rng.normal(size=freedoms.count) * np.repeat([0.1, 1.0, 0.1], [SLICES, SLICES, 4])
        part = truth[(slice(None), *tile.canvas.slices(Box(0, 0, 128, 128)))]
        changed = np.stack([freedoms.apply(image, k, values) for k, image in enumerate(part)])
        places = tmp_path / f"object{number}.npy", tmp_path / f"illumination{number}.npy"
        np.save(places[0], changed)
        np.save(places[1], np.full(tile.canvas.shape, 1e3, np.float32))
        results.append(TileResult(tile, *places))
    return truth, results, layout


def rms_difference(images, truths):
    """Relative difference of every slice within the canvas, after a factor and a ramp."""
    from ptypinn.metrics.alignment import align

    mask = np.zeros(truths.shape[1:], bool)
    mask[16:-16, 16:-16] = True
    differences = []
    for image, truth in zip(images, truths, strict=True):
        aligned = align(image, truth, mask, ramp=True, shift=True)
        ours, target = aligned.image[aligned.mask], truth[aligned.mask]
        factor = np.vdot(ours, target) / np.vdot(ours, ours)
        differences.append(np.linalg.norm(factor * ours - target) / np.linalg.norm(target))
    return np.array(differences)


def test_tiles_with_freedoms_of_their_own_are_aligned(tiles, monkeypatch):
    truth, results, layout = tiles
    aligned = rms_difference(stitch_stacks(results, layout, GAPS), truth)
    monkeypatch.setattr(stack_stitching, "TILT_RIDGE", 1e-6)
    exact = rms_difference(stitch_stacks(results, layout, GAPS), truth)
    monkeypatch.setattr(stack_stitching, "REPEATS", 0)
    phases_alone = rms_difference(stitch_stacks(results, layout, GAPS), truth)
    assert (exact < 0.005).all()
    assert (aligned < 0.7 * phases_alone).all()


def test_the_product_keeps_its_amplitude(tiles):
    truth, results, layout = tiles
    inner = (slice(None), slice(24, -24), slice(24, -24))
    product = np.abs(stitch_stacks(results, layout, GAPS).prod(0)[inner[1:]])
    assert np.median(product / np.abs(truth.prod(0)[inner[1:]])) == pytest.approx(1, abs=2e-3)


def test_slices_of_phase_alone_keep_their_modulus(tiles):
    _, results, layout = tiles
    for result in results:
        sample = np.load(result.object_file)
        np.save(result.object_file, (sample / np.abs(sample)).astype(np.complex64))
    slices = stitch_stacks(results, layout, GAPS, is_phase=True)
    np.testing.assert_allclose(np.abs(slices), 1, atol=1e-5)
