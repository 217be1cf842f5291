"""Sum up finished runs: bias of amplitude and phase, scale, stage ratios and health, one row per run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn._version import __version__
from ptypinn.config.studies import StudyReportConfig
from ptypinn.errors import InputError
from ptypinn.metrics import phase_difference
from ptypinn.metrics.comparison import Comparison
from ptypinn.runs.jobs.job import describe_error
from ptypinn.scale import LedgerEntry
from ptypinn.studies.run_record import RunRecord, find_runs, read_run
from ptypinn.studies.twin_ambiguity import collect_limits
from ptypinn.utils.plain_values import count, flag, number, text, to_plain
from ptypinn.utils.progress import Progress, silent

SCHEMA_VERSION = 1
FIGURES = ("output_vs_truth_ratio", "complex_error", "pearson_r_amplitude", "pearson_r_phase", "frc_half_bit_px")
PARITY = {"scale_match_pct": number, "scale_discrepancy_flag": flag, "amplification_ratio": number}
UNSEEN = {"pixels": count, "output_vs_truth_ratio": number, "pearson_r_amplitude": number}
HEALTH = {"epochs_completed": count, "stopped_early": flag, "nan_count": count}
SCALING = {"source": text, "factor": number}
"""Fields of a record that a row repeats, with their kinds."""
READ_ERRORS = (InputError, OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""Errors that a damaged run, one of another program or one of another version raises."""


@dataclass(frozen=True)
class Skipped:
    """A folder that could not be used."""

    folder: str
    """Its path."""
    reason: str
    """The reason, in one line."""

    @property
    def line(self) -> str:
        """Folder and reason."""
        return self.reason if self.reason.startswith(self.folder) else f"{self.folder}: {self.reason}"


@dataclass(frozen=True)
class BiasSummary:
    """Summary of several runs."""

    rows: list[dict[str, Any]]
    """One per run, plain values."""
    runs: list[RunRecord]
    """The runs, in the order of the rows."""
    skipped: list[Skipped]
    """Folders that could not be used."""
    limits: list[str]
    """Limits of the scenarios, in sentences."""

    def as_json(self) -> dict[str, Any]:
        """Return everything but the images, in plain values."""
        content = {"schema_version": SCHEMA_VERSION, "version": __version__, "runs": self.rows}
        return dict(to_plain({**content, "limits": self.limits, "skipped": self.skipped}))


def aggregate(
    places: Sequence[str | Path],
    config: StudyReportConfig | None = None,
    *,
    leave_out: Path | None = None,
    progress: Progress | None = None,
) -> BiasSummary:
    """Read and compare every run in the places given.

    Args:
        places: Run folders, or folders of run folders.
        config: Which pixels count.
        leave_out: A folder to pass over, such as that of the summary.
        progress: Called with the number of runs that are read.

    Raises:
        InputError: Where no run is usable; with the reasons.
    """
    config, report = config or StudyReportConfig(), progress or silent
    folders, runs, skipped = find_runs(places, leave_out), list[RunRecord](), list[Skipped]()
    rows: list[dict[str, Any]] = []
    for done, folder in enumerate(folders):
        report("read", done, len(folders))
        try:
            run = read_run(folder, config.illumination_threshold)
            rows.append(summarise_run(run, folder.name))
            runs.append(run)
        except READ_ERRORS as error:
            skipped.append(Skipped(str(folder), describe_error(error)))
    if not runs:
        reasons = "; ".join(line.reason for line in skipped) or "no run folder in " + ", ".join(map(str, places))
        raise InputError("study report", "runs", reasons, "at least one finished run of a simulated scan")
    report("read", len(folders), len(folders))
    names = _names([run.folder for run in runs])
    rows = [{**row, "run": name} for row, name in zip(rows, names, strict=True)]
    return BiasSummary(rows, runs, skipped, collect_limits(rows, [run.metadata for run in runs]))


