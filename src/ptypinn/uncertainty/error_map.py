"""How far each pixel of a reconstructed object may be off: an expected error from light and misfit.

The variance of the complex transmission at pixel r is

    sigma^2(r) = noise * s / I(r) + misfit * m(r)

- `I(r)` are the photons that illuminated the pixel and were seen: no unbiased estimate is better than `1 / I`
  (`ptypinn.metrics.shot_noise`).
- `s` is the share of the object's Fourier components that stand above that noise. A solver that stops early, or a
  network that smooths, leaves the others out of the picture, and their noise with them.
- `m(r)` is what the patterns around the pixel leave unexplained. A change dO of the object changes the amplitudes of a
  far field by `sum abs(P dO)^2 / 2`, half of it being phase. An estimate that fits the noise in a share `s` of the
  components leaves a residual of `N - s sum abs(P)^2 / (2 I)`, `N` being the counting noise; what is above that is an
  error of the object (or of probe, positions, coherence). It is spread over the canvas with the probe's power.

Both constants are measured on simulations, where the error is known (`benchmarks/uncertainty.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float32, Float64, Int64
from scipy import fft

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.reconstruction import DataFit
from ptypinn.metrics.summary import metric_warnings
from ptypinn.physics.patches import add_patches
from ptypinn.uncertainty.training_domain import traits_of, unfamiliar

Map = Float32[np.ndarray, "height width"]
Canvas = Complex64[np.ndarray, "height width"]

TILE_PX = 256
"""Edge of the tiles over which the object's spectrum is averaged: bounds the memory."""
BATCH = 256
"""Patterns that are put on the canvas at once."""
BEYOND = 1e3
"""Largest noise variance in units of the object's mean square: nothing is known of a pixel long before."""
DIMMEST = 1e-3
"""Light below this share of the typical light counts as this share in the mean noise."""
NO_LIGHT = 1e-12
"""Light below this share of the brightest is rounding, as probes with a sharp edge leave it."""


@dataclass(frozen=True)
class Constants:
    """Measured weights of the two parts of the variance."""

    noise: float
    """Of counting noise: how far a solver stays above the best possible."""
    misfit: float
    """Of unexplained misfit: errors that change the patterns little, such as slow phases, are larger than they look."""


SOLVED = Constants(1.35, 2.75)
"""Of the iterative solver."""
LEARNED = Constants(0.9, 1.5)
"""Of the learned solver."""
POLISHED = Constants(1.1, 1.0)
"""Of the learned solver, polished by the iterative one."""


@dataclass(frozen=True)
class Uncertainty:
    """Expected error of an object, and the parts that make it."""

    sigma: Map
    """Expected standard deviation of the complex transmission; at most the object's own amplitude."""
    resolved_share: float
    """Share of the object's Fourier components that stand above the counting noise."""
    constants: Constants
    """Weights of the parts."""


def constants_of(recon: Reconstruction) -> Constants:
    """The constants of the solver that made a reconstruction."""
    record = recon.provenance
    if record.get("solver") != "learned":
        return SOLVED
    return POLISHED if "polish" in record else LEARNED


def uncertainty_of(recon: Reconstruction, scan: ScanData, fit: DataFit) -> Uncertainty:
    """The expected error of every pixel of a reconstruction.

    Args:
        recon: The reconstruction.
        scan: The patterns that it was made from.
        fit: Its agreement with their counts.
    """
    constants, most = constants_of(recon), _power(recon)
    share, noise, misfit = parts_of(recon, scan, fit)
    variance = np.minimum(constants.noise * noise + constants.misfit * misfit, most)
    return Uncertainty(np.sqrt(variance).astype(np.float32), share, constants)


def parts_of(recon: Reconstruction, scan: ScanData, fit: DataFit) -> tuple[float, Map, Map]:
    """The resolved share, and the two parts of the variance before they are weighted: `s / I` and `m`."""
    light = recon.illumination * np.float32(seen_share(scan, fit))
    share = resolved_share(recon.object, light)
    least = np.maximum(light, share / (BEYOND * _power(recon)), dtype=np.float32)
    noise = np.divide(share, least, out=np.zeros_like(light), where=least > 0)
    return share, noise, np.maximum(unexplained(recon, scan, fit) + noise, 0, dtype=np.float32)


def seen_share(scan: ScanData, fit: DataFit) -> float:
    """Share of the predicted photons that fall on good pixels."""
    total = float(fit.predicted_map.sum())
    return float(fit.predicted_map[scan.good].sum()) / total if total > 0 else 1.0


def unexplained(recon: Reconstruction, scan: ScanData, fit: DataFit) -> Map:
    """Twice the misfit beyond counting noise, per photon, as patterns around each pixel have it; may be negative."""
    power = np.square(np.abs(recon.probe)).sum(0)
    excess = (fit.per_pattern_residual - fit.per_pattern_expected) * fit.per_pattern_photons
    values = 2 * excess / (float(power.sum(dtype=np.float64)) * seen_share(scan, fit) or 1.0)
    spread = _on_canvas(power, recon.positions_px, values, recon.object.shape)
    light = recon.illumination
    return np.divide(spread, light, out=np.zeros_like(spread), where=light > NO_LIGHT * light.max())


