"""A small scan with a reconstruction of known quality, and its report."""

from __future__ import annotations

import html5lib
import numpy as np
import pytest

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import compute_data_fit
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.stages.simulate import simulate
from ptypinn.uncertainty import add_uncertainty


@pytest.fixture(scope="session")
def scan():
    config = SimulateConfig(object_size=(110, 120), overlap=0.4, mode_fractions=(0.8, 0.2), photons=1e5)
    return simulate(config)


@pytest.fixture(scope="session")
def recon(scan):
    """The truth at nine tenths of its amplitude, with a ledger, a history and a hostile record."""
    recon = Reconstruction(
        (0.9 * scan.truth).astype(np.complex64),
        compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32),
        scan.probe,
        scan.positions_px,
        pixel_size_m=scan.pixel_size_m,
        scale=[
            {"stage": "merge", "expected": 4.0, "measured": 3.0, "source": "test"},
            {"stage": "grouping", "expected": 4.0, "measured": 4.0, "source": "beside", "on_path": False},
            {"stage": "of another make", "expected": None},
        ],
        history={"loss": [3.0, 2.0, 0.1], "held_out_loss": [3.0, 2.2, 1.0], "step": [1.0, 1.0, 1.0]},
        provenance={
            "config": {"note": "<script>alert(1)</script>"},
            "seed": 7,
            "worst": float("nan"),
            "cost": {
                "device": "a <GPU>",
                "threads": 2,
                "wall_s": 12.5,
                "cpu_s": 20.0,
                "patterns_per_s": 80.0,
                "passes": 41.0,
                "fft_bound_share": 0.42,
                "peak_memory_bytes": 2_000_000_000,
                "energy_J": 310.0,
            },
            "experiment": {
                "flux": {"size": 0.07, "misfit_before": 3.0, "misfit_after": 1.05, "corrected": True},
                "beam_offset_px": [0.0, 1.04],
            },
        },
    )
    part = recon.scan_part(scan)
    return add_uncertainty(recon, part, compute_data_fit(part, recon.object, recon.probe, recon.positions_px))


@pytest.fixture(scope="session")
def run():
    """The record of a run, as its folder keeps it."""
    return {
        "stage": "refine",
        "command": ["ptypinn", "refine", "a & b", "--output-dir", "out"],
        "started": "2020-02-02T10:20:30+00:00",
        "seed": 3,
        "inputs": {"scan": {"path": "/data/a & b", "format": "cxi", "sha256": "ab" * 32}},
        "config": {"iterations": 12, "photons": None, "loss": "poisson"},
        "versions": {"python": "3.12", "ptypinn": "0.1.0"},
        "timings_s": {"refine": 2.5},
        "platform": "somewhere",
    }


class Document:
    """A page as a strict parser of HTML sees it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)

    def all(self, tag: str) -> list:
        """Elements by their name, drawings included."""
        return [element for element in self.tree.iter() if str(element.tag).rpartition("}")[2] == tag]

    def words(self, element=None) -> str:
        body = self.tree.find("body") if element is None else element
        return " ".join(" ".join(body.itertext()).split())

    def section(self, key: str):
        return next((section for section in self.all("section") if section.get("id") == key), None)


@pytest.fixture(scope="session")
def read():
    """Parse a page, strictly."""
    return Document