def summarise_run(run: RunRecord, name: str) -> dict[str, Any]:
    """Summarise one run in plain values; None where its record lacks a value or holds one of another type."""
    metadata, metrics, comparison = run.metadata, run.evaluation.metrics, run.evaluation.comparison
    assert comparison is not None
    return {
        "run": name,
        "folder": str(run.folder),
        "scenario": _scenario(metadata),
        "model": text(_parameter(metadata, "model")),
        "gridsize": count(_parameter(metadata, "gridsize")),
        "photons": number(_parameter(metadata, "photons", "nphotons")),
        **{key: number(metrics.get(key)) for key in FIGURES},
        "unseen": _fields(_part(metadata, "unseen"), UNSEEN),
        **measure_bias(comparison),
        "scale_parity": _fields(_part(metadata, "forward_pass_diagnostics"), PARITY),
        "prediction_scale": _fields(_part(metadata, "prediction_scale") or _recorded_scale(run), SCALING),
        "stage_ratios": stage_ratios(run.recon.scale),
        "non_finite": {"object": run.non_finite, **_non_finite(run.recon.scale)},
        "training_health": _fields(_part(metadata, "training_health"), HEALTH),
        "verdict": text(_part(metadata, "diagnosis").get("verdict")),
        "compared_pixels": int(comparison.alignment.mask.sum()),
    }


def measure_bias(comparison: Comparison) -> dict[str, Any]:
    """Measure reconstruction minus truth on the compared pixels: mean, median, 5th and 95th percentile.

    Amplitudes as they are, without any fit; phases in radians, wrapped, after one global phase.
    """
    image, truth, mask = comparison.alignment.image, comparison.reference, comparison.alignment.mask
    amplitude = np.abs(image[mask].astype(np.complex128)) - np.abs(truth[mask].astype(np.complex128))
    return {
        "truth_mean_amplitude": float(np.abs(truth[mask]).mean(dtype=np.float64)),
        "amplitude_bias": _spread(amplitude),
        "phase_bias_rad": _spread(phase_difference(image, truth)[mask]),
    }


def stage_ratios(ledger: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the factor of every stage of a scale ledger on the object's amplitude; None where it is not finite."""
    rows = []
    for record in ledger:
        try:
            entry = LedgerEntry.from_json(record)
            ratio = number(float(entry.discrepancy))
        except READ_ERRORS:  # of another version
            continue
        rows.append({"stage": str(entry.stage), "ratio": ratio, "on_path": bool(entry.on_path)})
    return rows


def _recorded_scale(run: RunRecord) -> Mapping[str, Any]:
    """Return source and factor of the prediction scaling, as recorded with the reconstruction."""
    scale = getattr(run.recon, "prediction_scale", None)
    return scale if isinstance(scale, Mapping) else {}


def _spread(values: np.ndarray) -> dict[str, float]:
    if not (values.size and np.isfinite(values).all()):
        raise ValueError("no finite difference from the truth on the compared pixels")
    low, median, high = (float(value) for value in np.percentile(values, [5, 50, 95]))
    return {"mean": float(values.mean()), "median": median, "p05": low, "p95": high}


def _non_finite(ledger: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count values that are not finite, by stage, for the stages that have any."""
    counts: dict[str, int] = {}
    for record in ledger:
        stats = record.get("stats") if isinstance(record, Mapping) else None
        bad = count(stats.get("non_finite")) if isinstance(stats, Mapping) else None
        if bad:
            counts[str(record.get("stage"))] = bad
    return counts


def _fields(part: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Read fields of a part of a record, each converted to its type."""
    return {name: kind(part.get(name)) for name, kind in kinds.items()}


def _part(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = metadata.get(name)
    return part if isinstance(part, Mapping) else {}


def _scenario(metadata: Mapping[str, Any]) -> str:
    scenario = metadata.get("scenario")
    name = scenario.get("name") if isinstance(scenario, Mapping) else scenario
    return text(name) or text(metadata.get("stage")) or "run"


def _parameter(metadata: Mapping[str, Any], *names: str) -> Any:
    """Return the value of a parameter of the run, with or without its origin, by the first of its names."""
    for part in ("parameters", "config"):
        values = _part(metadata, part)
        for name in names:
            if name in values:
                value = values[name]
                return value.get("value") if isinstance(value, Mapping) else value
    return None


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, with as much of their paths as makes them unique."""
    parts = [folder.resolve().parts[1:] for folder in folders]
    deepest = max(map(len, parts), default=1)
    depth = next((n for n in range(1, deepest) if len({part[-n:] for part in parts}) == len(parts)), deepest)
    return ["/".join(part[-depth:]) for part in parts]
