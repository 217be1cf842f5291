"""Every way in which amplitude is known to get lost is named, with its size; healthy runs raise no alarm."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import ptypinn.stages.train as training
from ptypinn.data import datamodule
from ptypinn.errors import InputError
from ptypinn.models import patch_predictor as predictor
from ptypinn.scale import multiply_discrepancies
from ptypinn.stages.diagnose import diagnose


def mean_ratio(recon, reference):
    lit = reference.well_lit()
    return float(np.abs(recon.object[lit]).mean() / np.abs(reference.object[lit]).mean())


def judged(run):
    recon = run.reconstruct()
    found = diagnose(recon, run.scan)
    assert multiply_discrepancies(found.ledger) == pytest.approx(found.total, rel=1e-6)
    return recon, found


def named(found):
    return {finding.stage: finding.factor for finding in found.findings}


def test_a_good_run_has_no_loss(good, good_recon):
    found = diagnose(good_recon, good.scan)
    assert found.healthy, found.verdict
    assert found.verdict.startswith("no loss")
    assert found.total == pytest.approx(1, abs=0.05)


def test_every_entry_says_what_was_seen(good, good_recon):
    found = diagnose(good_recon, good.scan)
    assert [entry.stage for entry in found.ledger] == [entry["stage"] for entry in good_recon.scale]
    for entry in [*found.ledger, *found.training]:
        assert entry.stats is not None, entry.stage
        assert entry.stats.non_finite == 0
        assert entry.stats.minimum <= entry.stats.mean <= entry.stats.maximum
        assert entry.source
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["healthy"] is True


def test_diagnosis_goes_by_the_recorded_ledger_where_the_scan_is_gone(good, good_recon):
    with_scan, without = diagnose(good_recon, good.scan), diagnose(good_recon)
    assert without.total == pytest.approx(with_scan.total, rel=1e-6)
    assert without.verdict == with_scan.verdict
    with pytest.raises(InputError, match="no scale ledger"):
        diagnose(replace(good_recon, scale=[]))


FAULTS = {
    "amplitudes_read_as_counts": ("loading", "amplitudes are read as counts"),
    "counts_read_as_amplitudes": ("loading", "counts are read as amplitudes"),
    "overflow_on_squaring": ("loading", "overflow"),
    "dead_pixels_taken_for_good": ("mask", "one side"),
    "vacuum_photons_without_mask": ("transmitted amplitude", "one side"),
    "probe_scaled_without_record": ("probe", "without a record"),
    "log_scale_wrong_at_load": ("intensity scaler", "log_scale"),
    "saturated_head": ("network", "saturated"),
    "merge_with_different_masks": ("merge", "same pixels"),
    "stitching_not_normalised": ("stitching", "not divided"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_factor(good, good_recon, faults, fault, monkeypatch):
    stage, cause = FAULTS[fault]
    recon, found = judged(faults[fault](good, monkeypatch))
    assert list(named(found)) == [stage], found.verdict
    assert cause in found.findings[0].cause
    assert found.findings[0].factor == pytest.approx(mean_ratio(recon, good_recon), rel=0.02)
    assert stage in found.verdict
    assert abs(math.log(found.findings[0].factor)) > 0.1


def test_truth_in_another_gauge_is_named_although_the_object_is_right(good, good_recon, faults, monkeypatch):
    recon, found = judged(faults["truth_in_another_gauge"](good, monkeypatch))
    assert named(found) == {"truth": pytest.approx(1 / 0.4, rel=0.02)}
    np.testing.assert_array_equal(recon.object, good_recon.object)


def test_clamped_weights_are_named_by_what_they_do_to_the_edges(good, good_recon, faults, monkeypatch):
    recon, found = judged(faults["stitching_clamped_at_the_edges"](good, monkeypatch))
    lit = (good_recon.illumination > 1e-9 * good_recon.illumination.max()) & ~good_recon.well_lit()
    lost = np.abs(recon.object[lit]).mean() / np.abs(good_recon.object[lit]).mean()
    assert named(found) == {"stitching, edges": pytest.approx(lost, rel=0.02)}
    assert lost < 0.8
    assert found.total == pytest.approx(1, abs=0.05)


def test_input_of_another_dose_is_named_and_does_not_reach_the_object(good, good_recon, faults, monkeypatch):
    recon, found = judged(faults["input_of_another_dose"](good, monkeypatch))
    assert named(found) == {"input normalisation": pytest.approx(0.1, rel=0.02)}
    assert not found.findings[0].reaches_object
    assert mean_ratio(recon, good_recon) == pytest.approx(1, abs=1e-3)
    assert "no amplitude is lost" in found.verdict


def test_statistics_of_another_dose_at_training_are_named(good, trained, monkeypatch):
    energy = datamodule.ScanDataModule.mean_pattern_energy
    monkeypatch.setattr(datamodule.ScanDataModule, "mean_pattern_energy", lambda self: energy(self) / 9)
    bundle = trained(good.scan, epochs=1)
    monkeypatch.undo()
    _, found = judged(replace(good, bundle=bundle))
    assert named(found) == {"input normalisation": pytest.approx(3, rel=0.02)}


def test_probe_normalised_for_training_and_not_compensated(good, good_recon, trained):
    bundle = trained(good.scan.replace(probe=good.scan.probe * np.float32(0.25)))
    recon, found = judged(replace(good, bundle=bundle, options={**good.options, "probe_from": "bundle"}))
    assert named(found) == {"training probe": pytest.approx(4, rel=0.02)}
    assert mean_ratio(recon, good_recon) == pytest.approx(4, rel=0.02)
    compensated, found = judged(replace(good, bundle=bundle))
    assert named(found) == {"training probe": pytest.approx(4, rel=0.02)}
    assert not found.findings[0].reaches_object
    assert mean_ratio(compensated, good_recon) == pytest.approx(1, rel=0.02)


def test_labels_scaled_at_training_but_not_in_the_comparison(good, good_recon, trained, monkeypatch):
    label = training._truth
    monkeypatch.setattr(training, "_truth", lambda scan, config: 0.6 * label(scan, config))
    bundle = trained(good.scan, realspace=1e4, epochs=6)
    recon, found = judged(replace(good, bundle=bundle))
    assert named(found) == {"training labels": pytest.approx(0.6, rel=0.02)}
    assert mean_ratio(recon, good_recon) == pytest.approx(0.6, rel=0.05)


def test_merge_that_is_wrong_at_training_only_is_named(good, good_recon, trained, monkeypatch):
    stitch = predictor.stitch

    def brighter(patches, weights, *where):
        weighted, total = stitch(patches, weights, *where)
        return 1.5 * weighted, total

    with monkeypatch.context() as patch:
        patch.setattr(predictor, "stitch", brighter)
        bundle = trained(good.scan, epochs=6)
    recon, found = judged(replace(good, bundle=bundle))
    assert named(found) == {"training merge": pytest.approx(1 / 1.5, rel=0.02)}
    assert mean_ratio(recon, good_recon) == pytest.approx(1 / 1.5, rel=0.05)


PAIRS = [
    ("probe_scaled_without_record", "log_scale_wrong_at_load"),
    ("amplitudes_read_as_counts", "merge_with_different_masks"),
    ("dead_pixels_taken_for_good", "truth_in_another_gauge"),
    ("saturated_head", "counts_read_as_amplitudes"),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_two_faults_are_attributed_to_both_stages(good, faults, pair, monkeypatch):
    alone = {}
    for fault in pair:
        with monkeypatch.context() as patch:
            alone |= named(judged(faults[fault](good, patch))[1])
    run = good
    for fault in pair:
        run = faults[fault](run, monkeypatch)
    _, found = judged(run)
    assert named(found) == {stage: pytest.approx(factor, rel=0.02) for stage, factor in alone.items()}
    assert len(alone) == 2


def test_prediction_scaling_makes_good_what_a_stage_lost_and_the_verdict_says_so(good, faults, monkeypatch):
    run = faults["saturated_head"](good, monkeypatch)
    recon, found = judged(replace(run, options={**run.options, "prediction_scale": "flux"}))
    assert list(named(found)) == ["network"]
    assert found.total == pytest.approx(1, abs=0.05)
    assert recon.prediction_scale["factor"] == pytest.approx(1 / named(found)["network"], rel=0.03)


def test_a_stage_of_another_make_is_judged_too(good_recon):
    strange = [{"stage": "warp", "expected": 1.0, "measured": 0.5, "source": "somebody else"}]
    found = diagnose(replace(good_recon, scale=strange))
    assert named(found) == {"warp": 0.5}
    assert diagnose(replace(good_recon, scale=[{**strange[0], "on_path": False, "measured": 1.0}])).healthy


def test_faults_that_cancel_are_named_and_the_total_is_called_right(good):
    scan = good.scan.replace(probe=good.scan.probe * np.float32(0.5), truth=good.scan.truth * np.float32(2))
    _, found = judged(replace(good, scan=scan))
    assert named(found) == {"probe": pytest.approx(2, rel=0.02), "truth": pytest.approx(0.5, rel=0.02)}
    assert ", but two stages" in found.verdict
