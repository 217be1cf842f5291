"""A scan in a spool becomes the patterns that a scan file of the same frames would give."""

import numpy as np
import pytest

from ptypinn.config.live import LiveConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.validation import deferred_checks
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.stages.live_scan import LiveScan
from ptypinn.stages.live_status import judge
from ptypinn.stages.simulate import simulate
from ptypinn.streams.messages import Frames, Metadata, Positions
from ptypinn.streams.spool_writer import SpoolWriter


@pytest.fixture(scope="module")
def recorded():
    return simulate(SimulateConfig(size=32, object_size=(80, 80), n_patterns=100, photons=1e5))


def spool(folder, scan, order, counts=None, **metadata):
    """A spool with the frames of a scan in some order."""
    writer, order = SpoolWriter(folder), np.asarray(order)
    optics = {name: getattr(scan, name) for name in ("energy_eV", "detector_distance_m", "detector_pixel_m")}
    writer.write_metadata(Metadata({**optics, "mask": scan.good, **metadata}))
    counts = scan.counts[:] if counts is None else counts
    for part in np.array_split(order, 4):
        assert writer.write_frames(Frames(part, counts[part]), np.zeros(len(part)))
        positions_m = scan.positions_px[part] * scan.pixel_size_m
        writer.write_positions(Positions(positions_m, numbers=part), np.zeros(len(part)))
    writer.close()


def open_scan(folder, loading=None, live=None):
    return LiveScan(folder, "test:scan", loading or LoadConfig(), live or LiveConfig())


def test_blocks_and_the_whole_are_the_frames_with_their_positions(recorded, tmp_path):
    order = np.random.default_rng(0).permutation(100)
    spool(tmp_path, recorded, order)
    scan = open_scan(tmp_path)
    blocks = []
    while (block := scan.read(30, is_over=True)) is not None:
        blocks.append(block)
    numbers = np.concatenate([block.numbers for block in blocks])
    assert sorted(numbers.tolist()) == list(range(100))
    counts = np.concatenate([block.scan.counts[:] for block in blocks])
    assert np.array_equal(counts, recorded.counts[:][numbers])
    assert np.allclose(np.concatenate([b.scan.positions_px for b in blocks]), recorded.positions_px[numbers])
    whole = scan.assemble()
    assert np.array_equal(whole.counts[:], recorded.counts[:])
    assert np.allclose(whole.positions_px, recorded.positions_px)
    assert whole.pixel_size_m == pytest.approx(recorded.pixel_size_m)
    scan.close()


def test_the_first_block_waits_for_enough_frames(recorded, tmp_path):
    spool(tmp_path, recorded, np.arange(20))
    scan = open_scan(tmp_path)
    assert scan.read(100) is None
    assert len(scan.read(100, is_over=True).numbers) == 20


def test_frames_of_the_first_block_can_be_looked_at_before_it_is_complete(recorded, tmp_path):
    counts = recorded.counts[:].astype(np.float32)
    counts[2, 3, 3] = np.nan
    spool(tmp_path, recorded, np.arange(20), counts)
    scan, untouched = open_scan(tmp_path), open_scan(tmp_path)
    block = scan.peek()
    assert block.numbers.tolist() == [k for k in range(20) if k != 2]
    assert np.array_equal(block.scan.counts[:], recorded.counts[block.numbers])
    assert np.allclose(block.scan.positions_px, recorded.positions_px[block.numbers])
    taken, expected = (each.read(100, is_over=True) for each in (scan, untouched))
    assert taken.numbers.tolist() == expected.numbers.tolist()
    assert np.array_equal(taken.scan.good, expected.scan.good)
    assert scan.left_out == untouched.left_out == [2]
    assert scan.peek() is None


def test_frames_that_are_no_counts_are_left_out_by_number(recorded, tmp_path):
    counts = recorded.counts[:].astype(np.float32)
    counts[7, 3, 3], counts[90, 5, 5] = np.nan, -4
    spool(tmp_path, recorded, np.arange(100), counts)
    scan = open_scan(tmp_path)
    while scan.read(64, is_over=True) is not None:
        pass
    assert scan.left_out == [7, 90]
    whole = scan.assemble()
    assert whole.n_patterns == 98
    assert whole.provenance["reception"]["no_counts"] == {"count": 2, "frames": "7,90"}


def test_a_stray_position_stays_in_the_file_for_its_survey_and_out_of_the_picture(recorded, tmp_path):
    positions = recorded.positions_px.copy()
    positions[40] += 1.0 / recorded.pixel_size_m
    with deferred_checks():
        stray = recorded.replace(positions_px=positions, truth=None, experiment=None)
    spool(tmp_path / "spool", stray, np.arange(100))
    scan = open_scan(tmp_path / "spool")
    assert scan.read(200, is_over=True).numbers.tolist() == [k for k in range(100) if k != 40]
    whole = load(save(scan.assemble(), tmp_path / "scan.h5"))
    assert whole.n_patterns == 99
    assert whole.provenance["survey"]["frames_left_out"] == [40]


