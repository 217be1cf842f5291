"""Run folders of a sweep over scenarios, made without solving anything."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import ptypinn as pp
from ptypinn.runs.folder import FINISHED, METRICS, RECONSTRUCTION
from ptypinn.scale import LedgerEntry


@pytest.fixture(scope="session")
def small_scan():
    config = pp.SimulateConfig(size=32, object_size=(72, 80), n_patterns=40, photons=1e6, amplitude_mean=2.7)
    return pp.simulate(config)


@pytest.fixture(scope="session")
def exact(small_scan):
    """The truth as a reconstruction."""
    light = np.zeros(small_scan.truth.shape, np.float32)
    for y, x in np.round(small_scan.positions_px).astype(int):
        light[y : y + 32, x : x + 32] += (np.abs(small_scan.probe) ** 2).sum(0)
    return pp.Reconstruction(small_scan.truth, light, small_scan.probe, small_scan.positions_px)


@pytest.fixture
def make_run(small_scan, exact):
    """Write a finished run whose object is `change(truth)`, and return its folder."""

    def make(folder, scenario="gs1_ideal", change=lambda truth: truth, **extra):
        folder.mkdir(parents=True)
        ledger = [
            LedgerEntry("network", 1.0, 0.5, "test"),
            LedgerEntry("probe", 1.0, 1.01, "test", inverse=True),
            LedgerEntry("grouping", 1.0, 9.0, "test", on_path=False),
        ]
        changed = change(exact.object).astype(np.complex64)
        recon = dataclasses.replace(exact, object=changed, scale=[entry.as_json() for entry in ledger])
        recon.save(folder / RECONSTRUCTION)
        pp.save(small_scan, folder / "scan.h5")
        record = {
            "schema_version": 1,
            "stage": "study sim-lines",
            "scenario": scenario,
            "parameters": {"gridsize": {"value": 2, "origin": "profile"}, "photons": 1e6, "model": "cnn"},
            "forward_pass_diagnostics": {"scale_match_pct": 99.9999, "scale_discrepancy_flag": False},
            "training_health": {"epochs_completed": 5, "stopped_early": False, "nan_count": 0},
            **extra,
        }
        (folder / FINISHED).write_text(json.dumps(record))
        (folder / METRICS).write_text(json.dumps({"metrics": {}}))
        return folder

    return make
