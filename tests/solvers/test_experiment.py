"""Flux of the frames: proposed where it varies, solved for with the object, and left alone where it is constant."""

import numpy as np
import pytest

from ptypinn import ReconstructConfig, SimulateConfig, reconstruct, simulate
from ptypinn.metrics import align, complex_error
from ptypinn.metrics.flux import measure_flux
from ptypinn.solvers.experiment import Finding

KNOWN = ReconstructConfig(device="cpu", refine_probe=False)


@pytest.fixture(scope="module")
def scan():
    config = SimulateConfig(size=32, object="dead_leaves", object_size=(80, 80), n_patterns=100, photons=1e6, seed=4)
    return simulate(config)


@pytest.fixture(scope="module")
def flux(scan):
    flux = np.random.default_rng(3).normal(1, 0.15, scan.n_patterns).clip(0.5)
    return flux / flux.mean()


@pytest.fixture(scope="module")
def flickering(scan, flux):
    counts = np.random.default_rng(4).poisson(np.asarray(scan.counts) * flux[:, None, None])
    return scan.replace(counts=counts.astype(np.uint32))


@pytest.fixture(scope="module")
def corrected(flickering):
    return reconstruct(flickering, config=KNOWN)


def error(recon, scan):
    mask = recon.well_illuminated()
    aligned = align(recon.object, scan.truth, mask).image
    factor = np.vdot(aligned[mask], scan.truth[mask]) / np.vdot(aligned[mask], aligned[mask])
    return complex_error(factor * aligned, scan.truth, mask)


def test_the_flux_of_every_frame_comes_out(corrected, flux):
    assert np.std(corrected.flux / flux) < 0.01
    assert corrected.flux.mean() == pytest.approx(1.0, abs=1e-3)


def test_the_object_is_nearly_as_good_as_with_the_true_flux(corrected, flickering, flux, scan):
    ideal = reconstruct(flickering, config=ReconstructConfig(device="cpu", refine_probe=False, assume="ideal"))
    true = reconstruct(flickering.replace(flux=flux), config=KNOWN)
    assert error(corrected, scan) < 1.2 * error(true, scan)
    assert error(corrected, scan) < 0.5 * error(ideal, scan)
    assert ideal.flux is None


def test_size_and_gain_are_on_record(corrected):
    record = corrected.provenance["experiment"]["flux"]
    assert record["corrected"]
    assert record["size"] == pytest.approx(0.15, rel=0.2)
    assert record["misfit_after"] < record["misfit_before"] / 2


def test_a_constant_flux_is_not_solved_for(scan):
    recon = reconstruct(scan, config=KNOWN)
    assert recon.flux is None
    assert "experiment" not in recon.provenance


def test_the_fit_to_the_counts_takes_the_flux_in(corrected, flickering):
    evidence = measure_flux(flickering, corrected)
    assert evidence.variation > 0.1  # of a prediction without the flux
    assert measure_flux(corrected.scan_part(flickering), corrected).variation < 0.005
    assert corrected.metrics["amplitude_residual"] < 2 * corrected.metrics["expected_residual"]


def test_counting_noise_is_no_evidence(scan):
    evidence = measure_flux(scan, reconstruct(scan, config=KNOWN))
    assert evidence.significance < 0
    assert evidence.variation < 0.002


@pytest.mark.parametrize(("after", "corrected"), [(1.1, True), (3.0, True), (4.5, False), (6.0, False)])
def test_a_term_is_taken_in_where_it_explains_much_of_the_misfit(after, corrected):
    assert Finding("flux", 0.1, 9.0, misfit_before=5.0, misfit_after=after).is_corrected is corrected
