"""Options that hold for every format: cutting, turning over, gain, optics, particles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.data.orientation import Orientation
from ptypinn.errors import InputError
from ptypinn.io.crop import Window
from ptypinn.io.lazy_counts import JoinedCounts, LazyCounts, join
from ptypinn.io.load_save import FORMATS, load, save
from ptypinn.physics.optics import compute_wavelength

FLIPS = st.sampled_from(["none", "y", "x", "yx"])


def centred_fft(waves):
    return np.fft.fftshift(np.abs(np.fft.fft2(waves)) ** 2, axes=(-2, -1))


@given(st.booleans(), FLIPS, st.sampled_from([8, 10]), st.integers(0, 99))
def test_turning_patterns_over_is_turning_the_object_over(transpose, flip, size, seed):
    """A pattern turned over about its zero frequency is the pattern of the wave turned over in the same way."""
    rng = np.random.default_rng(seed)
    wave = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    turn = Orientation(transpose, flip)
    np.testing.assert_allclose(turn.images(centred_fft(wave)), centred_fft(turn.images(wave)), rtol=1e-9, atol=1e-9)


def test_the_eight_orientations_differ_and_keep_the_zero_frequency():
    image = np.arange(64).reshape(8, 8)
    turned = [Orientation(t, f).images(image) for t in (False, True) for f in ("none", "y", "x", "yx")]
    assert len({array.tobytes() for array in turned}) == 8
    assert all(array[4, 4] == image[4, 4] for array in turned)


@pytest.mark.parametrize("budget", [4096.0, 1e-9])
def test_patterns_mask_and_probe_turn_together_and_positions_by_themselves(make_scan, tmp_path, budget):
    scan = make_scan(truth=None)
    path = save(scan, tmp_path / "scan.h5")
    turned = load(path, LoadConfig(transpose_patterns=True, flip_patterns="y", memory_budget_gib=budget))
    turn = Orientation(True, "y")
    assert isinstance(turned.counts, np.ndarray) == (budget > 1)
    np.testing.assert_array_equal(turned.counts[:], turn.images(scan.counts))
    np.testing.assert_array_equal(turned.counts[np.array([3, 1])], turn.images(scan.counts)[[3, 1]])
    np.testing.assert_array_equal(turned.mask, turn.images(scan.mask))
    np.testing.assert_array_equal(turned.probe, turn.images(scan.probe))
    np.testing.assert_array_equal(turned.positions_px, scan.positions_px)
    moved = load(path, LoadConfig(transpose_positions=True, flip_positions="x"))
    np.testing.assert_array_equal(moved.positions_px, scan.positions_px[:, ::-1] * [1, -1])
    np.testing.assert_array_equal(moved.counts, scan.counts)
    assert moved.provenance["options"] == {"transpose_positions": True, "flip_positions": "x"}


SUPPLIED = {
    "positions_file": "y.csv",
    "scan_step_m": 1e-9,
    "patterns_file": "p.h5",
    "axis_order": "hwn",
    "truth": "object",
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("native", SUPPLIED),
        ("ptyd", SUPPLIED),
        ("cxi", SUPPLIED.keys() - {"truth"}),
        ("ptychodus", SUPPLIED.keys() - {"truth", "patterns_file"}),
        ("npz", SUPPLIED.keys() - {"truth", "axis_order"}),
    ],
)
def test_what_a_format_does_not_leave_open_is_not_supplied_in_vain(make_scan, tmp_path, name, options):
    path = save(make_scan(), tmp_path / f"scan{FORMATS[name].suffixes[0]}", name)
    for option in options:
        with pytest.raises(InputError, match=f"{option_name(option)}: found {SUPPLIED[option]}, expected nothing"):
            load(path, LoadConfig(**{option: SUPPLIED[option]}))


def test_positions_on_a_true_object_are_not_turned(make_scan, tmp_path):
    path = save(make_scan(), tmp_path / "scan.h5")
    with pytest.raises(InputError, match="--flip-positions"):
        load(path, LoadConfig(flip_positions="y"))


@pytest.mark.parametrize("budget", [4096.0, 1e-9])
def test_a_gain_divides_counts(make_scan, tmp_path, budget):
    scan = make_scan()
    path = save(scan, tmp_path / "scan.h5")
    light = load(path, LoadConfig(detector_gain=36.7, memory_budget_gib=budget))
    assert light.counts.dtype == np.float32
    np.testing.assert_allclose(light.counts[:], scan.counts / 36.7, rtol=1e-6)


@pytest.mark.parametrize("budget", [4096.0, 1e-9])
@pytest.mark.parametrize("name", ["cxi", "ptyd"])
def test_a_square_is_cut_out_and_the_object_pixel_grows(make_scan, tmp_path, name, budget):
    scan = make_scan(size=16, probe=None, truth=None)
    path = save(scan, tmp_path / "scan.h5", name)
    cut = load(path, LoadConfig(centre_px=(6, 9), crop_px=8, memory_budget_gib=budget))
    np.testing.assert_array_equal(cut.counts[:], scan.counts[:, 2:10, 5:13])
    np.testing.assert_array_equal(cut.mask, scan.mask[2:10, 5:13])
    assert cut.pixel_size_m == pytest.approx(2 * scan.pixel_size_m, rel=1e-12)
    np.testing.assert_allclose(cut.positions_px * 2, scan.positions_px, rtol=1e-9, atol=1e-9)
    around = load(path, LoadConfig(centre_px=(6, 9)))
    assert around.size == 12
    for wrong, message in (
        ({"crop_px": 18}, r"--crop-px: found 18 pixels around \(8, 8\)"),
        ({"centre_px": (6, 9), "crop_px": 14}, r"--crop-px: found 14 pixels around \(6, 9\)"),
        ({"centre_px": (0, 5)}, r"--centre-px: found \(0, 5\) in patterns of 16 x 16"),
        ({"centre_px": (-4, 900), "crop_px": 8}, r"--centre-px: found \(-4, 900\)"),
    ):
        with pytest.raises(InputError, match=message):
            load(path, LoadConfig(**wrong))


def test_cut_patterns_of_a_file_with_pixels_keep_the_probe_in_its_place(tmp_path, make_scan):
    """A cut in the detector makes object pixels larger, so positions in pixels shrink, about the probe's middle."""
    scan = make_scan(size=16, probe=None, truth=None)
    path = save(scan, tmp_path / "scan.npz", "npz")
    cut = load(path, LoadConfig(crop_px=8))
    np.testing.assert_allclose((cut.positions_px + 4) * 2, scan.positions_px + 8, atol=1e-12)
    assert cut.pixel_size_m == pytest.approx(2 * scan.pixel_size_m, rel=1e-12)


