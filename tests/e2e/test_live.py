"""`ptypinn live` by its real command: a scan in progress in, a finished run out, whatever happens on the way."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ptypinn.cli.main import main
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.ranges import read_ranges
from ptypinn.data.validation import deferred_checks
from ptypinn.io.load_save import load, load_reconstruction, save
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.stages.simulate import simulate
from ptypinn.streams.messages import End, Frames, Metadata, Positions
from ptypinn.streams.reception import Receiver
from ptypinn.streams.spool import SpoolReader, read_state
from ptypinn.viewer.live_run import read_live

QUICK = ("--assume", "ideal", "--probe-rounds", "2", "--rounds", "4", "--threads", "1", "--quiet")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A scan of 120 patterns."""
    config = SimulateConfig(size=32, object_size=(96, 96), n_patterns=120, photons=1e6)
    return save(simulate(config), tmp_path_factory.mktemp("live") / "scan.h5")


@pytest.fixture(scope="module")
def model(recorded, tmp_path_factory):
    """The run folder of a training on such a scan."""
    folder = tmp_path_factory.mktemp("training") / "model"
    options = ("--epochs", "2", "--width", "16", "--device", "cpu", "--threads", "1", "--quiet")
    assert main(["train", str(recorded), "--output-dir", str(folder), *options]) == 0
    return folder


@contextlib.contextmanager
def live(source, folder, *options, quick=QUICK):
    """The command in a process of its own; its receiver is ended too."""
    words = [sys.executable, "-m", "ptypinn", "live", source, "--output-dir", folder, *quick, *options]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(ProcessLookupError, KeyError):
                os.kill(read_state(Path(folder) / "spool")["pid"], signal.SIGKILL)


def wait_until(condition, timeout_s=60):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def spooled(folder):
    return read_state(folder / "spool").get("spooled", 0)


def test_a_replayed_scan_ends_as_a_finished_run(recorded, tmp_path, ptypinn, quick_pictures):
    faults = "late=0.1&late_s=0.5&repeated=0.1&lost=0.05&positions_delay_s=0.2&seed=3"
    finished = ptypinn("live", f"replay:{recorded}?rate=400&{faults}", "--output-dir", tmp_path, "--json", *QUICK)
    assert finished.code == 0, finished.err
    result, truth = json.loads(finished.out), load(recorded)
    numbers = result["frames"]
    assert numbers["repeated"] > 0
    assert numbers["n_missing"] + numbers["spooled"] == truth.n_patterns
    assert f"{numbers['n_missing']} frames have not come: {numbers['missing']}" in (tmp_path / "log.txt").read_text()
    scan = load(tmp_path / "scan.h5")
    missing = scan.provenance["reception"]["missing"]
    came = np.setdiff1d(np.arange(truth.n_patterns), read_ranges(missing["frames"]))
    assert missing["count"] == numbers["n_missing"] > 0
    assert np.array_equal(scan.counts[:], truth.counts[came])
    assert np.allclose(scan.positions_px, truth.positions_px[came], atol=1e-9)
    assert not (tmp_path / "spool").exists()
    assert json.loads((tmp_path / "live.json").read_text())["state"] == "finished"
    recon = load_reconstruction(tmp_path / "reconstruction.h5")
    assert recon.provenance["scan"]["reception"]["missing"] == missing


