"""Windows cover every pixel that light reaches, own every pattern once, and lie on the grid of the network."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.models.blocks import STRIDE
from ptypinn.solvers.unrolled.tile_stitching import TileResult, align_global_phases, overlap_products, stitch_tiles
from ptypinn.solvers.unrolled.tiling import Box, blend_weight, tile_canvas

SCANS = st.tuples(
    st.sampled_from([8, 24]),
    st.tuples(st.integers(30, 150), st.integers(30, 150)),
    st.integers(1, 40),
    st.integers(16, 90),
    st.integers(16, 60),
    st.integers(0, 99),
)
"""Edge of a pattern, extent of the canvas, number of patterns, edge of the cores, halo, seed."""


def made_of(scan):
    size, extent, number, edge, halo, seed = scan
    corners = np.random.default_rng(seed).integers(0, np.array(extent) - size + 1, (number, 2))
    return tile_canvas(corners, size, extent, edge, halo), corners, size


@given(SCANS)
def test_every_lit_pixel_is_in_one_core_and_every_pattern_owned_once(scan):
    layout, corners, size = made_of(scan)
    covered, whole = np.zeros(layout.extent, int), Box(0, 0, *layout.extent)
    for tile in layout.tiles:
        covered[tile.core.slices(whole)] += 1
    illuminated = np.zeros(layout.extent, bool)
    for y, x in corners:
        illuminated[y : y + size, x : x + size] = True
    assert (covered[illuminated] == 1).all()
    central = np.concatenate([tile.central for tile in layout.tiles])
    np.testing.assert_array_equal(np.sort(central), np.arange(len(corners)))


@given(SCANS)
def test_tiles_hold_their_patterns_on_the_grid_of_the_network(scan):
    layout, corners, size = made_of(scan)
    for tile in layout.tiles:
        place = corners[tile.patterns]
        assert len(tile.patterns)
        assert set(tile.central) <= set(tile.patterns)
        assert (place >= tile.canvas[:2]).all()
        assert (place + size <= tile.canvas[2:]).all()
        for first, last, length in zip(tile.canvas[:2], tile.canvas[2:], layout.extent, strict=True):
            assert first % STRIDE == 0
            assert last % STRIDE == 0 or last == length


@given(SCANS)
def test_weights_are_large_in_the_core_and_end_within_the_halo(scan):
    layout, _, _ = made_of(scan)
    half, whole = layout.halo // 2, Box(0, 0, *layout.extent)
    for tile in layout.tiles:
        weight = blend_weight(tile.core, whole, layout.extent, half)
        core = weight[tile.core.slices(whole)]
        assert core.min() > 0.2
        outside = np.ones(layout.extent, bool)
        outside[tile.core.padded(half).intersection(whole).slices(whole)] = False
        assert not weight[outside].any()


def pieces_of(image, layout, factors, folder):
    light, whole = np.ones(layout.extent, np.float32), Box(0, 0, *layout.extent)
    result = []
    for number, (tile, factor) in enumerate(zip(layout.tiles, factors, strict=True)):
        part = tile.canvas.slices(whole)
        np.save(folder / f"object{number}.npy", (image[part] * factor).astype(np.complex64))
        np.save(folder / f"light{number}.npy", light[part])
        result.append(TileResult(tile, folder / f"object{number}.npy", folder / f"light{number}.npy"))
    return result


def filled(edge=32, halo=16):
    grid = np.stack(np.meshgrid(np.arange(0, 97, 4), np.arange(0, 121, 4), indexing="ij"), -1).reshape(-1, 2)
    return tile_canvas(grid, 8, (104, 128), edge, halo)


@given(st.integers(0, 1000))
def test_stitching_undoes_any_phases(seed):
    rng, layout = np.random.default_rng(seed), filled()
    image = (rng.normal(size=layout.extent) + 1j * rng.normal(size=layout.extent) + 2).astype(np.complex64)
    phases = np.exp(1j * rng.uniform(-np.pi, np.pi, len(layout.tiles)))
    with TemporaryDirectory() as folder:
        result = stitch_tiles(pieces_of(image, layout, phases, Path(folder)), layout)
    factor = np.vdot(result, image) / np.linalg.norm(result) ** 2
    np.testing.assert_allclose(factor * result, image, atol=1e-4)
    assert abs(abs(factor) - 1) < 1e-5


def test_amplitudes_are_not_fitted(tmp_path):
    layout = filled()
    image = np.ones(layout.extent, np.complex64)
    brighter = pieces_of(image, layout, 1 + np.arange(len(layout.tiles)), tmp_path)
    whole = Box(0, 0, *layout.extent)
    result = stitch_tiles(brighter, layout)
    for k, tile in enumerate(layout.tiles):
        middle = tile.core.padded(-8).slices(whole)
        np.testing.assert_allclose(np.abs(result[middle]), 1 + k, rtol=1e-5)


def test_phases_are_solved_for_jointly_by_the_weights_of_the_overlaps():
    truth = np.exp(1j * np.array([0.3, -2.0, 1.0, 2.5]))
    weights = np.ones((4, 4)) - np.eye(4)
    products = weights * truth[:, None] * truth.conj()
    products[0, 3], products[3, 0] = 1e-3j, -1e-3j  # a bad overlap that hardly counts
    result = align_global_phases(products, np.ones(4))
    np.testing.assert_allclose(np.abs(result), 1, atol=1e-12)
    np.testing.assert_allclose(result / result[0], truth / truth[0], atol=2e-3)
    assert abs(np.angle(result.sum())) < 1e-9


def test_tiles_that_nothing_joins_keep_their_phases():
    products = np.zeros((3, 3), complex)
    products[0, 1], products[1, 0] = 1j, -1j
    result = align_global_phases(products, np.ones(3))
    assert result[2] == 1
    assert np.angle(result[0] / result[1]) == np.angle(products[0, 1])


def test_products_are_hermitian_and_only_of_neighbours(tmp_path):
    layout = filled()
    products = overlap_products(pieces_of(np.ones(layout.extent), layout, np.ones(len(layout.tiles)), tmp_path), layout)
    np.testing.assert_allclose(products, products.conj().T)
    assert (np.abs(products[0]) > 0).sum() == 3  # right, below, and diagonal
