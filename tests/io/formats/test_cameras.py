"""Files of electron cameras, as their definitions have them, are read to the last count, and damaged ones refused."""

import pickle
import sys

import cameras_by_hand as by_hand
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.camera_frames import CameraCounts
from ptypinn.io.crop import Window
from ptypinn.io.load_save import detect_format, load

pytest.importorskip("libertem", reason="the extra `cameras` is not installed")

GIVEN = {"raster_shape": (by_hand.ROWS, by_hand.COLUMNS), "scan_step_m": 3e-11, "pixel_size_m": 1e-11}
FLOATS = ("empad", "empad_raw")


def options(name, **others):
    gain = {"detector_gain": 1.0} if name in FLOATS else {}
    return LoadConfig(**{**GIVEN, **gain, "survey": False, **others})


@pytest.mark.parametrize("budget", [1.0, 1e-9])
@pytest.mark.parametrize("name", by_hand.WRITERS)
def test_frames_come_out_to_the_last_count(name, budget, tmp_path):
    path, frames = by_hand.WRITERS[name](tmp_path)
    assert detect_format(path) == "camera"
    scan = load(path, options(name, memory_budget_gib=budget))
    np.testing.assert_array_equal(scan.counts[:], frames)
    np.testing.assert_array_equal(scan.counts[[5, 2, 11]], frames[[5, 2, 11]])
    assert scan.particle == "electron"
    y, x = np.meshgrid(np.arange(by_hand.ROWS), np.arange(by_hand.COLUMNS), indexing="ij")
    np.testing.assert_allclose(scan.positions_px, 3 * np.stack([y.ravel(), x.ravel()], 1))


