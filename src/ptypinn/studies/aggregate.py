"""Sum up finished runs: bias of amplitude and phase, scale, stage ratios and health, one row per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn import __version__
from ptypinn.config.study_report import StudyReportConfig
from ptypinn.errors import InputError
from ptypinn.evaluate import Comparison
from ptypinn.metrics import phase_difference
from ptypinn.plain import to_plain
from ptypinn.progress import Progress, silent
from ptypinn.scale import LedgerEntry
from ptypinn.studies.limits import limits_of
from ptypinn.studies.run_record import RunRecord, find_runs, read_run

SCHEMA_VERSION = 1
FIGURES = ("output_vs_truth_ratio", "complex_error", "pearson_r_amplitude", "pearson_r_phase", "frc_half_bit_px")
PARITY = ("scale_match_pct", "scale_discrepancy_flag", "amplification_ratio")
UNSEEN = ("pixels", "output_vs_truth_ratio", "pearson_r_amplitude")
HEALTH = ("epochs_completed", "stopped_early", "nan_count")


@dataclass(frozen=True)
class Skipped:
    """A folder that could not be used."""

    folder: str
    """Its path."""
    reason: str
    """Why, in one line."""

    @property
    def line(self) -> str:
        """Folder and reason."""
        return self.reason if self.reason.startswith(self.folder) else f"{self.folder}: {self.reason}"


@dataclass(frozen=True)
class BiasSummary:
    """What several runs show together."""

    rows: list[dict[str, Any]]
    """One per run, plain values."""
    runs: list[RunRecord]
    """The runs, in the order of the rows."""
    skipped: list[Skipped]
    """Folders that could not be used."""
    limits: list[str]
    """What limits which scenario, in sentences."""

    def as_json(self) -> dict[str, Any]:
        """Everything but the images, in plain values."""
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
        progress: Told how many runs are read.

    Raises:
        InputError: Where no run is usable; says why not.
    """
    config, report = config or StudyReportConfig(), progress or silent
    folders, runs, skipped = find_runs(places, leave_out), list[RunRecord](), list[Skipped]()
    for number, folder in enumerate(folders):
        report("read", number, len(folders))
        try:
            runs.append(read_run(folder, config.lit_fraction))
        except (InputError, OSError) as error:
            skipped.append(Skipped(str(folder), " ".join(str(error).split())))
    if not runs:
        found = "; ".join(line.reason for line in skipped) or "no run folder in " + ", ".join(map(str, places))
        raise InputError("study report", "runs", found, "at least one finished run of a simulated scan")
    report("read", len(folders), len(folders))
    rows = [row_of(run, name) for run, name in zip(runs, _names([run.folder for run in runs]), strict=True)]
    return BiasSummary(rows, runs, skipped, limits_of(rows, [run.metadata for run in runs]))


def row_of(run: RunRecord, name: str) -> dict[str, Any]:
    """One run in plain values; what its record does not say is None."""
    metadata, metrics, comparison = run.metadata, run.evaluation.metrics, run.evaluation.comparison
    assert comparison is not None
    scale = _part(metadata, "prediction_scale") or _kept_scale(run)
    return {
        "run": name,
        "folder": str(run.folder),
        "scenario": _scenario(metadata),
        "model": _parameter(metadata, "model"),
        "gridsize": _parameter(metadata, "gridsize"),
        "photons": _parameter(metadata, "nphotons"),
        **{key: metrics.get(key) for key in FIGURES},
        "unseen": {key: _part(metadata, "unseen").get(key) for key in UNSEEN},
        **bias_of(comparison),
        "scale_parity": {key: _part(metadata, "forward_pass_diagnostics").get(key) for key in PARITY},
        "prediction_scale": {key: scale.get(key) for key in ("source", "factor")},
        "stage_ratios": stage_ratios(run.recon.scale),
        "non_finite": {"object": run.non_finite, **_non_finite(run.recon.scale)},
        "training_health": {key: _part(metadata, "training_health").get(key) for key in HEALTH},
        "verdict": _part(metadata, "diagnosis").get("verdict"),
        "compared_pixels": int(comparison.alignment.mask.sum()),
    }


def bias_of(comparison: Comparison) -> dict[str, Any]:
    """Reconstruction minus truth on the compared pixels: mean, median and 5th and 95th percentile.

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
    """Factor on the object's amplitude by every stage of a scale ledger; None where there is no finite one."""
    rows = []
    for record in ledger:
        try:
            entry = LedgerEntry.from_json(record)
        except (KeyError, TypeError, ValueError):  # of another version
            continue
        rows.append({"stage": entry.stage, "ratio": to_plain(float(entry.discrepancy)), "on_path": entry.on_path})
    return rows


def _kept_scale(run: RunRecord) -> Mapping[str, Any]:
    """Source and factor of the prediction scaling, as the reconstruction keeps them."""
    kept = getattr(run.recon, "prediction_scale", None)
    return kept if isinstance(kept, Mapping) else {}


def _spread(values: np.ndarray) -> dict[str, float]:
    low, median, high = (float(value) for value in np.percentile(values, [5, 50, 95]))
    return {"mean": float(values.mean()), "median": median, "p05": low, "p95": high}


def _non_finite(ledger: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Values that are not finite by stage, for the stages that had any."""
    found = {str(record.get("stage")): (record.get("stats") or {}).get("non_finite") for record in ledger}
    return {stage: int(count) for stage, count in found.items() if count}


def _part(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = metadata.get(name)
    return part if isinstance(part, Mapping) else {}


def _scenario(metadata: Mapping[str, Any]) -> str:
    scenario = metadata.get("scenario")
    name = scenario.get("name") if isinstance(scenario, Mapping) else scenario
    return str(name or metadata.get("stage") or "run")


def _parameter(metadata: Mapping[str, Any], name: str) -> Any:
    """A parameter of the run, which may stand with its origin."""
    for part in ("parameters", "config"):
        if name in (values := _part(metadata, part)):
            value = values[name]
            return value.get("value") if isinstance(value, Mapping) else value
    return None


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or as much of their paths as tells them apart."""
    parts = [folder.resolve().parts[1:] for folder in folders]
    deepest = max(map(len, parts), default=1)
    depth = next((n for n in range(1, deepest) if len({part[-n:] for part in parts}) == len(parts)), deepest)
    return ["/".join(part[-depth:]) for part in parts]