def test_large_scans_stay_on_disk(recorded, tmp_path):
    spool(tmp_path, recorded, np.arange(100))
    scan = open_scan(tmp_path, LoadConfig(memory_budget_gib=1e-9))
    first, second = scan.read(64), scan.read(64)
    assert isinstance(first.scan.counts, np.ndarray)
    assert not isinstance(second.scan.counts, np.ndarray)
    assert np.array_equal(second.scan.counts[:], recorded.counts[:][64:])


def test_orientation_and_geometry_of_the_options_hold_for_blocks(recorded, tmp_path):
    spool(tmp_path, recorded, np.arange(100))
    options = LoadConfig(transpose_patterns=True, detector_distance_m=2 * recorded.detector_distance_m)
    block = open_scan(tmp_path, options).read(64)
    assert np.array_equal(block.scan.counts[:], recorded.counts[:64].transpose(0, 2, 1))
    assert block.scan.pixel_size_m == pytest.approx(2 * recorded.pixel_size_m)
    assert np.allclose(block.scan.positions_px, recorded.positions_px[:64] / 2)


def test_what_lacks_is_named(recorded, tmp_path):
    spool(tmp_path / "optics", recorded.replace(energy_eV=None), np.arange(100))
    with pytest.raises(InputError, match="--energy-eV"):
        open_scan(tmp_path / "optics").read(64)
    writer = SpoolWriter(tmp_path / "oblong")
    writer.write_frames(Frames(np.arange(70), np.ones((70, 8, 10), np.uint16)), np.zeros(70))
    writer.write_positions(Positions(np.zeros((70, 2)), numbers=np.arange(70)), np.zeros(70))
    writer.close()
    with pytest.raises(InputError, match="the same command with --crop-px 8"):
        open_scan(tmp_path / "oblong").read(64)
    SpoolWriter(tmp_path / "empty").close()
    with pytest.raises(InputError, match="no position of any"):
        open_scan(tmp_path / "empty").assemble()


@pytest.mark.parametrize(
    ("quality", "frames", "alerts", "text", "reason"),
    [
        ({}, {}, (), "No picture yet.", ""),
        ({}, {"model_alone": 3}, (), "trained model alone", "3 frames are shown by the trained model alone"),
        ({"misfit": 1.0}, {"solved": 5, "model_alone": 3}, (), "to their counting noise", "3 frames are shown"),
        ({"misfit": 1.2}, {"solved": 5}, (), "mostly", "1.20 times"),
        ({"misfit": 3.0}, {"solved": 5, "dropped": 2}, (), "does not explain", "2 frames were dropped"),
        ({"misfit": 1.0}, {"solved": 5, "left_out": 2, "left_out_text": "no beam: 3 and 4"}, (), "explains", "beam: 3"),
        ({"misfit": 1.0}, {"solved": 5}, ({"text": "The beam is gone.", "active": True},), "Look at", "beam is gone"),
        ({"misfit": 1.0}, {"solved": 5}, ({"text": "The beam was gone.", "active": False},), "The picture", ""),
    ],
)
def test_a_verdict_has_its_reasons(quality, frames, alerts, text, reason):
    verdict = judge(quality, frames, alerts, "")
    assert text in verdict["text"]
    assert reason in " ".join(verdict["reasons"])


def oblong(scan):
    """Frames and mask of a scan within wider ones, and the column of its middle."""
    counts = np.random.default_rng(1).integers(0, 9, (scan.n_patterns, 32, 50)).astype(np.uint16)
    counts[:, :, 10:42] = scan.counts[:]
    mask = np.zeros((32, 50), bool)
    mask[:, 10:42] = scan.good
    return counts, mask, (16, 26)


@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("crop", [32, 24])
def test_whole_oblong_frames_are_cut_when_they_are_read(recorded, tmp_path, stated, crop):
    counts, mask, centre = oblong(recorded)
    facts = {"beam_centre_px": centre} if stated else {}
    spool(tmp_path, recorded, np.arange(100), counts, mask=mask, **facts)
    options = LoadConfig(crop_px=crop, centre_px=None if stated else centre, survey=False)
    scan = open_scan(tmp_path, options)
    inner = slice(16 - crop // 2, 16 + crop // 2)
    block = scan.read(100)
    for part in (block.scan, scan.assemble()):
        assert np.array_equal(part.counts[:], recorded.counts[:, inner, inner])
        assert np.array_equal(part.good, recorded.good[inner, inner])
        assert part.pixel_size_m == pytest.approx(recorded.pixel_size_m * 32 / crop)
