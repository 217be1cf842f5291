"""Every known way in which amplitude gets lost is named, with its factor; healthy runs raise no alarm."""

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
    mask = reference.well_illuminated()
    return float(np.abs(recon.object[mask]).mean() / np.abs(reference.object[mask]).mean())


def reconstruct_and_diagnose(run):
    recon = run.reconstruct()
    diagnosis = diagnose(recon, run.scan)
    assert multiply_discrepancies(diagnosis.ledger) == pytest.approx(diagnosis.total, rel=1e-6)
    return recon, diagnosis


def factors_by_stage(diagnosis):
    return {finding.stage: finding.factor for finding in diagnosis.findings}


def test_a_good_run_has_no_loss(good, good_recon):
    diagnosis = diagnose(good_recon, good.scan)
    assert diagnosis.healthy, diagnosis.verdict
    assert diagnosis.verdict.startswith("no loss")
    assert diagnosis.total == pytest.approx(1, abs=0.05)


def test_every_entry_has_statistics_and_a_source(good, good_recon):
    diagnosis = diagnose(good_recon, good.scan)
    assert [entry.stage for entry in diagnosis.ledger] == [entry["stage"] for entry in good_recon.scale]
    for entry in [*diagnosis.ledger, *diagnosis.training]:
        assert entry.stats is not None, entry.stage
        assert entry.stats.non_finite == 0
        assert entry.stats.minimum <= entry.stats.mean <= entry.stats.maximum
        assert entry.source
    assert json.loads(json.dumps(diagnosis.as_json(), allow_nan=False))["healthy"] is True


def test_diagnosis_uses_the_recorded_ledger_if_the_scan_is_gone(good, good_recon):
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


CONTRADICTIONS = {
    "amplitudes_read_as_counts",
    "counts_read_as_amplitudes",
    "overflow_on_squaring",
    "dead_pixels_taken_for_good",
}
"""Faults that leave patterns which no object makes: the network's patches contradict each other where they merge."""


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_factor(good, good_recon, faults, fault, monkeypatch):
    stage, cause = FAULTS[fault]
    recon, diagnosis = reconstruct_and_diagnose(faults[fault](good, monkeypatch))
    factors = factors_by_stage(diagnosis)
    assert next(iter(factors)) == stage, diagnosis.verdict
    assert cause in diagnosis.findings[0].cause
    assert math.prod(factors.values()) == pytest.approx(mean_ratio(recon, good_recon), rel=0.05)
    if fault in CONTRADICTIONS:
        assert set(factors) <= {stage, "network"}
        assert "no object makes such patterns" in diagnosis.findings[-1].cause or len(factors) == 1
    else:
        assert list(factors) == [stage], diagnosis.verdict
        assert factors[stage] == pytest.approx(mean_ratio(recon, good_recon), rel=0.02)
    assert stage in diagnosis.verdict
    assert abs(math.log(diagnosis.findings[0].factor)) > 0.1


def test_truth_in_another_gauge_is_named_although_the_object_is_right(good, good_recon, faults, monkeypatch):
    recon, diagnosis = reconstruct_and_diagnose(faults["truth_in_another_gauge"](good, monkeypatch))
    assert factors_by_stage(diagnosis) == {"truth": pytest.approx(1 / 0.4, rel=0.02)}
    np.testing.assert_array_equal(recon.object, good_recon.object)


def test_clamped_weights_are_named_by_their_effect_on_the_edges(good, good_recon, faults, monkeypatch):
    recon, diagnosis = reconstruct_and_diagnose(faults["stitching_clamped_at_the_edges"](good, monkeypatch))
    edges = (good_recon.illumination > 1e-9 * good_recon.illumination.max()) & ~good_recon.well_illuminated()
    lost = np.abs(recon.object[edges]).mean() / np.abs(good_recon.object[edges]).mean()
    assert factors_by_stage(diagnosis) == {"stitching, edges": pytest.approx(lost, rel=0.02)}
    assert lost < 0.8
    assert diagnosis.total == pytest.approx(1, abs=0.05)


def test_input_of_another_dose_is_named_and_does_not_reach_the_object(good, good_recon, faults, monkeypatch):
    recon, diagnosis = reconstruct_and_diagnose(faults["input_of_another_dose"](good, monkeypatch))
    assert factors_by_stage(diagnosis) == {"input normalisation": pytest.approx(0.1, rel=0.02)}
    assert not diagnosis.findings[0].reaches_object
    assert mean_ratio(recon, good_recon) == pytest.approx(1, abs=1e-3)
    assert "no amplitude is lost" in diagnosis.verdict


