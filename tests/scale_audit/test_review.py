"""The diagnosis of `refine` and of real data, without a network's ledger or a record of photons."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.errors import InputError
from ptypinn.scale import multiply_discrepancies
from ptypinn.stages.diagnose import diagnose
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate

SAMPLE = {"size": 32, "object_size": (96, 96), "n_patterns": 150, "seed": 5}


def solve(scan, iterations=15, **options):
    return refine(scan, RefineConfig(iterations=iterations, device="cpu", **options))


def as_measured(scan):
    """The scan as a beamline would have it: no truth, no record of photons, a probe of arbitrary scale."""
    return scan.replace(truth=None, provenance={}, probe_gauge="relative")


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(**SAMPLE, photons=1e6))


@pytest.fixture(scope="module")
def recon(scan):
    return solve(scan)


@pytest.mark.parametrize("view", [lambda scan: scan, as_measured])
@pytest.mark.parametrize("refine_probe", [True, False])
def test_dead_half_of_the_detector_is_detected_even_with_a_probe_refined_to_it(scan, view, refine_probe):
    counts = scan.counts.copy()
    counts[:, :16] = 0
    broken = view(scan.replace(counts=counts))
    diagnosis = diagnose(solve(broken, refine_probe=refine_probe), broken)
    assert [finding.stage for finding in diagnosis.findings] == ["mask"], diagnosis.verdict
    assert diagnosis.findings[0].factor == pytest.approx(2**-0.5, rel=0.05)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda counts: np.square(np.round(np.sqrt(counts * 16.0)).astype(np.uint16)), "overflow"),
        (lambda counts: counts.clip(max=int(np.percentile(counts[counts > 0], 90))), "saturate"),
        (np.sqrt, "amplitudes are read as counts"),
    ],
)
def test_faults_of_the_counts_are_reported_without_any_record(scan, spoil, cause):
    counts = spoil(np.asarray(scan.counts))
    broken = as_measured(scan.replace(counts=counts.astype(np.float32) if counts.dtype == np.float16 else counts))
    recon = solve(broken)
    for scan_or_none in (broken, None):
        diagnosis = diagnose(recon, scan_or_none)
        assert diagnosis.findings[0].stage == "loading"
        assert cause in diagnosis.verdict


def test_photons_on_masked_pixels_are_not_attributed_to_loading(scan):
    mask = np.ones((32, 32), bool)
    mask[13:19, 13:19] = False
    hidden = scan.replace(mask=mask)
    diagnosis = diagnose(solve(hidden), hidden)
    assert "loading" not in [finding.stage for finding in diagnosis.findings]
    solver = next(entry for entry in diagnosis.ledger if entry.stage == "solver")
    assert "masked pixels" in solver.note


def test_values_of_masked_pixels_do_not_matter(scan):
    mask = np.ones((32, 32), bool)
    mask[3, 4] = False
    counts = scan.counts.astype(np.float32)
    counts[:, 3, 4] = np.nan
    masked = scan.replace(mask=mask, counts=counts)
    assert diagnose(solve(masked), masked).healthy


def test_photons_given_by_the_user_are_named_as_such(scan):
    calibrated = calibrate_probe(scan, photons=4e6)
    diagnosis = diagnose(solve(calibrated), calibrated)
    assert [finding.stage for finding in diagnosis.findings] == ["probe"]
    assert "4e+06" in diagnosis.verdict
    assert "without a record" not in diagnosis.verdict


def test_relative_probe_is_calibrated_as_it_was_for_the_reconstruction(scan):
    relative = as_measured(scan)
    recon = solve(calibrate_probe(relative, photons=1e8))
    assert diagnose(recon, relative).healthy


@pytest.mark.parametrize("dose", [60.0, 500.0])
def test_absorbing_sample_at_very_low_dose_raises_no_alarm(dose):
    options = {**SAMPLE, "amplitude_mean": 0.2, "photons": dose}
    for seed in range(4):
        scan = simulate(SimulateConfig(**{**options, "seed": seed}))
        diagnosis = diagnose(solve(scan), scan)
        stages = [finding.stage for finding in diagnosis.findings]
        assert "solver" not in stages, diagnosis.verdict
        assert "loading" not in stages, diagnosis.verdict


def test_moved_scan_changes_no_verdict_at_low_dose():
    for seed in range(4):
        scan = simulate(SimulateConfig(**{**SAMPLE, "n_patterns": 60, "seed": seed}, photons=20.0))
        recon = solve(scan)
        assert diagnose(recon).verdict == diagnose(recon, scan).verdict


def test_pixels_that_are_not_finite_are_counted_first(scan, recon):
    object_ = recon.object.copy()
    object_[40, 40:43] = np.nan
    for scan_or_none in (scan, None):
        diagnosis = diagnose(replace(recon, object=object_), scan_or_none)
        assert (diagnosis.findings[0].stage, "3 pixels" in diagnosis.findings[0].cause) == ("object", True)
        assert not diagnosis.healthy
        assert np.isfinite(diagnosis.total)


def test_object_of_zeros_and_object_that_was_changed(scan, recon):
    empty = replace(recon, object=np.zeros_like(recon.object))
    diagnosis = diagnose(empty, scan)
    assert (diagnosis.total, multiply_discrepancies(diagnosis.ledger)) == (0.0, 0.0)
    assert "solver" in [finding.stage for finding in diagnosis.findings]
    assert diagnose(empty).findings[0].stage == "object"
    half = replace(recon, object=recon.object * np.complex64(0.5))
    assert diagnose(half).findings[0].factor == pytest.approx(0.5, rel=1e-3)


def test_files_of_other_scans_are_refused(scan, recon):
    with pytest.raises(InputError, match="half a pattern away"):
        diagnose(replace(recon, positions_px=recon.positions_px[::-1].copy()), scan)
    far = scan.replace(positions_px=scan.positions_px + 500.0, truth=np.ones((700, 700), np.complex64))
    with pytest.raises(InputError):
        diagnose(recon, far)


def test_network_that_is_not_finite_is_refused_in_one_line(good):
    weights = {name: value.clone() for name, value in good.bundle.weights.items()}
    next(iter(weights.values())).view(-1)[0] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        replace(good, bundle=replace(good.bundle, weights=weights)).reconstruct()


def test_wrong_probe_of_the_training_goes_by_its_name_in_the_table_and_without_the_scan(good, trained):
    bundle = trained(good.scan.replace(probe=good.scan.probe * np.float32(0.25)), epochs=1)
    recon = replace(good, bundle=bundle, options={**good.options, "probe_source": "model"}).reconstruct()
    for scan_or_none in (good.scan, None):
        diagnosis = diagnose(recon, scan_or_none)
        assert "training probe" in [entry.stage for entry in diagnosis.ledger]
        assert "training probe" in [finding.stage for finding in diagnosis.findings]
