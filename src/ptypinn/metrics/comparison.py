"""Comparison of a reconstruction with a truth or another reconstruction: common frame, alignment, mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.alignment import Alignment, add_ramp, align

MIN_REGION_PX = 8


@dataclass(frozen=True)
class Comparison:
    """A reconstruction and a reference cut to the frame they share, aligned."""

    alignment: Alignment
    """The aligned object and the mask of compared pixels."""
    reference: Complex[np.ndarray, "height width"]
    """The reference on the shared frame."""
    origin_px: tuple[int, int]
    """Coordinates of the shared frame's pixel (0, 0) in those of the scan's positions, pixels."""
    kind: str
    """Kind of the reference: `truth`, `reference`, or `half` of the same scan."""


def compare(
    recon: Reconstruction, scan: ScanData | None, reference: Reconstruction | None, config: EvaluateConfig
) -> Comparison | None:
    """Compare a reconstruction with a reference or, without one, with the truth of its scan; None without either.

    Args:
        recon: The reconstruction.
        scan: The scan it was made from.
        reference: A reconstruction to compare with, rather than the scan's truth.
        config: Alignment and mask.

    Raises:
        InputError: Where they share no well-illuminated frame.
    """
    if reference is not None:
        return _comparison(recon, reference, _with_gauge(config, recon, reference), "reference")
    if scan is not None and scan.truth is not None:
        config, everywhere = _with_gauge(config, recon), np.ones(scan.truth.shape, bool)
        return _compare_arrays(recon, scan.truth, (0, 0), everywhere, config, "truth")
    return None


def compare_halves(one: Reconstruction, other: Reconstruction, config: EvaluateConfig) -> Comparison:
    """Compare reconstructions of two halves of a scan, free of ramp and shift.

    Args:
        one: Of the one half.
        other: Of the other half.
        config: Mask.

    Raises:
        InputError: Where they share no well-illuminated frame.
    """
    return _comparison(one, other, replace(config, remove_ramp=True, remove_shift=True), "half")


def illuminated_pixels(recon: Reconstruction, config: EvaluateConfig) -> np.ndarray:
    """Return the well-illuminated pixels of a reconstruction, (height, width).

    Raises:
        InputError: Where there are none.
    """
    pixels = recon.well_illuminated(config.illumination_threshold)
    if not pixels.any():
        raise InputError("reconstruction", "illumination", "no illuminated pixel", "at least one pixel under the probe")
    return pixels


def _with_gauge(config: EvaluateConfig, *compared: Reconstruction) -> EvaluateConfig:
    """Return the configuration with ramp and shift decided: removed if any of the compared leaves them undetermined."""
    free = any(_is_free(recon) for recon in compared)
    ramp, shift = (free if choice is None else choice for choice in (config.remove_ramp, config.remove_shift))
    return replace(config, remove_ramp=ramp, remove_shift=shift)


def _is_free(recon: Reconstruction) -> bool:
    """Return True if probe or positions were solved for with the object: the counts then fix neither ramp nor shift."""
    if recon.has_solved("positions"):
        return True
    record = recon.provenance
    config, model = (record.get(name) or {} for name in ("config", "model"))
    if "trained_probe" in model:  # a network of one scan, which leaves probe and positions as they are
        return bool(model["trained_probe"])
    return bool(config.get("refine_probe") or config.get("refine_positions"))


def _comparison(recon: Reconstruction, reference: Reconstruction, config: EvaluateConfig, kind: str) -> Comparison:
    return _compare_arrays(
        recon, reference.object, reference.origin_px, illuminated_pixels(reference, config), config, kind
    )


def _compare_arrays(
    recon: Reconstruction,
    reference: np.ndarray,
    origin: tuple[int, int],
    reference_mask: np.ndarray,
    config: EvaluateConfig,
    kind: str,
) -> Comparison:
    """Cut both to the frame they share and align."""
    start = np.maximum(recon.origin_px, origin)
    stop = np.minimum(np.add(recon.origin_px, recon.object.shape), np.add(origin, reference.shape))
    if (stop - start < MIN_REGION_PX).any():
        frame = f"an object at {recon.origin_px} of {recon.object.shape} pixels"
        raise InputError(kind, "frame", frame, f"an overlap with the {kind} at {origin} of {reference.shape} pixels")
    ours, theirs = (tuple(slice(*s) for s in zip(start - o, stop - o, strict=True)) for o in (recon.origin_px, origin))
    mask = illuminated_pixels(recon, config)[ours] & reference_mask[theirs]
    if not mask.any():
        raise InputError(kind, "illumination", "no pixel illuminated in both", "a common well-illuminated region")
    ramp, shift = bool(config.remove_ramp), bool(config.remove_shift)
    target = _level(reference[theirs], mask) if ramp and kind != "truth" else reference[theirs]
    alignment = align(recon.object[ours], target, mask, ramp=ramp, shift=shift)
    return Comparison(alignment, target, (int(start[0]), int(start[1])), kind)


def _level(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Remove the phase ramp of a reconstruction: it is arbitrary, but two phases that share one correlate."""
    y, x = align(np.ones_like(image), image, mask, ramp=True).ramp_rad_per_px
    return add_ramp(image, (-y, -x))