def test_the_object_pixel_can_be_given(make_scan, tmp_path):
    scan = make_scan(truth=None)
    path = save(scan, tmp_path / "scan.cxi", "cxi")
    arguments = load(path, LoadConfig(pixel_size_m=1e-8))
    assert arguments.pixel_size_m == 1e-8
    np.testing.assert_allclose(arguments.positions_px * 1e-8, scan.positions_px * scan.pixel_size_m, rtol=1e-9)


def test_electrons_have_another_wavelength():
    assert compute_wavelength(300e3, "electron") == pytest.approx(1.96875e-12, rel=1e-5)
    assert compute_wavelength(80e3, "electron") == pytest.approx(4.17571e-12, rel=1e-5)
    assert compute_wavelength(12658.0) == pytest.approx(9.794912e-11, rel=1e-6)


def test_particles_come_back_and_can_be_told(make_scan, tmp_path):
    path = save(make_scan(particle="electron", truth=None), tmp_path / "scan.h5")
    assert load(path).particle == "electron"
    photons = load(path, LoadConfig(particle="photon"))
    assert photons.particle == "photon"
    ratio = photons.wavelength_m / load(path).wavelength_m
    assert photons.pixel_size_m / load(path, LoadConfig(particle="electron")).pixel_size_m == pytest.approx(ratio)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_joined_stacks_read_as_one(lengths, data):
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 9, (n, 8, 8)).astype(np.uint16) for n in lengths]
    whole, joined = np.concatenate(parts), JoinedCounts(parts)
    assert joined.shape == whole.shape and joined.dtype == whole.dtype
    keys = st.one_of(st.slices(len(whole)), st.lists(st.integers(0, len(whole) - 1)).map(lambda v: np.array(v, int)))
    key = data.draw(keys)
    np.testing.assert_array_equal(joined[key], whole[key])
    assert isinstance(join(parts), np.ndarray)


@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_a_raster_is_read_by_lines_as_a_list(tmp_path_factory, rows, columns, data):
    import h5py

    values = np.random.default_rng(0).integers(0, 99, (rows, columns, 9, 10)).astype(np.uint16)
    path = tmp_path_factory.mktemp("raster") / "raster.h5"
    with h5py.File(path, "w") as file:
        file["counts"] = values
    window, flat = Window(slice(0, 8), slice(2, 10)), values.reshape(-1, 9, 10)[:, :8, 2:]
    lazy = LazyCounts(path, "counts", None, window)
    assert lazy.shape == flat.shape
    key = data.draw(st.lists(st.integers(0, rows * columns - 1)).map(lambda v: np.array(v, int)))
    np.testing.assert_array_equal(lazy[key], flat[key])
    np.testing.assert_array_equal(lazy[:], flat)


def test_every_lack_names_an_option_of_reading():
    options = set(LoadConfig.__dataclass_fields__)
    lacking = [lack for candidate in FORMATS.values() for lack in candidate.missing]
    assert lacking
    assert {lack.option for lack in lacking} <= options
