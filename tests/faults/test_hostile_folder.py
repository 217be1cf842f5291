"""A run folder from a stranger: nothing outside of it is read, and nothing in it makes a reader wait or fill up."""

import json
import os
import threading
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ptypinn import LoadConfig, RefineConfig, SimulateConfig, refine, simulate
from ptypinn.io.load_save import save
from ptypinn.io.provenance import file_hash
from ptypinn.runs.folder import CONFIG, FINISHED, LOG, METRICS, RECONSTRUCTION, REPORT
from ptypinn.runs.record import find_scan, load_options_from_record
from ptypinn.runs.untrusted import is_regular, read_end, read_start, read_whole
from ptypinn.viewer.picture_file import find_newest_picture
from ptypinn.viewer.run_index import RunIndex
from ptypinn.viewer.run_status import read_status

SECONDS = 10


def within_time(function):
    """Return the result of a function; fail where it takes too long."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert results, "it hangs, or has raised"
    return results[0]


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("secret: words\nof another user")
    return path


def make_pipe(path, secret):
    os.mkfifo(path)


def make_endless(path, secret):
    path.symlink_to("/dev/zero")


def make_link(path, secret):
    path.symlink_to(secret)


def make_folder(path, secret):
    path.mkdir()


KINDS = [make_pipe, make_endless, make_link, make_folder]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", [LOG, CONFIG, FINISHED, METRICS, "learning_curve.csv", REPORT, RECONSTRUCTION])
def test_special_files_in_place_of_records_are_not_read(tmp_path, secret, make, name):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    for other in (CONFIG, LOG):
        (folder / other).write_text("")
    (folder / name).unlink(missing_ok=True)
    make(folder / name, secret)
    (folder.parent / "sound").mkdir()
    for other in (CONFIG, LOG):
        (folder.parent / "sound" / other).write_text("")
    runs = within_time(lambda: RunIndex([folder.parent]).runs())
    assert "sound" in [run.name for run in runs]
    for run in runs:
        assert "secret" not in str(within_time(lambda run=run: read_status(run, details=True)))
        assert within_time(lambda run=run: find_newest_picture(run.path)) is None


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("read", [read_start, lambda path: read_end(path, 100), lambda path: read_whole(path, 100)])
def test_only_regular_files_are_read(tmp_path, secret, make, read):
    make(tmp_path / "special", secret)
    assert not is_regular(tmp_path / "special")
    with pytest.raises(OSError, match="special"):
        read(tmp_path / "special")


def test_no_more_is_read_than_is_needed(secret):
    assert read_start(secret, 4) == b"secr"
    assert read_end(secret, 4) == b"user"
    with pytest.raises(OSError, match="longer than 10 bytes"):
        read_whole(secret, 10)


@pytest.fixture
def scan():
    return simulate(SimulateConfig(size=32, object_size=(72, 72), n_patterns=20, seed=1))


def test_a_record_allows_no_files_elsewhere(tmp_path, secret):
    notes = []
    options = {"allow_external": True, "mask": str(secret), "dark": "run/../secret.txt", "photons": 1e5}
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link.npy").symlink_to(secret)
    options["truth"] = str(folder / "link.npy")
    inside = {"probe": str(folder / "probe.npy")}
    config = load_options_from_record(LoadConfig(), options | inside, (), notes, (folder,))
    assert config == LoadConfig(photons=1e5, probe=inside["probe"])
    assert [sum(name in note for note in notes) for name in ("mask", "dark", "truth")] == [1, 1, 1]
    given = load_options_from_record(LoadConfig(allow_external=True), options, ("allow_external",), [], (folder,))
    assert given.allow_external


def test_a_scan_elsewhere_is_opened_only_where_the_record_holds_its_content(tmp_path, scan):
    path = save(scan, tmp_path / "elsewhere" / "scan.h5")
    folder = tmp_path / "run"
    folder.mkdir()
    record = {"path": str(path), "file": path.name, "command": []}
    assert find_scan(folder, record) is None
    assert find_scan(folder, {**record, "sha256": "0" * 64}) is None
    assert find_scan(folder, {**record, "sha256": file_hash(path)}) == path
    inside = save(scan, folder / "scan.h5")
    assert find_scan(folder, record) == inside


def test_a_recorded_permission_does_not_open_files_outside(tmp_path, scan, capsys):
    from ptypinn.cli.main import main

    outside = save(scan, tmp_path / "private" / "counts.h5")
    folder = tmp_path / "run"
    hostile = save(scan, folder / "scan.h5")
    with h5py.File(hostile, "r+") as file, h5py.File(outside, "r") as source:
        name = "entry_1/instrument_1/detector_1/data"
        assert name in source
        del file[name]
        file[name] = h5py.ExternalLink("../private/counts.h5", name)
    recon = refine(scan, RefineConfig(iterations=1, device="cpu"))
    record = {"file": "scan.h5", "sha256": file_hash(hostile), "options": {"allow_external": True}}
    replace(recon, provenance={"scan": record}).save(folder / RECONSTRUCTION)
    (folder / FINISHED).write_text(json.dumps({"inputs": {"scan": record}, "stage": "refine"}))
    main(["diagnose", str(folder)])
    shown = capsys.readouterr()
    assert "outside the folder of the file" in shown.out + shown.err


DEEP = "- " * 40 + "1"
BOMB = "a: &a [1, 1]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9))


@pytest.mark.parametrize(
    ("content", "actual"),
    [
        (BOMB.encode(), "an alias"),
        (b"\n".join(b"key%d: 1" % n for n in range(200_000)), "more than 1048576 bytes"),
        (DEEP.encode(), "more than 16 levels"),
        (np.random.default_rng(0).bytes(300), "found"),
        (b"a: [1, 2", "expected"),
    ],
    ids=["aliases", "keys", "depth", "bytes", "open"],
)
def test_configuration_bombs_are_refused_before_they_are_read(tmp_path, capsys, content, actual):
    from ptypinn.cli.main import main

    path = tmp_path / "bomb.yaml"
    path.write_bytes(content)
    assert main(["simulate", "--output-dir", str(tmp_path / "out"), f"--config={path}"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(path) in line
    assert actual in line
    assert not (tmp_path / "out").exists()


def test_what_nobody_expects_of_a_file_is_one_line_and_with_debug_a_traceback(tmp_path, scan, capsys, monkeypatch):
    from ptypinn.cli.main import main
    from ptypinn.io import registry

    path = save(scan, tmp_path / "scan.h5")

    def fail(*_):
        raise ZeroDivisionError("deep\ninside")

    monkeypatch.setitem(registry.FORMATS, "native", replace(registry.FORMATS["native"], read=fail))
    assert main(["info", str(path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{path}: file: found a damaged file (ZeroDivisionError: deep inside)" in line
    assert main(["info", str(path), "--debug"]) == 1
    assert "Traceback" in (shown := capsys.readouterr().err)
    assert "in fail" in shown
