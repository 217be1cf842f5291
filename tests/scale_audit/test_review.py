"""The diagnosis of `refine` and of real data, where there is neither a network's ledger nor a record."""

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

SAMPLE = {"size": 32, "object_size": (96, 96), "n_patterns": 150, "seed": 5, "probe_diameter_px": 12.0}


def solved(scan, iterations=15, **options):
    return refine(scan, RefineConfig(iterations=iterations, device="cpu", **options))


def real(scan):
    """The scan as a beamline would have it: no truth, no record of photons, a probe of arbitrary scale."""
    return scan.replace(truth=None, provenance={}, probe_gauge="relative")


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(**SAMPLE, photons=1e6))


@pytest.fixture(scope="module")
def recon(scan):
    return solved(scan)


@pytest.mark.parametrize("as_seen", [lambda scan: scan, real])
@pytest.mark.parametrize("refine_probe", [True, False])
def test_dead_half_of_the_detector_is_seen_even_by_a_probe_that_learned_it(scan, as_seen, refine_probe):
    counts = scan.counts.copy()
    counts[:, :16] = 0
    broken = as_seen(scan.replace(counts=counts))
    found = diagnose(solved(broken, refine_probe=refine_probe), broken)
    assert [finding.stage for finding in found.findings] == ["mask"], found.verdict
    assert found.findings[0].factor == pytest.approx(2**-0.5, rel=0.05)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda counts: np.square(np.round(np.sqrt(counts * 16.0)).astype(np.uint16)), "overflow"),
        (lambda counts: counts.clip(max=int(np.percentile(counts[counts > 0], 90))), "saturate"),
        (np.sqrt, "amplitudes are read as counts"),
    ],
)
def test_what_the_numbers_say_is_told_without_any_record(scan, spoil, cause):
    counts = spoil(np.asarray(scan.counts))
    broken = real(scan.replace(counts=counts.astype(np.float32) if counts.dtype == np.float16 else counts))
    recon = solved(broken)
    for known in (broken, None):
        found = diagnose(recon, known)
        assert found.findings[0].stage == "loading"
        assert cause in found.verdict


def test_masked_light_is_not_laid_at_the_door_of_loading(scan):
    mask = np.ones((32, 32), bool)
    mask[13:19, 13:19] = False
    hidden = scan.replace(mask=mask)
    found = diagnose(solved(hidden), hidden)
    assert "loading" not in [finding.stage for finding in found.findings]
    solver = next(entry for entry in found.ledger if entry.stage == "solver")
    assert "masked pixels" in solver.note


def test_values_of_masked_pixels_do_not_matter(scan):
    mask = np.ones((32, 32), bool)
    mask[3, 4] = False
    counts = scan.counts.astype(np.float32)
    counts[:, 3, 4] = np.nan
    masked = scan.replace(mask=mask, counts=counts)
    assert diagnose(solved(masked), masked).healthy


def test_photons_given_by_the_user_are_named_as_such(scan):
    given = calibrate_probe(scan, photons=4e6)
    found = diagnose(solved(given), given)
    assert [finding.stage for finding in found.findings] == ["probe"]
    assert "4e+06" in found.verdict
    assert "without a record" not in found.verdict


def test_relative_probe_is_calibrated_as_it_was_for_the_reconstruction(scan):
    relative = real(scan)
    recon = solved(calibrate_probe(relative, photons=1e8))
    assert diagnose(recon, relative).healthy


@pytest.mark.parametrize("dose", [60.0, 500.0])
def test_absorbing_sample_at_very_low_dose_raises_no_alarm(dose):
    options = {**SAMPLE, "amplitude_mean": 0.2, "photons": dose}
    for seed in range(4):
        scan = simulate(SimulateConfig(**{**options, "seed": seed}))
        found = diagnose(solved(scan), scan)
        named = [finding.stage for finding in found.findings]
        assert "solver" not in named, found.verdict
        assert "loading" not in named, found.verdict


def test_moved_scan_changes_no_verdict_at_low_dose():
    for seed in range(4):
        scan = simulate(SimulateConfig(**{**SAMPLE, "n_patterns": 60, "seed": seed}, photons=20.0))
        recon = solved(scan)
        assert diagnose(recon).verdict == diagnose(recon, scan).verdict


def test_pixels_that_are_not_finite_are_counted_first(scan, recon):
    object_ = recon.object.copy()
    object_[40, 40:43] = np.nan
    for known in (scan, None):
        found = diagnose(replace(recon, object=object_), known)
        assert (found.findings[0].stage, "3 pixels" in found.findings[0].cause) == ("object", True)
        assert not found.healthy
        assert np.isfinite(found.total)


def test_object_of_zeros_and_object_that_was_changed(scan, recon):
    empty = replace(recon, object=np.zeros_like(recon.object))
    found = diagnose(empty, scan)
    assert (found.total, multiply_discrepancies(found.ledger)) == (0.0, 0.0)
    assert "solver" in [finding.stage for finding in found.findings]
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
    recon = replace(good, bundle=bundle, options={**good.options, "probe_from": "bundle"}).reconstruct()
    for known in (good.scan, None):
        found = diagnose(recon, known)
        assert "training probe" in [entry.stage for entry in found.ledger]
        assert "training probe" in [finding.stage for finding in found.findings]
