"""The uncertainty map: what it is made of, what it does where nothing shines, and whether it is calibrated."""

import dataclasses

import numpy as np
import pytest

from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import align, data_fit
from ptypinn.refine import refine
from ptypinn.simulate import simulate
from ptypinn.trust import uncertainty_of

SMALL = SimulateConfig(
    object_size=(64, 72), size=32, probe="disk", probe_diameter_px=11.0, curvature_rad=3.0, overlap=0.6
)


def reconstruction_of(scan, object_=None):
    illumination = np.zeros(scan.truth.shape, np.float32)
    for y, x in np.round(scan.positions_px).astype(int):
        illumination[y : y + scan.size, x : x + scan.size] += (np.abs(scan.probe) ** 2).sum(0)
    object_ = scan.truth if object_ is None else object_
    return Reconstruction(object_.astype(np.complex64), illumination, scan.probe, scan.positions_px)


def sigma_of(scan, recon):
    return uncertainty_of(recon, scan, data_fit(scan, recon.object, recon.probe, recon.positions_px)).sigma


@pytest.mark.parametrize(
    ("kind", "photons", "known"),
    [
        ("natural", 1e3, False),
        ("lines", 1e4, True),
        ("dead_leaves", 1e5, True),
        ("natural", 1e5, False),
        ("lines", 1e6, False),
        ("dead_leaves", 1e7, True),
    ],
)
def test_errors_are_as_large_as_the_map_says(kind, photons, known):
    config = dataclasses.replace(SMALL, object=kind, photons=photons, seed=31)
    scan = simulate(config)
    given_scan = scan
    if not known:
        guess = simulate(dataclasses.replace(config, probe_diameter_px=13.0, curvature_rad=2.6)).probe
        given_scan = scan.replace(probe=guess, probe_gauge="calibrated")
    recon = refine(given_scan, RefineConfig(refine_probe=not known, threads=1, device="cpu"))
    lit = recon.well_lit()
    aligned = align(recon.object, scan.truth, lit, ramp=not known, shift=not known)
    error, sigma = np.abs(aligned.image - scan.truth)[aligned.mask], recon.uncertainty[aligned.mask]
    assert 0.7 <= np.sqrt(np.mean((error / sigma) ** 2)) <= 1.4
    assert 0.5 <= np.mean(error < sigma) <= 0.9
    assert np.mean(error < 2 * sigma) >= 0.88
    assert np.corrcoef(error, sigma)[0, 1] > 0.1