@pytest.mark.parametrize("name", ["empad", "mib", "blo", "dm4"])
def test_the_raster_that_a_file_states_is_used(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    scan = load(path, options(name, raster_shape=None))
    assert scan.provenance["raster"] == [by_hand.ROWS, by_hand.COLUMNS]


@pytest.mark.parametrize("name", ["empad", "tvips", "blo", "dm4"])
def test_the_energy_of_the_header_is_used_and_an_option_replaces_it(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    assert load(path, options(name)).energy_eV == by_hand.VOLTAGE_V
    assert load(path, options(name, energy_eV=80e3)).energy_eV == 80e3


def test_steps_of_the_header_give_positions_and_object_pixel(tmp_path):
    path, _ = by_hand.dm4(tmp_path)
    scan = load(path, LoadConfig(survey=False))
    assert scan.pixel_size_m == pytest.approx(scan.wavelength_m / (by_hand.EDGE * 0.5e-3), rel=1e-6)
    for name, config in (("dm4", LoadConfig(survey=False)), ("blo", LoadConfig(survey=False, pixel_size_m=1e-11))):
        scan = load(by_hand.WRITERS[name](tmp_path)[0], config)
        y, x = (scan.positions_px[-1] - scan.positions_px[0]) * scan.pixel_size_m
        assert y == pytest.approx((by_hand.ROWS - 1) * 1e-9 * by_hand.STEP_NM[0], rel=1e-6)
        assert x == pytest.approx((by_hand.COLUMNS - 1) * 1e-9 * by_hand.STEP_NM[1], rel=1e-6)


@pytest.mark.parametrize("name", ["empad_raw", "mib_raw", "tvips", "seq", "mrc"])
def test_a_raster_that_no_file_states_is_asked_for(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    with pytest.raises(InputError, match=r"positions: found 12 patterns without positions.*--raster-shape"):
        load(path, options(name, raster_shape=None))


def test_frames_before_the_raster_are_left_out(tmp_path):
    path, frames = by_hand.mib_raw(tmp_path)
    scan = load(path, options("mib_raw", raster_shape=(2, 5), select="2-"))
    np.testing.assert_array_equal(scan.counts[:], frames[2:])
    with pytest.raises(InputError, match='10 positions for 12 patterns, expected as many of both; --select "0-9"'):
        load(path, options("mib_raw", raster_shape=(2, 5)))


def test_patterns_are_cropped_around_the_direct_beam(tmp_path):
    path, frames = by_hand.seq(tmp_path)
    for budget in (1.0, 1e-9):
        scan = load(path, options("seq", centre_px=(30, 34), crop_px=16, memory_budget_gib=budget))
        np.testing.assert_array_equal(scan.counts[:], frames[:, 22:38, 26:42])


def test_crops_are_read_a_batch_of_whole_frames_at_a_time(tmp_path, monkeypatch):
    path, frames = by_hand.seq(tmp_path)
    sizes, read = [], CameraCounts._read
    monkeypatch.setattr("ptypinn.io.camera_frames.BATCH_BYTES", 2 * frames[0].nbytes)
    monkeypatch.setattr(
        CameraCounts, "_read", lambda counts, ordered: sizes.append(len(ordered)) or read(counts, ordered)
    )
    counts = CameraCounts(path, "seq", len(frames), Window(slice(8, 24), slice(4, 20)))
    np.testing.assert_array_equal(counts[:], frames[:, 8:24, 4:20])
    assert max(sizes) == 2


def test_noise_of_pixels_that_no_electron_met_is_read_as_zero(tmp_path):
    path, _ = by_hand.empad(tmp_path)
    rng = np.random.default_rng(0)
    electrons = rng.poisson(0.5, (12, 130, 128))
    (100 * electrons + rng.normal(0, 8, electrons.shape)).astype("<f4").tofile(tmp_path / "scan.raw")
    scan = load(path, options("empad", detector_gain=100.0))
    assert (scan.counts[:][electrons[:, :128] == 0] == 0).all()
    np.testing.assert_allclose(scan.counts[:], electrons[:, :128], atol=0.5)
    assert scan.provenance["read_as_zero_below"] == 50.0
    with pytest.raises(InputError, match="--detector-gain"):
        load(path, LoadConfig(**GIVEN))


def test_block_files_of_two_bytes_that_do_not_state_it_are_refused(tmp_path):
    path, frames = by_hand.blo(tmp_path)
    content = path.read_bytes()
    offset = int.from_bytes(content[12:16], "little")
    rows = b"".join(bytes(6) + frame.astype("<u2").tobytes() for frame in frames)
    path.write_bytes(content[:offset] + rows)
    with pytest.raises(InputError, match="12 patterns of 64 x 64 pixels of uint8, expected"):
        load(path, options("blo"))


def test_frames_can_be_sent_to_workers(tmp_path):
    path, frames = by_hand.mib(tmp_path)
    counts = CameraCounts(path, "mib", len(frames))
    again = pickle.loads(pickle.dumps(counts))
    assert again.shape == counts.shape == frames.shape
    np.testing.assert_array_equal(again[3:5], frames[3:5])
    assert counts[np.zeros(len(frames), bool)].shape == (0, *frames.shape[1:])


@pytest.mark.parametrize("name", by_hand.WRITERS)
@pytest.mark.parametrize("part", [0.97, 0.6, 0.05, 0.001])
def test_files_that_end_early_are_refused_in_one_line(name, part, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    for file in tmp_path.iterdir():
        if file.suffix not in (".hdr", ".xml"):
            file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    with pytest.raises(InputError) as caught:
        load(path, options(name, format="camera"))
    message = str(caught.value)
    assert "\n" not in message and path.name in message and "found" in message


@pytest.mark.parametrize("name", [name for name in by_hand.WRITERS if name != "empad"])
def test_files_of_another_name_are_refused_in_one_line(name, tmp_path):
    """Content of one camera under the suffix of another."""
    path, frames = by_hand.WRITERS[name](tmp_path)
    wrong = tmp_path / ("other.blo" if name != "blo" else "other.seq")
    wrong.write_bytes(path.read_bytes())
    try:
        scan = load(wrong, options(name, format="camera"))
    except InputError as error:
        message = str(error)
    else:
        message = ""
        np.testing.assert_array_equal(scan.counts[:], frames)
    assert "\n" not in message
    assert not message or "other." in message


def test_a_missing_package_is_named_with_what_brings_it(tmp_path, monkeypatch):
    path, _ = by_hand.seq(tmp_path)
    monkeypatch.setitem(sys.modules, "libertem.io.dataset", None)
    with pytest.raises(InputError, match=r"found no package libertem.*pip install 'ptypinn\[cameras\]'"):
        load(path, options("seq"))


def test_amplitudes_are_refused(tmp_path):
    path, _ = by_hand.seq(tmp_path)
    with pytest.raises(InputError, match="--domain: found amplitude, expected counts"):
        load(path, options("seq", domain="amplitude"))
