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
from ptypinn.runs.jobs.task import reason_of
from ptypinn.scale import LedgerEntry
from ptypinn.studies.run_record import RunRecord, find_runs, read_run
from ptypinn.studies.twin_ambiguity import limits_of
from ptypinn.utils.progress import Progress, silent
from ptypinn.utils.serialise import count, flag, number, text, to_plain

SCHEMA_VERSION = 1
FIGURES = ("output_vs_truth_ratio", "complex_error", "pearson_r_amplitude", "pearson_r_phase", "frc_half_bit_px")
PARITY = {"scale_match_pct": number, "scale_discrepancy_flag": flag, "amplification_ratio": number}
UNSEEN = {"pixels": count, "output_vs_truth_ratio": number, "pearson_r_amplitude": number}
HEALTH = {"epochs_completed": count, "stopped_early": flag, "nan_count": count}
SCALING = {"source": text, "factor": number}
"""Fields of a record that a row repeats, with their kinds."""
ODD = (InputError, OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What a run that is damaged, foreign or of another version may give rise to."""


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
    rows: list[dict[str, Any]] = []
    for done, folder in enumerate(folders):
        report("read", done, len(folders))
        try:
            run = read_run(folder, config.lit_fraction)
            rows.append(row_of(run, folder.name))
            runs.append(run)
        except ODD as error:
            skipped.append(Skipped(str(folder), reason_of(error)))
    if not runs:
        found = "; ".join(line.reason for line in skipped) or "no run folder in " + ", ".join(map(str, places))
        raise InputError("study report", "runs", found, "at least one finished run of a simulated scan")
    report("read", len(folders), len(folders))
    names = _names([run.folder for run in runs])
    rows = [{**row, "run": name} for row, name in zip(rows, names, strict=True)]
    return BiasSummary(rows, runs, skipped, limits_of(rows, [run.metadata for run in runs]))


def row_of(run: RunRecord, name: str) -> dict[str, Any]:
    """One run in plain values; what its record does not say, or not as it should, is None."""
    metadata, metrics, comparison = run.metadata, run.evaluation.metrics, run.evaluation.comparison
    assert comparison is not None
    return {
        "run": name,
        "folder": str(run.folder),
        "scenario": _scenario(metadata),
        "model": text(_parameter(metadata, "model")),
        "gridsize": count(_parameter(metadata, "gridsize")),
        "photons": number(_parameter(metadata, "nphotons")),
        **{key: number(metrics.get(key)) for key in FIGURES},
        "unseen": _fields(_part(metadata, "unseen"), UNSEEN),
        **bias_of(comparison),
        "scale_parity": _fields(_part(metadata, "forward_pass_diagnostics"), PARITY),
        "prediction_scale": _fields(_part(metadata, "prediction_scale") or _kept_scale(run), SCALING),
        "stage_ratios": stage_ratios(run.recon.scale),
        "non_finite": {"object": run.non_finite, **_non_finite(run.recon.scale)},
        "training_health": _fields(_part(metadata, "training_health"), HEALTH),
        "verdict": text(_part(metadata, "diagnosis").get("verdict")),
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
            ratio = number(float(entry.discrepancy))
        except ODD:  # of another version
            continue
        rows.append({"stage": str(entry.stage), "ratio": ratio, "on_path": bool(entry.on_path)})
    return rows


def _kept_scale(run: RunRecord) -> Mapping[str, Any]:
    """Source and factor of the prediction scaling, as the reconstruction keeps them."""
    kept = getattr(run.recon, "prediction_scale", None)
    return kept if isinstance(kept, Mapping) else {}


def _spread(values: np.ndarray) -> dict[str, float]:
    if not (values.size and np.isfinite(values).all()):
        raise ValueError("no finite difference from the truth on the compared pixels")
    low, median, high = (float(value) for value in np.percentile(values, [5, 50, 95]))
    return {"mean": float(values.mean()), "median": median, "p05": low, "p95": high}


def _non_finite(ledger: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Values that are not finite by stage, for the stages that had any."""
    found: dict[str, int] = {}
    for record in ledger:
        stats = record.get("stats") if isinstance(record, Mapping) else None
        bad = count(stats.get("non_finite")) if isinstance(stats, Mapping) else None
        if bad:
            found[str(record.get("stage"))] = bad
    return found


def _fields(part: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Fields of a part of a record, each as its kind says."""
    return {name: kind(part.get(name)) for name, kind in kinds.items()}


def _part(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = metadata.get(name)
    return part if isinstance(part, Mapping) else {}


def _scenario(metadata: Mapping[str, Any]) -> str:
    scenario = metadata.get("scenario")
    name = scenario.get("name") if isinstance(scenario, Mapping) else scenario
    return text(name) or text(metadata.get("stage")) or "run"


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
