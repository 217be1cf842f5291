"""A scan of a thick sample, and its truth as a reconstruction, made without solving anything."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import ptypinn as pp
from ptypinn.data.depth import SLICES, compute_gaps, describe_stack
from ptypinn.physics.patches import compute_illumination_at

SLICE_COUNT = 3


class ThickScan(NamedTuple):
    """A simulated scan and what it is of."""

    scan: pp.ScanData
    recon: pp.Reconstruction
    """The truth."""


def make_thick_scan(**options: object) -> ThickScan:
    """Simulate a scan of three slices, whose truth predicts its counts."""
    settings = {"size": 32, "object_size": (80, 72), "n_patterns": 36, "photons": 1e5, "slices": SLICE_COUNT, **options}
    scan = pp.simulate(pp.SimulateConfig(object="dead_leaves", **settings))
    assert scan.experiment is not None
    gaps = compute_gaps(scan, scan.experiment.slice_spacing_m.tolist())
    record = {**describe_stack(scan, gaps), "chosen": True}
    recon = pp.Reconstruction(
        object=scan.truth,
        slices=scan.experiment.slices,
        gap_fresnel_numbers=gaps,
        illumination=compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32),
        probe=scan.probe,
        positions_px=scan.positions_px,
        pixel_size_m=scan.pixel_size_m,
        provenance={SLICES: record, "scan": scan.record},
    )
    return ThickScan(scan, recon)