def test_a_killed_solver_loses_no_frame_and_the_same_command_continues(recorded, tmp_path):
    source = f"replay:{recorded}?rate=30"
    with live(source, tmp_path) as process:
        wait_until(lambda: spooled(tmp_path) > 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = spooled(tmp_path)
        wait_until(lambda: spooled(tmp_path) > before)
        with live(source, tmp_path) as again:
            assert again.communicate()[1] == ""
            assert again.returncode == 0
    assert load(tmp_path / "scan.h5").n_patterns == 120
    assert "continued with the frames" in (tmp_path / "log.txt").read_text()


def test_a_terminated_run_stops_receiving_and_can_be_continued(recorded, tmp_path):
    source = f"replay:{recorded}?rate=20"
    with live(source, tmp_path) as process:
        wait_until(lambda: (tmp_path / "live.json").exists() and spooled(tmp_path) > 20)
        process.send_signal(signal.SIGTERM)
        error = process.communicate()[1]
    assert process.returncode == 1
    assert error.splitlines()[-1].startswith("ptypinn: error: interrupted; the same command continues")
    state = read_state(tmp_path / "spool")
    assert state["state"] == "stopped"
    reader = SpoolReader(tmp_path / "spool")
    assert len(reader.read_frames()[0]) == state["spooled"] < 120
    assert json.loads((tmp_path / "live.json").read_text())["state"] == "stopped"
    with live(source, tmp_path) as again:
        assert again.communicate()[1] == ""
        assert again.returncode == 0
    assert load(tmp_path / "scan.h5").n_patterns == 120


def test_the_first_interrupt_finishes_what_has_come(recorded, tmp_path):
    with live(f"replay:{recorded}?rate=12", tmp_path) as process:
        wait_until(lambda: (tmp_path / "live.json").exists() and spooled(tmp_path) > 30)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0
    assert 30 < load(tmp_path / "scan.h5").n_patterns < 120


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("replay:nothing.h5", "nothing.h5"),
        ("carrier-pigeon:7", "no file or folder of this name"),
    ],
)
def test_a_source_that_cannot_be_opened_is_one_line_and_leaves_nothing(source, words, tmp_path, ptypinn):
    finished = ptypinn("live", source, "--output-dir", tmp_path / "run", *QUICK)
    assert finished.code == 1
    assert words in finished.err
    assert len(finished.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_no_mistake_ends_the_reception_or_mixes_frames(recorded, tmp_path, ptypinn):
    source = f"replay:{recorded}?rate=4"
    with live(source, tmp_path) as process:
        wait_until(lambda: spooled(tmp_path) > 10)
        process.kill()
        process.wait()
        for words, expected in (
            (("replay:other.h5",), ("--overwrite",)),
            ((source, "--crop-px", "16"), ("--crop-px: found 16, expected none", "--overwrite")),
            (
                (source, "--model", "nothing.safetensors"),
                ("nothing.safetensors", "more are received: the same command"),
            ),
        ):
            finished = ptypinn("live", *words, "--output-dir", tmp_path, *QUICK)
            assert finished.code == 1
            assert len(finished.err.splitlines()) == 1
            assert all(text in finished.err for text in expected), finished.err
            before = spooled(tmp_path)
            wait_until(lambda before=before: spooled(tmp_path) > before)


def test_a_mistake_before_the_first_frame_leaves_nothing(tmp_path, ptypinn):
    words = "zmq://127.0.0.1:59398", "--model", "nothing.safetensors"
    finished = ptypinn("live", *words, "--output-dir", tmp_path / "run", *QUICK)
    assert finished.code == 1
    assert "nothing.safetensors" in finished.err and "same command" not in finished.err
    assert not (tmp_path / "run").exists()


def read_state_of(folder):
    return json.loads((folder / "live.json").read_text()) if (folder / "live.json").exists() else {}


def test_a_trained_model_shows_the_first_frames_and_leaves_the_finished_run_as_it_is(
    recorded, model, tmp_path, ptypinn, quick_pictures
):
    quick = (*("--assume", "ideal", "--rounds", "4"), *("--no-refine-probe", "--threads", "1", "--quiet"))
    with live(f"replay:{recorded}?rate=12", tmp_path / "shown", "--model", model, quick=quick) as process:
        wait_until(lambda: (read_state_of(tmp_path / "shown").get("frames") or {}).get("model_alone"))
        wait_until(lambda: (tmp_path / "shown" / "snapshot.h5").exists())
        state = read_state_of(tmp_path / "shown")
        assert state["frames"]["solved"] == 0
        assert state["verdict"]["text"] == "The picture so far is that of the trained model alone."
        assert "frames are shown by the trained model alone" in state["verdict"]["reasons"][0]
        assert state["quality"] == {}
        assert (tmp_path / "shown" / "live_positions.npz").exists()
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert read_state_of(tmp_path / "shown")["frames"]["model_alone"] == 0
    assert ptypinn("live", f"replay:{recorded}?rate=0", "--output-dir", tmp_path / "plain", *quick).code == 0
    shown, plain = (load_reconstruction(tmp_path / name / "reconstruction.h5") for name in ("shown", "plain"))
    for name in ("object", "probe", "illumination", "positions_px", "uncertainty"):
        assert np.array_equal(getattr(shown, name), getattr(plain, name)), name
    assert shown.metrics == plain.metrics


def test_a_model_that_does_not_fit_is_one_line_before_anything_is_started(recorded, model, tmp_path, ptypinn):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((model / "model.safetensors").read_bytes()[:-100])
    for words, expected in (
        (("--model", damaged), "damaged.safetensors: found an unreadable file"),
        (("--model", recorded), "scan.h5"),
        (("--model", model, "--crop-px", "16"), "--crop-px: counts: found patterns of 16 pixels, expected 32 pixels"),
        (("--model", model, "--geometry", "near-field"), "--geometry: found near-field"),
    ):
        finished = ptypinn("live", "zmq://127.0.0.1:59397", "--output-dir", tmp_path / "run", *words, *QUICK)
        assert finished.code == 1
        assert expected in finished.err, finished.err
        assert len(finished.err.splitlines()) == 1
        assert "same command" not in finished.err
        assert not (tmp_path / "run").exists()


def test_a_model_of_other_patterns_is_one_line_with_the_first_frame(model, tmp_path):
    scan = save(
        simulate(SimulateConfig(size=16, object_size=(48, 48), n_patterns=70, probe="disk", probe_diameter_px=8.0)),
        tmp_path / "small.h5",
    )
    with live(f"replay:{scan}", tmp_path / "run", "--model", model) as process:
        error = process.communicate()[1]
    assert process.returncode == 1
    assert "patterns of 16 pixels, expected 32 pixels, as in" in error
    assert len(error.splitlines()) == 1


def test_options_of_files_are_refused(recorded, tmp_path, ptypinn):
    finished = ptypinn("live", f"replay:{recorded}", "--output-dir", tmp_path / "run", "--raster-shape", "[10,12]")
    assert finished.code == 1
    assert "--raster-shape" in finished.err


def test_both_kinds_of_frames_give_the_same_object(recorded, tmp_path, ptypinn, quick_pictures):
    """Frames that come late and disordered, and the same frames in order."""
    objects = []
    for name, query in (
        ("clean", "rate=0"),
        ("torn", "rate=500&late=0.3&late_s=0.3&jitter_s=0.1&positions_delay_s=0.2"),
    ):
        finished = ptypinn("live", f"replay:{recorded}?{query}", "--output-dir", tmp_path / name, *QUICK)
        assert finished.code == 0, finished.err
        objects.append(load_reconstruction(tmp_path / name / "reconstruction.h5").object)
    assert np.abs(objects[0] - objects[1]).max() < 0.05 * np.abs(objects[0]).max()


def test_a_run_of_oblong_frames_goes_on_once_their_square_is_stated(recorded, tmp_path, ptypinn):
    source, scan = "zmq://127.0.0.1:59397", load(recorded)
    counts = np.pad(scan.counts[:], ((0, 0), (0, 0), (6, 6)))
    optics = {name: getattr(scan, name) for name in ("energy_eV", "detector_distance_m", "detector_pixel_m")}
    positions = Positions(scan.positions_px * scan.pixel_size_m, numbers=np.arange(scan.n_patterns))
    receiver = Receiver(tmp_path / "spool")
    messages = Metadata(optics), Frames(np.arange(scan.n_patterns), counts), positions, End(scan.n_patterns)
    receiver.handle([(message, 0.0) for message in messages])
    receiver.finish("ended")
    request = {"source": source, "crop_px": None, "centre_px": None}
    (tmp_path / "spool" / "request.json").write_text(json.dumps(request))
    refused = ptypinn("live", source, "--output-dir", tmp_path, *QUICK)
    assert refused.code == 1 and len(refused.err.splitlines()) == 1
    assert f"the same command with --crop-px {scan.size}" in refused.err and "--overwrite" not in refused.err
    finished = ptypinn("live", source, "--crop-px", scan.size, "--output-dir", tmp_path, *QUICK)
    assert finished.code == 0, finished.err
    assert np.array_equal(load(tmp_path / "scan.h5").counts[:], scan.counts[:])


def test_frames_that_never_enter_the_picture_are_named(recorded, tmp_path, ptypinn, quick_pictures):
    scan = load(recorded).replace(truth=None, experiment=None)
    counts, positions = scan.counts[:].copy(), scan.positions_px.copy()
    counts[[17, 18]], positions[60] = 0, positions[60] + 4000
    with deferred_checks():
        path = save(scan.replace(counts=counts, positions_px=positions), tmp_path / "scan.h5")
    finished = ptypinn("live", f"replay:{path}?rate=400", "--output-dir", tmp_path / "run", "--json", *QUICK)
    assert finished.code == 0, finished.err
    frames, status = json.loads(finished.out)["frames"], json.loads((tmp_path / "run" / "live.json").read_text())
    for each in (frames, status["frames"]):
        assert each["left_out"] == 3 and each["left_out_text"] == "no beam: 17 and 18; far from all others: 60"
    assert status["backlog"] == {"frames": 0, "delay_s": 0.0}
    state = read_live(tmp_path / "run")
    assert state["frames"]["left_out_text"] == frames["left_out_text"]
    assert load(tmp_path / "run" / "scan.h5").provenance["survey"]["frames_left_out"] == [17, 18, 60]
    sentences = experiment_sentences(load_reconstruction(tmp_path / "run" / "reconstruction.h5"))
    assert any(line.startswith("Frame 60 lies 56") for line in sentences), sentences
    assert any(line.startswith("Frames 17 and 18 hold no photons") for line in sentences)
