"""The record of a study: what `run_metadata.json` holds beyond the record of every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.model_file import PatchModel, load_patch_model
from ptypinn.physics.optics import probe_photons
from ptypinn.stages.diagnose import Diagnosis
from ptypinn.stages.evaluate import Evaluation
from ptypinn.studies.measures import (
    assess_training,
    compare_scales,
    measure_external_scale,
    measure_labels,
    measure_split,
    measure_unseen,
    read_scaler,
)
from ptypinn.studies.missing import (
    explain_missing_health,
    explain_missing_labels,
    explain_missing_scaler,
    explain_missing_split,
)
from ptypinn.studies.scenario import Scenario, stage_records
from ptypinn.studies.schema import (
    SCHEMA,
    ForwardPassDiagnostics,
    IntensityScalerState,
    SplitIntensityStats,
    StudyMetadata,
    TrainingHealth,
    TrainingLabels,
)
from ptypinn.studies.step_cache import Step
from ptypinn.studies.twin_ambiguity import describe_limits
from ptypinn.training.callbacks import CURVE

PREFIX = "[scale]"
"""Prefix of every line about scale on the console."""
STEP_FIELDS = ("wall_s", "cpu_s", "reused")


def build_metadata(
    scenario: Scenario,
    scan: ScanData,
    model: Path,
    recon: Reconstruction,
    evaluation: Evaluation,
    diagnosis: Diagnosis,
    steps: Mapping[str, Step],
) -> StudyMetadata:
    """Gather the record of a study; what cannot be read is named in `missing`, with the reason.

    Args:
        scenario: Parameters with their origins.
        scan: The whole scan, with its truth.
        model: File of the trained model.
        recon: The half held out.
        evaluation: Its comparison with the truth.
        diagnosis: The scale diagnosis.
        steps: Steps with their durations.
    """
    missing: dict[str, str] = {}
    bundle = _bundle(model, missing)
    scaler = _scaler(bundle, measure_external_scale(scan, scenario.train), missing)
    passed = compare_scales(scaler, evaluation, recon.scale)
    split, labels = measure_split(scan, scenario.train), measure_labels(scan, scenario.train)
    health = assess_training(model.parent, bundle, scenario.train)
    missing |= _explain_missing(scaler, passed, health, labels, split, model.parent / CURVE, missing)
    return StudyMetadata(
        schema=SCHEMA,
        **_describe_scenario(scenario, scan),
        intensity_scaler_state=scaler,
        forward_pass_diagnostics=passed,
        split_intensity_stats=split,
        training_labels=labels,
        prediction_scale=dict(recon.prediction_scale),
        training_health=health,
        steps={name: {key: getattr(step, key) for key in STEP_FIELDS} for name, step in steps.items()},
        metrics=dict(evaluation.metrics),
        unseen=measure_unseen(scan, scenario.train, evaluation),
        ledger=list(recon.scale),
        training_ledger=[entry.as_json() for entry in diagnosis.training],
        diagnosis=_diagnosis(diagnosis),
        missing=missing,
        limits=describe_limits(scenario, scan, evaluation, bundle),
        warnings=[*evaluation.warnings, *([split.warning] if split.warning else [])],
    )


def _describe_scenario(scenario: Scenario, scan: ScanData) -> dict[str, Any]:
    """Return the fields of the record that the scenario and its scan determine."""
    return {
        "scenario": scenario.name,
        "parameters": {name: asdict(parameter) for name, parameter in scenario.parameters.items()},
        "overrides": [asdict(override) for override in scenario.overrides],
        "stages": stage_records(scenario),
        "photons_per_pattern": _photons(scenario, scan),
        "probe": _probe(scenario, scan),
        "seeds": {name: scenario.value(name) for name in ("object_seed", "sim_seed", "train_seed")},
    }


def _explain_missing(
    scaler: IntensityScalerState,
    passed: ForwardPassDiagnostics,
    health: TrainingHealth,
    labels: TrainingLabels,
    split: SplitIntensityStats,
    curve: Path,
    unread: Mapping[str, str],
) -> dict[str, str]:
    """Return the reason for every field without a value; `unread` names what could not be read at all."""
    absent = {name: "not measured in this run" for name, value in asdict(passed).items() if value is None}
    return {
        **{f"forward_pass_diagnostics.{name}": reason for name, reason in absent.items()},
        **explain_missing_scaler(scaler, unread.get("intensity_scaler_state")),
        **explain_missing_health(health, curve, unread.get("model")),
        **explain_missing_labels(labels),
        **explain_missing_split(split),
    }


def console_lines(metadata: StudyMetadata) -> list[str]:
    """Format the record of the scale, one fact per line, each line beginning with `[scale]`."""
    passed, photons = metadata.forward_pass_diagnostics, metadata.photons_per_pattern
    lines = [f"{name} {_text(value)}" for name, value in asdict(passed).items()]
    lines += [f"photons_per_pattern {name} {_text(value)}" for name, value in photons.items()]
    scale = metadata.prediction_scale
    lines.append(f"prediction_scale {scale.get('source', 'none')} factor {_text(scale.get('factor'))}")
    if scale.get("reason"):
        lines.append(f"prediction_scale undefined: {scale['reason']}")
    lines += [f"missing {name}: {reason}" for name, reason in metadata.missing.items()]
    if passed.scale_discrepancy_flag:
        lines.append("warning: the model's intensity scale departs from the counts by more than 1 %")
    if metadata.split_intensity_stats.warning:
        lines.append(f"warning: {metadata.split_intensity_stats.warning}")
    return [f"{PREFIX} {line}" for line in [*lines, f"verdict: {metadata.diagnosis['verdict']}"]]


def _text(value: Any) -> str:
    return "unknown" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value).lower()


def _bundle(model: Path, missing: dict[str, str]) -> PatchModel | None:
    try:
        return load_patch_model(model)
    except (InputError, OSError) as error:
        missing["model"] = str(error)
        return None


def _scaler(bundle: PatchModel | None, external: float | None, missing: dict[str, str]) -> IntensityScalerState:
    try:
        return read_scaler(bundle, external)
    except InputError as error:
        missing["intensity_scaler_state"] = missing.get("model", str(error))
        return IntensityScalerState(external_intensity_scale=external)


def _photons(scenario: Scenario, scan: ScanData) -> dict[str, float | None]:
    """Return photons per pattern: requested behind the object, expected and measured there, and through vacuum."""
    provenance, requested, factor = scan.provenance, scenario.value("photons"), scenario.value("probe_scale")
    return {
        "requested": requested,
        "probe_scale": factor,
        "requested_times_probe_scale_squared": requested * factor**2,
        "expected": provenance.get("photons_expected"),
        "measured": provenance.get("photons_measured"),
        "through_vacuum": probe_photons(scan.require_probe()),
    }


def _probe(scenario: Scenario, scan: ScanData) -> dict[str, Any]:
    names = ("probe_equivalent_diameter_px", "probe_power_at_edge", "step_px", "overlap")
    geometry = {name.removeprefix("probe_"): scan.provenance.get(name) for name in names}
    return {"kind": scenario.simulate.probe, **geometry, "file": scenario.probe_file}


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the diagnosis without its ledgers, which the record holds separately."""
    return {key: value for key, value in diagnosis.as_json().items() if key not in ("ledger", "training_ledger")}
