"""A reconstruction beside what it is compared with: cut to the frame they share, and aligned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.alignment import Alignment, align, add_ramp

SMALLEST_REGION_PX = 8


@dataclass(frozen=True)
class Comparison:
    """A reconstruction and a reference cut to the frame they share, aligned."""

    alignment: Alignment
    """The aligned object and the mask of compared pixels."""
    reference: Complex[np.ndarray, "height width"]
    """The reference on the shared frame."""
    origin_px: tuple[int, int]
    """Where the shared frame's pixel (0, 0) lies in the coordinates of the scan's positions, pixels."""
    kind: str
    """What the reference is: `truth`, `reference`, or `half` of the same scan."""


def compare(
    recon: Reconstruction, scan: ScanData | None, reference: Reconstruction | None, config: EvaluateConfig
) -> Comparison | None:
    """A reconstruction beside a reference or, without one, beside the truth of its scan; None without either.

    Args:
        recon: What to judge.
        scan: The scan it was made from.
        reference: A reconstruction to compare with, rather than the scan's truth.
        config: Alignment and mask.

    Raises:
        InputError: Where they share no well-lit frame.
    """
    if reference is not None:
        return _comparison(recon, reference, _with_gauge(config, recon, reference), "reference")
    if scan is not None and scan.truth is not None:
        config, everywhere = _with_gauge(config, recon), np.ones(scan.truth.shape, bool)
        return _compare_arrays(recon, scan.truth, (0, 0), everywhere, config, "truth")
    return None


def compare_halves(one: Reconstruction, other: Reconstruction, config: EvaluateConfig) -> Comparison:
    """Reconstructions of two halves of a scan, free of ramp and shift.

    Args:
        one: Of the one half.
        other: Of the other half.
        config: Mask.

    Raises:
        InputError: Where they share no well-lit frame.
    """
    return _comparison(one, other, replace(config, remove_ramp=True, remove_shift=True), "half")


def lit_pixels(recon: Reconstruction, config: EvaluateConfig) -> np.ndarray:
    """The well-lit pixels of a reconstruction, (height, width).

    Raises:
        InputError: Where there are none.
    """
    found = recon.well_lit(config.lit_fraction)
    if not found.any():
        raise InputError("reconstruction", "illumination", "no lit pixel", "at least one pixel that the probe lit")
    return found


def _with_gauge(config: EvaluateConfig, *compared: Reconstruction) -> EvaluateConfig:
    """The configuration with ramp and shift decided: removed where any of the compared leaves them undetermined."""
    free = any(_is_free(recon) for recon in compared)
    ramp, shift = (free if choice is None else choice for choice in (config.remove_ramp, config.remove_shift))
    return replace(config, remove_ramp=ramp, remove_shift=shift)


def _is_free(recon: Reconstruction) -> bool:
    """Whether probe or positions were solved for with the object: the counts then fix neither ramp nor shift."""
    record = recon.provenance
    config, model = (record.get(name) or {} for name in ("config", "model"))
    if "trained_probe" in model:  # a network of one scan, which leaves probe and positions as they are
        return bool(model["trained_probe"])
    return bool(config.get("refine_probe") or config.get("refine_positions"))


def _comparison(recon: Reconstruction, reference: Reconstruction, config: EvaluateConfig, kind: str) -> Comparison:
    return _compare_arrays(recon, reference.object, reference.origin_px, lit_pixels(reference, config), config, kind)


def _compare_arrays(
    recon: Reconstruction,
    reference: np.ndarray,
    origin: tuple[int, int],
    reference_lit: np.ndarray,
    config: EvaluateConfig,
    kind: str,
) -> Comparison:
    """Cut both to the frame they share and align."""
    start = np.maximum(recon.origin_px, origin)
    stop = np.minimum(np.add(recon.origin_px, recon.object.shape), np.add(origin, reference.shape))
    if (stop - start < SMALLEST_REGION_PX).any():
        found = f"an object at {recon.origin_px} of {recon.object.shape} pixels"
        raise InputError(kind, "frame", found, f"an overlap with the {kind} at {origin} of {reference.shape} pixels")
    ours, theirs = (tuple(slice(*s) for s in zip(start - o, stop - o, strict=True)) for o in (recon.origin_px, origin))
    mask = lit_pixels(recon, config)[ours] & reference_lit[theirs]
    if not mask.any():
        raise InputError(kind, "illumination", "no pixel lit in both", "a common well-lit region")
    ramp, shift = bool(config.remove_ramp), bool(config.remove_shift)
    target = _level(reference[theirs], mask) if ramp and kind != "truth" else reference[theirs]
    alignment = align(recon.object[ours], target, mask, ramp=ramp, shift=shift)
    return Comparison(alignment, target, (int(start[0]), int(start[1])), kind)


def _level(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A reconstruction without its own phase ramp: it means nothing, but two phases that share one correlate."""
    y, x = align(np.ones_like(image), image, mask, ramp=True).ramp_rad_per_px
    return add_ramp(image, (-y, -x))
