"""The record of a study: everything that `run_metadata.json` says beyond what every run says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.model_file import Bundle, load_bundle
from ptypinn.stages.diagnose import Diagnosis
from ptypinn.stages.evaluate import Evaluation
from ptypinn.studies.measures import (
    external_scale,
    forward_pass,
    scaler_state,
    split_stats,
    training_health,
    training_labels,
    unseen_part,
)
from ptypinn.studies.missing import missing_health, missing_labels, missing_scaler, missing_split
from ptypinn.studies.scenario import Scenario, stage_records
from ptypinn.studies.schema import SCHEMA, IntensityScalerState, StudyMetadata
from ptypinn.studies.step_cache import Step
from ptypinn.studies.twin_ambiguity import scenario_limits
from ptypinn.training.callbacks import CURVE

PREFIX = "[scale]"
"""Every line about scale on the console begins with it."""


def metadata_of(
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
        diagnosis: Where amplitude went.
        steps: What was done, and for how long.
    """
    missing: dict[str, str] = {}
    bundle = _bundle(model, missing)
    scaler = _scaler(bundle, external_scale(scan, scenario.train), missing)
    passed = forward_pass(scaler, evaluation, recon.scale)
    split, labels = split_stats(scan, scenario.train), training_labels(scan, scenario.train)
    health = training_health(model.parent, bundle, scenario.train)
    absent = {name: "not measured in this run" for name, value in asdict(passed).items() if value is None}
    missing |= {f"forward_pass_diagnostics.{name}": reason for name, reason in absent.items()}
    missing |= missing_scaler(scaler, missing.get("intensity_scaler_state"))
    missing |= missing_health(health, model.parent / CURVE, missing.get("model"))
    missing |= {**missing_labels(labels), **missing_split(split)}
    return StudyMetadata(
        schema=SCHEMA,
        scenario=scenario.name,
        parameters={name: asdict(parameter) for name, parameter in scenario.parameters.items()},
        overrides=[asdict(override) for override in scenario.overrides],
        stages=stage_records(scenario),
        photons_per_pattern=_photons(scenario, scan),
        probe=_probe(scenario, scan),
        intensity_scaler_state=scaler,
        forward_pass_diagnostics=passed,
        split_intensity_stats=split,
        training_labels=labels,
        prediction_scale=dict(recon.prediction_scale),
        training_health=health,
        steps={name: {key: getattr(step, key) for key in ("wall_s", "cpu_s", "kept")} for name, step in steps.items()},
        seeds={name: scenario.value(name) for name in ("object_seed", "sim_seed", "train_seed")},
        metrics=dict(evaluation.metrics),
        unseen=unseen_part(scan, scenario.train, evaluation),
        ledger=list(recon.scale),
        training_ledger=[entry.as_json() for entry in diagnosis.training],
        diagnosis=_diagnosis(diagnosis),
        missing=missing,
        limits=scenario_limits(scenario, scan, evaluation, bundle),
        warnings=[*evaluation.warnings, *([split.warning] if split.warning else [])],
    )


def console_lines(metadata: StudyMetadata) -> list[str]:
    """What the record says about scale, one fact per line, each line beginning with `[scale]`."""
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


def _bundle(model: Path, missing: dict[str, str]) -> Bundle | None:
    try:
        return load_bundle(model)
    except (InputError, OSError) as error:
        missing["model"] = str(error)
        return None


def _scaler(bundle: Bundle | None, external: float | None, missing: dict[str, str]) -> IntensityScalerState:
    try:
        return scaler_state(bundle, external)
    except InputError as error:
        missing["intensity_scaler_state"] = missing.get("model", str(error))
        return IntensityScalerState(external_intensity_scale=external)


def _photons(scenario: Scenario, scan: ScanData) -> dict[str, float | None]:
    """Photons per pattern: asked for behind the object, expected and measured there, and through vacuum."""
    made, requested, factor = scan.provenance, scenario.value("nphotons"), scenario.value("probe_scale")
    return {
        "requested": requested,
        "probe_scale": factor,
        "requested_times_probe_scale_squared": requested * factor**2,
        "expected": made.get("photons_expected"),
        "measured": made.get("photons_measured"),
        "through_vacuum": float(np.sum(np.abs(scan.require_probe().astype(np.complex128)) ** 2)),
    }


def _probe(scenario: Scenario, scan: ScanData) -> dict[str, Any]:
    names = ("probe_equivalent_diameter_px", "probe_power_at_edge", "step_px", "overlap")
    kept = {name.removeprefix("probe_"): scan.provenance.get(name) for name in names}
    return {"kind": scenario.simulate.probe, **kept, "file": scenario.probe_file}


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis without its ledgers, which stand beside it."""
    return {key: value for key, value in diagnosis.as_json().items() if key not in ("ledger", "training_ledger")}