def resolved_share(object_: Canvas, light: Map) -> float:
    """Share of the Fourier components of an object that stand above the noise of its photons.

    Ring by ring, the power of the object over that of noise of variance `1 / light`, counted as 1 where it is more;
    a mean over overlapping windows (Welch 1967).
    """
    lit = light[light > 0]
    if not lit.size:
        return 1.0
    typical = float(np.percentile(lit, 95))
    ring = _rings(min(TILE_PX, length) for length in object_.shape)
    power, noise = np.zeros(ring.max() + 1), 0.0
    for part in _tiles(object_.shape):
        weight = _window(object_[part].shape) * np.minimum(light[part] / typical, 1)
        if not weight.sum() > 0:
            continue
        level = (weight * object_[part]).sum() / weight.sum()
        spectrum = fft.fft2((weight * (object_[part] - level)).astype(np.complex64))
        power += np.bincount(ring.ravel(), np.abs(spectrum).ravel() ** 2)
        noise += float((weight**2 / np.maximum(light[part], DIMMEST * typical)).sum(dtype=np.float64))
    size = np.bincount(ring.ravel())
    return float((size * np.minimum(power / size / noise, 1)).sum() / size.sum()) if noise > 0 else 1.0


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Windows of one size that cover a canvas with half of each in the next."""
    edges = [min(TILE_PX, length) for length in shape]
    starts = [
        sorted({min(first, length - edge) for first in range(0, length, max(edge // 2, 1))})
        for edge, length in zip(edges, shape, strict=True)
    ]
    for y in starts[0]:
        for x in starts[1]:
            yield slice(y, y + edges[0]), slice(x, x + edges[1])


def _window(shape: tuple[int, ...]) -> Float64[np.ndarray, "height width"]:
    return np.outer(*(np.hanning(length + 2)[1:-1] for length in shape))


def _rings(edges: Iterable[int]) -> Int64[np.ndarray, "height width"]:
    """Number of the ring that every Fourier component is in, without a gap between the rings."""
    shape = tuple(edges)
    frequency = np.hypot(*np.ix_(*(np.fft.fftfreq(length) for length in shape)))
    return np.rint(frequency * min(shape)).astype(np.int64)


def _on_canvas(
    power: Float32[np.ndarray, "y x"],
    positions_px: Float64[np.ndarray, "patterns 2"],
    values: Float64[np.ndarray, " patterns"],
    shape: tuple[int, ...],
) -> Map:
    """Sum of the probe's power times a value per pattern, over the patterns."""
    height, width = shape
    canvas, light = torch.zeros((1, height, width)), torch.from_numpy(power)
    corners = torch.from_numpy(np.rint(positions_px).astype(np.int64))
    factors = torch.from_numpy(values.astype(np.float32))
    for some, part in zip(torch.split(factors, BATCH), torch.split(corners, BATCH), strict=True):
        add_patches(canvas, (some[:, None, None] * light)[None], part[None])
    return canvas[0].numpy()


def _power(recon: Reconstruction) -> float:
    """Mean square of the object where it was lit."""
    lit = recon.illumination > 0
    return float(np.mean(np.abs(recon.object[lit]) ** 2, dtype=np.float64)) if lit.any() else 1.0


WORSE, ABOVE_NOISE = 1.1, 1.2
"""A correction harms where it raises the residual by a tenth, to a fifth above counting noise or more."""


def with_trust(
    recon: Reconstruction,
    scan: ScanData,
    fit: DataFit,
    card: Mapping[str, Any] | None = None,
    *,
    residual_before: float | None = None,
) -> Reconstruction:
    """A reconstruction with its uncertainty map, and with its warnings in `provenance["trust"]`.

    Args:
        recon: The reconstruction.
        scan: The scan that it was made from, or the part of it.
        fit: Agreement of the reconstruction with the counts.
        card: Model card of the network's weights, for what they saw; None where no network took part.
        residual_before: Amplitude residual before the network's last correction, where it was measured.

    Raises:
        InputError: Where the scan has other patterns.
    """
    part = recon.scan_part(scan)
    found = uncertainty_of(recon, part, fit)
    traits = traits_of(part, recon.probe)
    polished = "polish" in recon.provenance
    warnings = [*unfamiliar(traits, card or {}, polished=polished), *harmed(fit, residual_before)]
    record = {
        "warnings": warnings,
        "fit_warnings": metric_warnings(fit.metrics(), fit),
        "resolved_share": found.resolved_share,
        "constants": asdict(found.constants),
        "traits": traits,
    }
    return replace(recon, uncertainty=found.sigma, provenance={**recon.provenance, "trust": record})


def harmed(fit: DataFit, residual_before: float | None) -> list[str]:
    """A sentence where the network's correction made the data fit worse, beyond what counting noise explains."""
    now = fit.amplitude_residual
    if residual_before is None or now < WORSE * residual_before or now < ABOVE_NOISE * fit.expected_residual:
        return []
    return [
        f"The network's last correction made the data fit worse: the residual rose from {residual_before:.3g} to "
        f"{now:.3g}. Compare with `ptypinn refine`, or polish this result (--polish 30)."
    ]


def warnings_of(recon: Reconstruction, *, with_fit: bool) -> list[str]:
    """Warnings that a reconstruction carries.

    Args:
        recon: The reconstruction, possibly from a file.
        with_fit: Those about its agreement with the counts too; for where the counts are not at hand.
    """
    record = recon.provenance.get("trust")
    if not isinstance(record, Mapping):
        return []
    names = ("warnings", "fit_warnings") if with_fit else ("warnings",)
    return [str(text) for name in names for text in record.get(name) or [] if isinstance(text, str)]