def test_statistics_of_another_dose_at_training_are_named(good, trained, monkeypatch):
    energy = datamodule.ScanDataModule.mean_pattern_energy
    monkeypatch.setattr(datamodule.ScanDataModule, "mean_pattern_energy", lambda self: energy(self) / 9)
    bundle = trained(good.scan, epochs=1)
    monkeypatch.undo()
    _, diagnosis = reconstruct_and_diagnose(replace(good, bundle=bundle))
    assert factors_by_stage(diagnosis) == {"input normalisation": pytest.approx(3, rel=0.02)}


def test_probe_normalised_for_training_and_not_compensated(good, good_recon, trained):
    bundle = trained(good.scan.replace(probe=good.scan.probe * np.float32(0.25)))
    recon, diagnosis = reconstruct_and_diagnose(
        replace(good, bundle=bundle, options={**good.options, "probe_source": "model"})
    )
    assert factors_by_stage(diagnosis) == {"training probe": pytest.approx(4, rel=0.02)}
    assert mean_ratio(recon, good_recon) == pytest.approx(4, rel=0.02)
    compensated, diagnosis = reconstruct_and_diagnose(replace(good, bundle=bundle))
    assert factors_by_stage(diagnosis) == {"training probe": pytest.approx(4, rel=0.02)}
    assert not diagnosis.findings[0].reaches_object
    assert mean_ratio(compensated, good_recon) == pytest.approx(1, rel=0.02)


def test_labels_scaled_at_training_but_not_in_the_comparison(good, good_recon, trained, monkeypatch):
    label = training._truth
    monkeypatch.setattr(training, "_truth", lambda scan, config: 0.6 * label(scan, config))
    bundle = trained(good.scan, realspace=1e4, epochs=12)
    recon, diagnosis = reconstruct_and_diagnose(replace(good, bundle=bundle))
    assert factors_by_stage(diagnosis) == {"training labels": pytest.approx(0.6, rel=0.02)}
    assert mean_ratio(recon, good_recon) == pytest.approx(0.6, rel=0.05)


def test_merge_that_is_wrong_at_training_only_is_named(good, good_recon, trained, monkeypatch):
    stitch = predictor.stitch

    def brighter(patches, weights, *where):
        weighted, total = stitch(patches, weights, *where)
        return 1.5 * weighted, total

    with monkeypatch.context() as patch:
        patch.setattr(predictor, "stitch", brighter)
        bundle = trained(good.scan, epochs=6)
    recon, diagnosis = reconstruct_and_diagnose(replace(good, bundle=bundle))
    assert factors_by_stage(diagnosis) == {"training merge": pytest.approx(1 / 1.5, rel=0.02)}
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
            alone |= factors_by_stage(reconstruct_and_diagnose(faults[fault](good, patch))[1])
    run = good
    for fault in pair:
        run = faults[fault](run, monkeypatch)
    _, diagnosis = reconstruct_and_diagnose(run)
    together = factors_by_stage(diagnosis)
    if not CONTRADICTIONS.isdisjoint(pair) and "saturated_head" not in pair:
        alone.pop("network", None)
        together.pop("network", None)
    if "saturated_head" in pair:
        assert together.pop("network") < 0.8
        alone.pop("network")
        assert len(alone) == 1
    else:
        assert len(alone) == 2
    assert together == {stage: pytest.approx(factor, rel=0.02) for stage, factor in alone.items()}


def test_prediction_scaling_compensates_for_a_loss_and_the_verdict_names_it(good, faults, monkeypatch):
    run = faults["saturated_head"](good, monkeypatch)
    recon, diagnosis = reconstruct_and_diagnose(replace(run, options={**run.options, "prediction_scale": "flux"}))
    assert list(factors_by_stage(diagnosis)) == ["network"]
    assert diagnosis.total == pytest.approx(1, abs=0.05)
    assert recon.prediction_scale["factor"] == pytest.approx(1 / factors_by_stage(diagnosis)["network"], rel=0.03)


def test_a_stage_of_another_program_is_checked_too(good_recon):
    strange = [{"stage": "warp", "expected": 1.0, "measured": 0.5, "source": "somebody else"}]
    diagnosis = diagnose(replace(good_recon, scale=strange))
    assert factors_by_stage(diagnosis) == {"warp": 0.5}
    assert diagnose(replace(good_recon, scale=[{**strange[0], "on_path": False, "measured": 1.0}])).healthy


def test_faults_that_cancel_are_named_and_the_total_is_called_right(good):
    scan = good.scan.replace(probe=good.scan.probe * np.float32(0.5), truth=good.scan.truth * np.float32(2))
    _, diagnosis = reconstruct_and_diagnose(replace(good, scan=scan))
    assert factors_by_stage(diagnosis) == {"probe": pytest.approx(2, rel=0.02), "truth": pytest.approx(0.5, rel=0.02)}
    assert ", but two stages" in diagnosis.verdict
