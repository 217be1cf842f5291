"""Records that a hand has damaged end in a note or in one line; options given now replace those on record."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ptypinn.cli.diagnose_inputs import find_diagnose_inputs
from ptypinn.cli.main import parse
from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.load_save import save
from ptypinn.io.provenance import file_hash
from ptypinn.runs.folder import FINISHED, RECONSTRUCTION
from ptypinn.runs.record import drop_unreadable, load_options_from_record
from ptypinn.scale import LedgerEntry

ENTRY = LedgerEntry("mask", 1.0, 1.0, "light").as_json()


@pytest.fixture
def run(tmp_path):
    """A run folder beside its scan; called with the records that it shall have."""
    probe = np.ones((1, 8, 8), np.complex64)
    positions = np.arange(8.0).reshape(4, 2)
    scan_file = tmp_path / "scan_1.h5"
    save(ScanData(counts=np.ones((4, 8, 8)), positions_px=positions, probe=probe), scan_file)
    folder = tmp_path / "run"
    folder.mkdir()

    def make(metadata: Any = None, scale: Any = (ENTRY,), **provenance: Any) -> Any:
        image = np.ones((16, 16), np.complex64)
        recon = Reconstruction(
            image, image.real, probe, positions, scale=list(scale), provenance={"stage": "refine", **provenance}
        )
        recon.save(folder / RECONSTRUCTION)
        scan = {"path": str(scan_file), "file": scan_file.name, "sha256": file_hash(scan_file)}
        record = {"inputs": {"scan": scan}, "command": ["x"]}
        (folder / FINISHED).write_text(json.dumps({**record, **(metadata or {})}))
        return folder

    return make


def case(folder: Any, options: Any = (), **loading: Any) -> Any:
    (subject,) = find_diagnose_inputs([str(folder)], LoadConfig(**loading), options)
    return subject


def test_an_intact_record_leads_to_the_scan_without_a_note(run):
    subject = case(run())
    assert subject.scan is not None
    assert subject.notes == []


NOTED = {
    "model a string": ({"model": "cnn"}, "model"),
    "scan a list": ({"scan": [1]}, "scan"),
    "options a list": ({"scan": {"options": ["x"]}}, "options"),
    "photons a string": ({"scan": {"options": {"photons": "x"}}}, "photons"),
    "photons true": ({"scan": {"options": {"photons": True}}}, "photons"),
    "photons beyond numbers": ({"scan": {"options": {"photons": 10**400}}}, "photons"),
    "photons negative": ({"scan": {"options": {"photons": -1}}}, "photons"),
    "an unknown format": ({"scan": {"options": {"format": "tiff"}}}, "format"),
    "a list for a format": ({"scan": {"options": {"format": []}}}, "format"),
    "a budget of text": ({"scan": {"options": {"memory_budget_gib": "x"}}}, "memory_budget_gib"),
    "contradictory options": ({"scan": {"options": {"calibration": "none", "photons": 5}}}, "together"),
    "a ledger of the model that is none": ({"model": {"scale": "x", "model": 5}}, "ledger of the training"),
    "entries of the model's ledger": ({"model": {"scale": [1, "x"]}}, "2 entries of the ledger of the training"),
}


@pytest.mark.parametrize("name", NOTED)
def test_what_cannot_be_read_is_noted_and_left_out(name, run):
    provenance, text = NOTED[name]
    subject = case(run(**provenance))
    assert subject.scan is not None
    assert any(text in note for note in subject.notes), subject.notes


SILENT = {
    "scan of the run a list": {"inputs": {"scan": [1]}},
    "inputs a list": {"inputs": [1]},
    "no inputs": {"inputs": None},
    "a number for a path": {"inputs": {"scan": {"path": 5, "file": 5, "sha256": []}}},
    "no path at all": {"inputs": {"scan": {"path": "\0", "file": "\0"}}},
    "a path too long": {"inputs": {"scan": {"path": "x" * 5000}}},
    "no command": {"command": None},
    "a command of numbers": {"command": [1, 2]},
    "a command of text": {"command": "ptypinn"},
}


@pytest.mark.parametrize("name", SILENT)
def test_a_damaged_record_of_the_run_finds_the_scan_or_notes_that_it_is_gone(name, run):
    subject = case(run(SILENT[name]))
    assert (subject.scan is not None) != any("not where it was" in note for note in subject.notes)


@pytest.mark.parametrize("content", ["[1]", "5", "null", "{", "\udcff", "[" * 10**5])
def test_run_metadata_that_are_none_are_no_obstacle(content, run):
    folder = run()
    (folder / FINISHED).write_bytes(content.encode(errors="surrogateescape"))
    assert case(folder).recon is not None


@pytest.mark.parametrize("model", [{"file": 5}, {"file": "\0"}, {"hyperparameters": [1]}, {"model": []}, []])
def test_a_damaged_record_of_the_model_finds_no_model(model, run):
    assert case(run(model=model)).model is None


def test_entries_of_the_ledger_that_cannot_be_read_are_counted(run):
    subject = case(run(scale=[ENTRY, {**ENTRY, "stage": 5}, {}]))
    assert "2 entries of the ledger cannot be read" in subject.notes
    assert "1 entry of the ledger cannot be read" in case(run(scale=[ENTRY, {**ENTRY, "measured": "x"}])).notes


@pytest.mark.parametrize("name", ["provenance", "metrics", "history", "prediction_scale", "scale"])
@pytest.mark.parametrize("value", [5, "x", None, ({"stage": 1},)])
def test_records_of_another_kind_become_empty_ones(name, value, run):
    recon = case(run()).recon
    damaged, notes = replace(recon), list[str]()
    object.__setattr__(damaged, name, value)
    assert not getattr(drop_unreadable(damaged, notes), name)
    assert notes or (name, value) == ("scale", None)


def test_options_given_now_replace_those_on_record_even_with_their_default():
    record = {"calibration": "p99", "domain": "amplitude", "unknown": 1}
    stored = load_options_from_record(LoadConfig(), record, (), [], ())
    assert (stored.calibration, stored.domain) == ("p99", "amplitude")
    now = load_options_from_record(LoadConfig(), record, {"calibration"}, [], ())
    assert (now.calibration, now.domain) == ("mean", "amplitude")
    now = load_options_from_record(LoadConfig(domain="counts"), record, {"domain"}, [], ())
    assert (now.calibration, now.domain) == ("p99", "counts")


def test_a_calibration_given_voids_photons_on_record_and_the_other_way_round():
    notes = list[str]()
    by_rule = load_options_from_record(LoadConfig(calibration="none"), {"photons": 1e5}, {"calibration"}, notes, ())
    assert (by_rule.calibration, by_rule.photons) == ("none", None)
    by_number = load_options_from_record(LoadConfig(photons=1e5), {"calibration": "none"}, {"photons"}, notes, ())
    assert (by_number.calibration, by_number.photons) == ("mean", 1e5)
    assert notes == []


def test_options_are_set_on_the_command_line_or_in_its_configuration(tmp_path):
    def set_options(*words: str) -> Collection[str]:
        return parse(["diagnose", *words])[1].set_options

    assert not {*set_options("mean", "calibration")} & {"calibration", "photons"}
    options = set_options("run", "--calibration", "mean", "--detector-distance-m=1.5")
    assert {"calibration", "detector_distance_m"} <= {*options}
    assert "photons" not in options
    (tmp_path / "options.yaml").write_text("calibration: mean\n")
    assert "calibration" in set_options("run", "--config", str(tmp_path / "options.yaml"))
