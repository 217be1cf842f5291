"""The stated error of every slice is that of simulated layers, falls with the dose, and grows as slices come nearer."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

import ptypinn as pp
from ptypinn.data.depth import SLICES, slice_uncertainties
from ptypinn.metrics.alignment import align
from ptypinn.report.text.experiment import slice_sentences
from ptypinn.uncertainty.slice_errors import estimate_slice_errors
from thick_scans import make_thick_scan

SIMULATION = {
    "object": "dead_leaves",
    "phase_range": (0.0, 0.8),
    "amplitude_range": (1.0, 0.85),
    "size": 32,
    "object_size": (84, 84),
    "overlap": 0.7,
    "probe": "disk",
    "probe_diameter_px": 14.0,
    "curvature_rad": 6.0,
}
GOOD = 1.5
"""Largest factor between stated and true errors."""


def solve(**options):
    scan = pp.simulate(pp.SimulateConfig(**SIMULATION, **options))
    spacing = tuple(scan.experiment.slice_spacing_m.tolist())
    config = {"threads": 1, "device": "cpu", "assume": "ideal", "slices": options["slices"]}
    return scan, pp.reconstruct(scan, config=pp.ReconstructConfig(**config, slice_spacing_m=spacing))


def true_errors(scan, recon):
    """Errors of the slices, rms, after one factor, a ramp and a shift each."""
    errors, mask = [], recon.well_illuminated()
    for image, truth in zip(recon.slices, scan.experiment.slices, strict=True):
        aligned = align(image, truth, mask, ramp=True, shift=True)
        ours, target = aligned.image[aligned.mask], truth[aligned.mask]
        factor = np.vdot(ours, target) / np.vdot(ours, ours)
        errors.append(np.sqrt(np.mean(np.abs(factor * ours - target) ** 2)))
    return np.array(errors)


@pytest.mark.parametrize(
    "options", [{"slices": 2, "photons": 1e5, "seed": 12}, {"slices": 3, "photons": 1e6, "seed": 15}], ids=["2", "3"]
)
def test_stated_errors_are_those_of_simulated_layers(options, tmp_path):
    scan, recon = solve(**options)
    stated = np.array(slice_uncertainties(recon))
    assert len(stated) == options["slices"]
    ratios = true_errors(scan, recon) / stated
    assert ((ratios > 1 / GOOD) & (ratios < GOOD)).all()
    metrics = pp.evaluate(recon, scan).metrics
    assert metrics["slice_uncertainty"] == pytest.approx(np.sqrt(np.mean(stated**2)))
    assert any("slice by slice" in sentence for sentence in slice_sentences(recon))
    with h5py.File(recon.save(tmp_path / "recon.h5")) as file:
        np.testing.assert_allclose(file["entry/slices_phase/uncertainty"], stated)


def test_more_photons_and_more_distance_tell_slices_better_apart():
    truth = make_thick_scan().recon
    errors = np.array(estimate_slice_errors(truth))
    brighter = dataclasses.replace(truth, illumination=100 * truth.illumination)
    nearer = dataclasses.replace(truth, gap_fresnel_numbers=4 * truth.gap_fresnel_numbers)
    assert (np.array(estimate_slice_errors(brighter)) < 0.9 * errors).all()
    assert (np.array(estimate_slice_errors(nearer)) > 1.1 * errors).all()


def test_the_order_of_the_beam_is_that_of_the_errors():
    truth = make_thick_scan().recon
    dull = np.array(truth.slices)
    dull[0] = 1 + 0.01 * (dull[0] - 1)
    first, *others = estimate_slice_errors(dataclasses.replace(truth, slices=dull))
    assert first < 0.5 * min(others)


def test_none_is_stated_for_thin_samples_and_for_slices_of_phase_alone():
    truth = make_thick_scan().recon
    assert estimate_slice_errors(dataclasses.replace(truth, slices=None)) is None
    record = {**truth.provenance, SLICES: {**truth.provenance[SLICES], "transmission": "phase"}}
    assert estimate_slice_errors(dataclasses.replace(truth, provenance=record)) is None
    assert slice_uncertainties(truth) == []
