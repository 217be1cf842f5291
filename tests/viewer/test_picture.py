"""A tile is the crop of the full picture, levels are means, memory is bounded and versions are checked."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ptypinn.errors import InputError
from ptypinn.report.figures.colours import MIN_PHASE_SPAN
from ptypinn.viewer import pyramid as pyramids
from ptypinn.viewer.cache import PictureCache
from ptypinn.viewer.layers import COMPLEX, PHASE, DisplayRange, default_range
from ptypinn.viewer.measure import BLOCK_PX, layer_histogram, measure_profile, read_block
from ptypinn.viewer.picture import draw_thumbnail, open_layers
from ptypinn.viewer.picture_file import FileChangedError, open_picture
from ptypinn.viewer.pyramid import AMPLITUDE, halve_image
from ptypinn.viewer.tiles import TILE_PX, encode_scalar_png

ALL = slice(None)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@pytest.fixture(scope="module")
def path(recon, tmp_path_factory):
    return recon.save(tmp_path_factory.mktemp("picture") / "recon.h5")


@pytest.fixture(scope="module")
def picture(path):
    return open_layers(open_picture(path))


def blocks_of(image, side):
    """Means over blocks, edge blocks over what is there."""
    height, width = image.shape
    rows, columns = range(0, height, side), range(0, width, side)
    return np.array([[image[y : y + side, x : x + side].mean() for x in columns] for y in rows])


@pytest.mark.parametrize("layer", ["amplitude", "phase", "complex", "illumination"])
def test_tiles_of_level_0_make_up_the_full_picture(picture, layer):
    display = picture.require(layer).display
    whole = pixels(picture.draw(layer, 0, ALL, ALL, display))
    height, width = picture.file.shape
    assert whole.shape[:2] == (height, width) == (300, 420)
    for row in range(2):
        for column in range(2):
            tile = pixels(picture.tile(layer, 0, row, column, display))
            there = whole[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
            np.testing.assert_array_equal(tile, there)


def test_a_tile_shows_the_amplitude_of_the_object(picture, recon):
    display, mask = DisplayRange(0.5, 1.5, "gray"), recon.well_illuminated(0.05)
    tile = pixels(picture.tile("amplitude", 0, 0, 1, display))
    expected = encode_scalar_png(np.abs(recon.object)[:256, 256:], mask[:256, 256:], (0.5, 1.5), "gray")
    assert (np.abs(tile.astype(int) - pixels(expected)).max(axis=-1) <= 1).mean() > 0.999
    assert 0 < (tile[..., 3] == 0).mean() < 0.5


def test_weakly_illuminated_pixels_are_shown_on_request(picture, recon):
    default, weak = (picture.tile("amplitude", 0, 0, 0, DisplayRange(0.0, 1.0, "gray", weak)) for weak in (False, True))
    visible = [int((pixels(png)[..., 3] > 0).sum()) for png in (default, weak)]
    assert visible[1] == (recon.illumination[:256, :256] > 0).sum()
    assert visible[0] < visible[1]


def test_levels_are_means_over_blocks(picture, recon):
    assert picture.pyramid.levels == 2
    assert picture.pyramid.shape(1) == (150, 210)
    means = {AMPLITUDE: np.abs(recon.object), "object": recon.object, "illumination": recon.illumination}
    for name, image in means.items():
        np.testing.assert_allclose(picture.pyramid.read(name, 1, ALL, ALL), blocks_of(image, 2), rtol=1e-4, atol=1e-5)


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_halving_takes_means_of_what_is_there(height, width, seed):
    image = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    np.testing.assert_allclose(halve_image(image), blocks_of(image, 2), rtol=1e-4, atol=1e-5)


def test_strips_do_not_show(path, picture, monkeypatch):
    monkeypatch.setattr(pyramids, "MAX_STRIP_PX", 420 * 6)
    again = open_layers(open_picture(path))
    np.testing.assert_array_equal(
        again.pyramid.read("object", 1, ALL, ALL), picture.pyramid.read("object", 1, ALL, ALL)
    )


def test_phases_are_relative_to_their_mean_over_illuminated_pixels(recon, tmp_path):
    rotated = type(recon)(
        recon.object * np.complex64(np.exp(2.5j)), recon.illumination, recon.probe, recon.positions_px
    )
    picture = open_layers(open_picture(rotated.save(tmp_path / "rotated.h5")))
    mask = recon.well_illuminated(0.05)
    shown = np.abs(rotated.object) * np.exp(1j * picture.values("phase", 0, ALL, ALL))
    assert abs(np.angle(shown[mask].sum())) < 1e-3
    assert picture.describe()["phase_rad"] == pytest.approx(np.angle(rotated.object[mask].sum()), abs=1e-4)


def test_default_limits_leave_out_half_a_per_cent(picture, recon):
    mask = recon.well_illuminated(0.05)
    display = picture.require("amplitude").display
    assert (display.low, display.high) == pytest.approx(
        tuple(np.percentile(np.abs(recon.object)[mask], [0.5, 99.5])), rel=1e-3
    )
    assert picture.require(COMPLEX).display.low == 0.0
    flat = default_range(PHASE, np.linspace(0, 1e-6, 99))
    assert flat.high - flat.low == pytest.approx(MIN_PHASE_SPAN)


@pytest.mark.parametrize("bad", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_limits_that_are_none_are_refused(bad):
    with pytest.raises(InputError):
        DisplayRange(*bad, "viridis")
    with pytest.raises(InputError):
        DisplayRange(0.0, 1.0, "jet")


@pytest.mark.parametrize("place", [(2, 0, 0), (-1, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (0, -1, 0)])
def test_tiles_that_do_not_exist_are_refused(picture, place):
    with pytest.raises(InputError):
        picture.tile("amplitude", *place, DisplayRange(0.0, 1.0, "gray"))
    with pytest.raises(InputError):
        picture.tile("sharpness", 0, 0, 0, DisplayRange(0.0, 1.0, "gray"))


def test_histogram_counts_every_well_illuminated_pixel(picture, recon):
    result = layer_histogram(picture, "amplitude")
    assert sum(result["counts"]) == int(recon.well_illuminated(0.05).sum())
    display = picture.require("amplitude").display
    assert result["low"] <= display.low < display.high <= result["high"]


def test_a_profile_passes_through_pixel_values(picture, recon):
    result = measure_profile(picture, (40.5, 100.5), (40.5, 180.5))
    np.testing.assert_allclose(result["distance_px"], np.arange(81), atol=1e-4)
    np.testing.assert_allclose(result["amplitude"], np.abs(recon.object[40, 100:181]), atol=1e-5)
    expected = np.angle(recon.object[40, 100:181] * np.exp(-1j * picture.phase_rad))
    np.testing.assert_allclose(result["phase"], expected, atol=1e-5)


def test_a_profile_off_the_object_has_no_values_there(picture):
    result = measure_profile(picture, (-20.0, 10.0), (320.0, 410.0))
    assert result["amplitude"][0] is None and result["amplitude"][-1] is None
    assert result["amplitude"][len(result["amplitude"]) // 2] is not None
    with pytest.raises(InputError):
        measure_profile(picture, (0.0, float("nan")), (1.0, 1.0))


def test_blocks_hold_the_object(picture, recon):
    values = np.frombuffer(read_block(picture, 4, 6), "<c8").reshape(300 - 4 * BLOCK_PX, 420 - 6 * BLOCK_PX)
    np.testing.assert_array_equal(values, recon.object[4 * BLOCK_PX :, 6 * BLOCK_PX :])
    with pytest.raises(InputError):
        read_block(picture, 5, 0)


def test_a_file_that_is_written_again_is_another_picture(recon, tmp_path):
    path, store = recon.save(tmp_path / "recon.h5"), PictureCache(10**9)
    first = store.get(path)
    assert store.get(path) is first
    recon.save(path)
    second = store.get(path)
    assert second.file.version != first.file.version
    with pytest.raises(FileChangedError):
        first.tile("amplitude", 0, 0, 0, DisplayRange(0.0, 1.0, "gray"))
    assert first.tile("amplitude", 1, 0, 0, DisplayRange(0.0, 1.0, "gray"))


def test_the_store_makes_room_and_leaves_no_files(recon, tmp_path):
    paths, store = [recon.save(tmp_path / f"{n}.h5") for n in range(3)], PictureCache(1)
    pictures = [store.get(path) for path in paths]
    assert store.get(paths[2]) is pictures[2]
    assert store.get(paths[0]) is not pictures[0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["0.h5", "1.h5", "2.h5"]


def test_many_open_pictures_take_little_memory(tmp_path):
    """Reduced copies lie in files: they are mapped, not held."""
    import h5py

    edge = 4096
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("object", (edge, edge), np.complex64, fillvalue=1j)
    picture = open_layers(open_picture(tmp_path / "large.h5"))
    assert picture.pyramid.levels == 5
    for level in picture.pyramid.copies:
        assert all(isinstance(image, np.memmap) for image in level.values())
    assert not [name for name in os.listdir(tmp_path) if name != "large.h5"]


def test_a_thumbnail_is_small_and_shows_the_illuminated_part(picture):
    drawn = pixels(draw_thumbnail(picture))
    assert max(drawn.shape[:2]) <= 512
    assert drawn[..., 3].mean() > 150


def test_files_that_are_no_pictures_are_refused_in_one_line(tmp_path, recon):
    import h5py

    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["object"] = np.ones(5)
    (tmp_path / "text.h5").write_text("nothing")
    path = recon.save(tmp_path / "cut.h5")
    path.write_bytes(path.read_bytes()[:5000])
    for name in ("flat.h5", "text.h5", "cut.h5", "none.h5"):
        with pytest.raises((InputError, FileNotFoundError)) as error_info:
            open_picture(tmp_path / name)
        assert "\n" not in str(error_info.value)
