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
from ptypinn.runs.record import find_scan

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


@pytest.mark.parametrize("name", [one.__name__ for one in by_hand.RASTERS])
def test_the_raster_that_a_file_states_is_used(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    scan = load(path, options(name, raster_shape=None))
    assert scan.provenance["raster"] == [by_hand.ROWS, by_hand.COLUMNS]


@pytest.mark.parametrize("name", ["empad", "tvips", "blo", "dm4", "dm4_pixel_by_pixel"])
def test_the_energy_of_the_header_is_used_and_an_option_replaces_it(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    assert load(path, options(name)).energy_eV == by_hand.VOLTAGE_V
    assert load(path, options(name, energy_eV=80e3)).energy_eV == 80e3


@pytest.mark.parametrize("name", ["dm4", "dm4_pixel_by_pixel", "blo"])
def test_steps_of_the_header_give_positions_and_object_pixel(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    scan = load(path, LoadConfig(survey=False, pixel_size_m=1e-11 if name == "blo" else None))
    if name != "blo":
        assert scan.pixel_size_m == pytest.approx(scan.wavelength_m / (by_hand.EDGE * 0.5e-3), rel=1e-6)
    y, x = (scan.positions_px[-1] - scan.positions_px[0]) * scan.pixel_size_m
    assert y == pytest.approx((by_hand.ROWS - 1) * 1e-9 * by_hand.STEP_NM[0], rel=1e-6)
    assert x == pytest.approx((by_hand.COLUMNS - 1) * 1e-9 * by_hand.STEP_NM[1], rel=1e-6)


@pytest.mark.parametrize("name", [one.__name__ for one in by_hand.STACKS])
def test_a_raster_that_no_file_states_is_asked_for(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    with pytest.raises(InputError, match=r"positions: found 12 patterns without positions.*--raster-shape"):
        load(path, options(name, raster_shape=None))


@pytest.mark.parametrize("swapped", [None, 0, 1])
@pytest.mark.parametrize("dtype", by_hand.DM_TYPES)
def test_arrays_of_dm_files_are_read_of_every_type_and_order(dtype, swapped, tmp_path):
    path, frames = by_hand.dm4(tmp_path, dtype, swapped)
    scan = load(path, options("dm4", detector_gain=1.0 if dtype == "<f4" else None))
    np.testing.assert_array_equal(scan.counts[:], frames)
    assert scan.counts.dtype == frames.dtype


def test_volumes_of_mrc_are_frames_where_a_raster_has_as_many_positions(tmp_path):
    path, frames = by_hand.mrc(tmp_path, depth=len(by_hand.frames("u2")))
    scan = load(path, options("mrc"))
    np.testing.assert_array_equal(scan.counts[:], frames)
    assert scan.provenance["volume_sections"] == len(frames)
    part = load(path, options("mrc", raster_shape=(2, 5), select="2-"))
    np.testing.assert_array_equal(part.counts[:], frames[2:])
    for raster in (None, (2, 5)):
        with pytest.raises(InputError, match=r"a volume of 12 sections, by mz in its header.*--raster-shape"):
            load(path, options("mrc", raster_shape=raster))
    for order in "<>":
        stack, _ = by_hand.mrc(tmp_path, order=order)
        assert "volume_sections" not in load(stack, options("mrc")).provenance


def test_the_depth_of_mrc_files_of_bytes_is_read_in_their_order(tmp_path):
    path, _ = by_hand.mrc(tmp_path, order=">")
    whole = bytearray(path.read_bytes())
    whole[12:16] = bytes(4)  # mode 0: bytes, which have no order of their own
    whole[1024:] = bytes([1]) * (len(whole) - 1024)
    path.write_bytes(bytes(whole))
    assert "volume_sections" not in load(path, options("mrc")).provenance


def test_modes_of_mrc_that_are_no_counts_are_refused(tmp_path):
    path, _ = by_hand.mrc(tmp_path)
    content = bytearray(path.read_bytes())
    content[12] = 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="mode: found 4, expected one of 0, 1, 2, 6"):
        load(path, options("mrc"))


@pytest.mark.parametrize("name", ["empad", "mib", "tvips"])
def test_the_record_of_a_scan_holds_the_content_of_all_its_files(name, tmp_path):
    path, _ = by_hand.WRITERS[name](tmp_path)
    record = load(path, options(name)).provenance
    others = sorted(file.name for file in tmp_path.iterdir() if file != path)
    assert sorted(record["parts"]) == others
    named = {"path": str(path), "file": path.name, "sha256": record["sha256"], "parts": record["parts"], "command": []}
    assert find_scan(tmp_path / "run", named) == path
    other = tmp_path / others[-1]
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    assert find_scan(tmp_path / "run", named) is None
    assert load(path, options(name)).provenance["parts"] != record["parts"]


@pytest.mark.parametrize("name", ["empad", "mib", "tvips"])
def test_files_of_a_series_that_are_links_out_of_its_folder_are_refused(name, tmp_path):
    (inside := tmp_path / "inside").mkdir()
    (outside := tmp_path / "outside").mkdir()
    path, frames = by_hand.WRITERS[name](inside)
    other = max(file for file in inside.iterdir() if file != path)
    other.rename(outside / other.name)
    other.symlink_to(outside / other.name)
    with pytest.raises(InputError, match=rf"{other.name}: found a link to .*outside the folder.*--allow-external"):
        load(path, options(name))
    np.testing.assert_array_equal(load(path, options(name, allow_external=True)).counts[:], frames)
    (below := inside / "below").mkdir()
    other.unlink()
    (outside / other.name).rename(below / other.name)
    other.symlink_to(below / other.name)
    np.testing.assert_array_equal(load(path, options(name)).counts[:], frames)


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
