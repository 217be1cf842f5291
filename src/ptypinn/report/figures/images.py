"""Images of a reconstruction with their colour scales, for panels of pages and for figures alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import phase_difference
from ptypinn.metrics.comparison import Comparison
from ptypinn.metrics.image import bounding_box
from ptypinn.physics.optics import mode_photons
from ptypinn.report.figures.colours import (
    AMPLITUDE_MAP,
    COUNTS_MAP,
    DIFFERENCE_MAP,
    ColourScale,
    amplitude_scale,
    difference_scale,
    phase_scale,
    positive_scale,
    turn_scale,
)
from ptypinn.report.figures.display import ObjectView, VisibleRegion, bin_image, choose_binning
from ptypinn.report.text.scan import name_quanta

MAX_MODES = 5
"""Probe modes that are drawn, strongest first."""
PROBE_PHASE_FLOOR = 0.03
"""The phase of a probe mode is drawn where its amplitude exceeds this fraction of the largest."""
DETAIL_PX = 512
"""Longest edge of the images beside the object."""


@dataclass(frozen=True)
class ScaledImage:
    """An image with its title, its colours and the size of its pixels."""

    title: str
    """A few words."""
    image: np.ndarray
    """Real values, (height, width); NaN where there is none."""
    scale: ColourScale
    """Colour map and its limits."""
    binning: int = 1
    """Object pixels along the edge of a pixel."""


def object_images(view: ObjectView) -> list[ScaledImage]:
    """Return amplitude and phase, their colours spread over the well-illuminated pixels."""
    mask = view.reference_mask
    return [
        ScaledImage("Amplitude", view.amplitude, amplitude_scale(view.amplitude[mask]), view.binning),
        ScaledImage("Phase", view.phase, phase_scale(view.phase[mask]), view.binning),
    ]


def probe_images(probe: np.ndarray, quanta: str = "photons") -> list[tuple[ScaledImage, ScaledImage]]:
    """Return amplitude and phase of the strongest modes; the phase where the amplitude is large enough.

    Args:
        probe: Modes, (mode, y, x).
        quanta: What the counts are of, `photons` or `electrons`.
    """
    pairs = []
    for number, fraction in enumerate(mode_fractions(probe)[:MAX_MODES], start=1):
        mode = probe[number - 1].astype(np.complex128)
        amplitude = np.abs(mode)
        bright = amplitude > PROBE_PHASE_FLOOR * amplitude.max()
        scale = ColourScale(AMPLITUDE_MAP, 0.0, max(float(amplitude.max()), 1e-12), f"√{quanta}")
        first = ScaledImage(f"Mode {number}: {100 * fraction:.1f} %", amplitude, scale)
        pairs.append((first, ScaledImage("Phase", np.where(bright, np.angle(mode), np.nan), turn_scale())))
    return pairs


def mode_fractions(probe: np.ndarray) -> np.ndarray:
    """Return the fraction of the probe's photons in every mode.

    >>> mode_fractions(np.array([[[3.0 + 0j]], [[1.0]]])).tolist()
    [0.9, 0.1]
    """
    photons = mode_photons(probe)
    return np.asarray(photons / max(photons.sum(), 1e-300))


def comparison_images(comparison: Comparison, *, equal_spans: bool = False) -> list[list[ScaledImage]]:
    """Return reference, reconstruction and difference of amplitude, and of phase; the first two share one scale.

    Args:
        comparison: The aligned object beside its reference.
        equal_spans: The difference spans as many units as the other two, rather than its own values.
    """
    mask, box = comparison.alignment.mask, bounding_box(comparison.alignment.mask)
    region, fields = mask[box], [comparison.reference[box], comparison.alignment.image[box]]
    binning = choose_binning(region.shape, DETAIL_PX)
    names = [comparison.kind.capitalize(), "Reconstruction"]
    amplitudes = [bin_image(field, binning, region, np.abs) for field in fields]
    target, image = (bin_image(field, binning, region) for field in fields)
    finite = np.isfinite(target)
    centre = np.exp(-1j * np.angle(target[finite].sum()))
    phases = [np.where(finite, np.angle(field * centre), np.nan) for field in (target, image)]
    kinds = (
        ("amplitude", amplitudes, amplitude_scale(np.stack(amplitudes)), amplitudes[1] - amplitudes[0]),
        ("phase", phases, phase_scale(np.stack(phases)), np.where(finite, phase_difference(image, target), np.nan)),
    )
    rows = []
    for name, pair, scale, error in kinds:
        row = [ScaledImage(f"{who}: {name}", one, scale, binning) for who, one in zip(names, pair, strict=True)]
        rows.append(
            [*row, ScaledImage(f"Difference of {name}", error, _error_scale(error, scale, equal_spans), binning)]
        )
    return rows


def _error_scale(error: np.ndarray, scale: ColourScale, equal_spans: bool) -> ColourScale:
    """Return the scale of a difference between two images that share a scale."""
    if not equal_spans:
        return difference_scale(error, scale.unit)
    reach = (scale.high - scale.low) / 2
    return ColourScale(DIFFERENCE_MAP, -reach, reach, scale.unit)


def illumination_image(recon: Reconstruction, region: VisibleRegion) -> ScaledImage:
    """Return the photons on every object pixel over the scan."""
    illumination, binning = recon.illumination[region.box], choose_binning(region.visible.shape, DETAIL_PX)
    photons = bin_image(illumination, binning, illumination > 0)
    return ScaledImage(
        "Illumination", photons, positive_scale(photons, f"{name_quanta(recon)} per pixel", COUNTS_MAP), binning
    )


def uncertainty_image(recon: Reconstruction, region: VisibleRegion) -> ScaledImage | None:
    """Return the expected error of the transmission of every object pixel; None where it was not estimated."""
    if recon.uncertainty is None:
        return None
    binning = choose_binning(region.visible.shape, DETAIL_PX)
    sigma = bin_image(recon.uncertainty[region.box], binning, region.visible)
    return ScaledImage("Uncertainty of the transmission", sigma, positive_scale(sigma, name=AMPLITUDE_MAP), binning)
