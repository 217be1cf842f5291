"""The twin ambiguity of a real, symmetric probe: an object and its mirror image give the same pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ptypinn.data.scan import ScanData
from ptypinn.metrics.image import pearson_r
from ptypinn.models.model_file import PatchModel
from ptypinn.physics.propagation import to_fft_order
from ptypinn.stages.evaluate import Evaluation
from ptypinn.studies.scenario import Scenario
from ptypinn.utils.plain_values import text

SYMMETRIC, MAX_PATTERNS, CORE = 0.999, 64, 0.3
"""Minimum overlap of a symmetric probe; patches to compare; minimum fraction of the probe's peak to compare."""
LIMIT_NOTE = (
    "The probe is real and symmetric. A pattern of a real object is then the same as that of the object mirrored "
    "through the probe's centre (the twin), so that a single pattern does not distinguish the two, and the best "
    "estimate of a patch is the mean of both. Where neighbours overlap the mirrored halves average out, since every "
    "position mirrors about another centre: patches of the true object, each averaged with its twin and merged as the "
    "network's are, correlate with the truth by {bound:.3f} here; the network reaches {reached:.3f}."
)

PATCH_NOTE = (
    " Single patches of the network show it: they correlate with the true patch by {own:.3f}, with its "
    "mirror image by {twin:.3f}, and with the mean of both by {both:.3f}."
)


@dataclass(frozen=True)
class PatchCorrelation:
    """Mean correlation of single patches, as a network predicts them, under the probe."""

    own: float
    """With the true patch."""
    twin: float
    """With its mirror image through the probe's centre."""
    both: float
    """With the mean of the two."""


def compare_patches(scan: ScanData, bundle: PatchModel, patterns: np.ndarray) -> PatchCorrelation:
    """Compare single patches of a network of single patterns with the truth and its mirror image.

    Args:
        scan: A scan with a real truth and its calibrated probe.
        bundle: The trained network, gridsize 1.
        patterns: Patterns to compare.
    """
    assert scan.truth is not None
    probe, truth = scan.require_probe(), np.abs(scan.truth).astype(np.float64)
    predictor = bundle.predictor(torch.from_numpy(probe), to_fft_order(torch.from_numpy(scan.good)))
    counts = to_fft_order(torch.from_numpy(np.asarray(scan.counts[patterns], np.float32)))
    with torch.inference_mode():
        patches = predictor.patches(counts[:, None])[:, 0].abs().double().numpy()
    intensity = (np.abs(probe).astype(np.float64) ** 2).sum(0)
    core, rows = intensity > CORE * intensity.max(), []
    for patch, (y, x) in zip(patches, np.round(scan.positions_px[patterns]).astype(int), strict=True):
        own = truth[y : y + scan.size, x : x + scan.size]
        images = (own, _mirrored(own), 0.5 * (own + _mirrored(own)))
        rows.append([pearson_r(patch[core], image[core]) or 0.0 for image in images])
    own_r, twin_r, both_r = np.mean(rows, 0)
    return PatchCorrelation(float(own_r), float(twin_r), float(both_r))


def twin_bound(scan: ScanData, patterns: np.ndarray, mask: np.ndarray) -> float | None:
    """Merge the true patches, each averaged with its mirror image, and return their correlation with the truth.

    Positions are rounded to whole pixels, which blurs nothing: truth and mirror image are cut at the same place.

    Args:
        scan: A scan with a real truth.
        patterns: Patterns to merge.
        mask: Pixels of the truth to compare.
    """
    assert scan.truth is not None
    truth, size = np.abs(scan.truth).astype(np.float64), scan.size
    weight = (np.abs(scan.require_probe()).astype(np.float64) ** 2).sum(0)
    total, weights = np.zeros(truth.shape), np.zeros(truth.shape)
    for y, x in np.round(scan.positions_px[patterns]).astype(int):
        place = slice(y, y + size), slice(x, x + size)
        patch = truth[place]
        total[place] += weight * 0.5 * (patch + _mirrored(patch))
        weights[place] += weight
    merged = total / np.where(weights > 0, weights, 1.0)
    return pearson_r(merged[mask], truth[mask])


