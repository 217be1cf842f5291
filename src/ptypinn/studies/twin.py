"""What a real, symmetric probe cannot tell: the object of a pattern from its mirror image."""

from __future__ import annotations

import numpy as np

from ptypinn.data.scan import ScanData
from ptypinn.evaluate import Evaluation
from ptypinn.metrics.image import pearson_r
from ptypinn.studies.scenario import Scenario

SYMMETRIC = 0.999
LIMIT = (
    "The probe is real and symmetric. A pattern of a real object is then the same as that of the object mirrored "
    "through the probe's centre (the twin), so that nothing in a single pattern tells the two apart, and the best "
    "estimate of a patch is the mean of both. Where neighbours overlap the mirrored halves average out, since every "
    "position mirrors about another centre: patches of the true object, each averaged with its twin and merged as the "
    "network's are, correlate with the truth by {bound:.3f} here; the network reaches {reached:.3f}."
)


def twin_bound(scan: ScanData, patterns: np.ndarray, mask: np.ndarray) -> float | None:
    """Correlation with the truth of the true patches, each averaged with its mirror image, merged by illumination.

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


def limits_of(scenario: Scenario, scan: ScanData, evaluation: Evaluation) -> list[str]:
    """What limits a scenario, in sentences with measured figures; nothing where no limit is known."""
    comparison, reached = evaluation.comparison, evaluation.metrics.get("pearson_r_amplitude")
    single = scenario.value("gridsize") == 1 and symmetry(scan.require_probe()) > SYMMETRIC
    if not single or comparison is None or reached is None or scan.truth is None:
        return []
    if comparison.reference.shape != scan.truth.shape:
        return []
    coordinate = scan.positions_px[:, 0]
    held_out = np.flatnonzero(coordinate > np.quantile(coordinate, scenario.value("split_fraction")))
    bound = twin_bound(scan, held_out, comparison.alignment.mask)
    return [] if bound is None else [LIMIT.format(bound=bound, reached=reached)]


def symmetry(probe: np.ndarray) -> float:
    """Overlap of a probe with its conjugate mirror image, 0 to 1: 1 for a real, symmetric probe."""
    mirrored = np.stack([_mirrored(mode) for mode in probe.astype(np.complex128)]).conj()
    return float(abs(np.vdot(mirrored, probe)) / np.vdot(probe, probe).real)


def _mirrored(patch: np.ndarray) -> np.ndarray:
    """A patch mirrored through pixel `size // 2`; the first row and column, which have no partner, stay."""
    mirrored = patch.copy()
    mirrored[1:, 1:] = patch[1:, 1:][::-1, ::-1]
    return mirrored