def describe_limits(
    scenario: Scenario, scan: ScanData, evaluation: Evaluation, bundle: PatchModel | None = None
) -> list[str]:
    """Describe the limits of a scenario in sentences with measured values; an empty list where none is known.

    Args:
        scenario: The scenario.
        scan: The whole scan, with its truth.
        evaluation: The half held out, compared with the truth.
        bundle: The trained network, for its single patches; None where it cannot be read.
    """
    comparison, reached = evaluation.comparison, evaluation.metrics.get("pearson_r_amplitude")
    single = scenario.value("gridsize") == 1 and symmetry(scan.require_probe()) > SYMMETRIC
    if not single or comparison is None or reached is None or scan.truth is None:
        return []
    if comparison.reference.shape != scan.truth.shape:
        return []
    coordinate = scan.positions_px[:, 0]
    held_out = np.flatnonzero(coordinate > np.quantile(coordinate, scenario.value("split_fraction")))
    bound = twin_bound(scan, held_out, comparison.alignment.mask)
    if bound is None:
        return []
    text = LIMIT_NOTE.format(bound=bound, reached=reached)
    if bundle is not None:
        text += PATCH_NOTE.format(**asdict(compare_patches(scan, bundle, held_out[:MAX_PATTERNS])))
    return [text]


def symmetry(probe: np.ndarray) -> float:
    """Return the overlap of a probe with its conjugate mirror image, 0 to 1: 1 for a real, symmetric probe.

    Args:
        probe: Modes, (mode, y, x), complex, zero position at pixel `size // 2`.

    >>> symmetry(np.ones((1, 5, 5), np.complex64))
    1.0
    """
    mirrored = np.stack([_mirrored(mode) for mode in probe.astype(np.complex128)]).conj()
    return float(abs(np.vdot(mirrored, probe)) / np.vdot(probe, probe).real)


def _mirrored(patch: np.ndarray) -> np.ndarray:
    """Mirror a patch through pixel `size // 2`; the first row and column, which have no partner, stay."""
    mirrored = patch.copy()
    mirrored[1:, 1:] = patch[1:, 1:][::-1, ::-1]
    return mirrored


COMPARISON_NOTE = (
    "gs1_ideal reaches a correlation of {own:.3f} where {better} reaches {other:.3f}. Its probe is real and symmetric, "
    "and its input is one pattern at a time: an object and its conjugate mirrored through the probe's centre make the "
    "same pattern there, so that a network cannot distinguish them. Neighbouring patterns (gs2_ideal) or the "
    "curvature of a real beam (gs1_custom) break the tie."
)
MIN_GAIN = 0.01
"""Minimum excess of correlation of another scenario for the note to be given."""


def collect_limits(rows: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Collect sentences on the limits of the runs: those in their records, else those that their metrics show.

    Args:
        rows: Summaries of the runs.
        records: Their `run_metadata.json`, in the same order.
    """
    noted: dict[str, list[str]] = {}
    for row, record in zip(rows, records, strict=True):
        for note in _noted(record):
            noted.setdefault(note, []).append(row["run"])
    return [f"{', '.join(runs)}: {note}" for note, runs in noted.items()] or _shown(rows)


def _noted(record: Mapping[str, Any]) -> list[str]:
    notes = record.get("limits") or record.get("limitation") or []
    notes = [notes] if isinstance(notes, str) else notes if isinstance(notes, list) else []
    return [note for note in map(text, notes) if note]


def _shown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    best: dict[str, float] = {}
    for row in rows:
        if row.get("pearson_r_amplitude") is not None:
            best[row["scenario"]] = max(row["pearson_r_amplitude"], best.get(row["scenario"], -1.0))
    own = best.pop("gs1_ideal", None)
    others = {name: value for name, value in best.items() if name in ("gs2_ideal", "gs1_custom")}
    if own is None or not others:
        return []
    better = max(others, key=lambda name: others[name])
    return (
        [COMPARISON_NOTE.format(own=own, better=better, other=others[better])]
        if others[better] > own + MIN_GAIN
        else []
    )
