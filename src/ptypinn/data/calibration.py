"""Scale a probe of arbitrary scale to absolute photons, once, by a named rule, and record the factor."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Complex, Float32, Float64

from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.optics import far_field_intensity, probe_photons

CalibrationRule = Literal["mean", "p99"]
MIN_FRACTION = 0.01
"""Minimum fraction of the probe's photons on good pixels for a calibration by the counts."""
MAX_PHOTONS = 1e30
"""Maximum photons per pattern; more is a mistaken unit, and their squares exceed float32."""


def pattern_sums(scan: ScanData, batch: int = 256) -> np.ndarray:
    """Sum the photons on the good pixels of every pattern, background included, (M,), float64."""
    sums = np.empty(scan.n_patterns)
    for part, counts in scan.batches(batch):
        sums[part] = np.where(scan.good, counts, 0).sum((1, 2), dtype=np.float64)
    return sums


def calibrate_probe(scan: ScanData, rule: CalibrationRule = "mean", photons: float | None = None) -> ScanData:
    """Scale a relative probe to sqrt(photons); a calibrated probe is unchanged unless `photons` is given.

    Rules for the photons per pattern through vacuum, which a file with a relative probe does not state: `mean` takes
    the mean of the pattern sums (the object's mean transmitted intensity becomes 1), `p99` their 99th percentile (the
    most transparent places become vacuum). Both are sums over good pixels without the background, at a flux of 1 where
    a monitor shows that of the frames; they are divided by the fraction of the probe's own far field that falls on
    good pixels.

    Args:
        scan: A scan with a probe.
        rule: Rule to use.
        photons: Known photons per pattern through vacuum, instead of a rule.

    Returns:
        The scan with a calibrated probe and the rule and factor in `provenance["probe_calibration"]`.

    Raises:
        InputError: Where the scan has no probe, its patterns hold no photons, or the mask hides the direct beam; and
            where the photons are beyond anything that can be computed.
    """
    probe = scan.require_probe()
    power = probe_photons(probe)
    if scan.probe_gauge == "calibrated" and photons is None:
        _require_sane(scan, "probe", power)
        return scan
    target = photons if photons is not None else _photons_by_rule(scan, rule)
    if not target > 0:
        raise InputError(scan.source, "counts", f"{target} photons per pattern", "more than 0 to calibrate the probe")
    _require_sane(scan, "counts", target)
    factor = float(np.sqrt(target / power))
    record = {"rule": "given" if photons is not None else rule, "photons": float(target), "factor": factor}
    return scan.replace(
        probe=(probe * factor).astype(np.complex64),
        probe_gauge="calibrated",
        provenance={**scan.provenance, "probe_calibration": record},
    )


def take_background_out(scan: ScanData, background: Float32[np.ndarray, "y x"]) -> tuple[ScanData, float]:
    """Return a scan with another background, and the factor that scales its probe to the photons without it.

    Only a probe that was scaled to the photons of the patterns is scaled; where it is, divide the object by the factor.

    Args:
        scan: Scan with a calibrated probe.
        background: Counts per pixel of every frame.
    """
    record = scan.provenance.get("probe_calibration", {})
    scan, before = scan.replace(background=background), scan.background
    if record.get("rule") not in get_args(CalibrationRule):
        return scan, 1.0
    added = background_photons(scan, background) - background_photons(scan, before)
    photons = record["photons"] - added / _fraction_on_good_pixels(scan)
    factor = float(np.sqrt(photons / record["photons"]))
    record = {**record, "photons": photons, "factor": record["factor"] * factor}
    probe = (scan.require_probe() * factor).astype(np.complex64)
    return scan.replace(probe=probe, provenance={**scan.provenance, "probe_calibration": record}), factor


def background_photons(scan: ScanData, background: Float32[np.ndarray, "y x"] | None) -> float:
    """Return the photons of a background on good pixels, per frame; 0 for none."""
    return 0.0 if background is None else float(background[scan.good].sum(dtype=np.float64))


def measure_fraction(scan: ScanData, background: Float32[np.ndarray, "y x"]) -> float:
    """Return the photons of a background over those measured, on good pixels."""
    return background_photons(scan, background) / max(float(pattern_sums(scan).mean()), 1e-30)


def _require_sane(scan: ScanData, field: str, photons: float) -> None:
    if not photons <= MAX_PHOTONS:
        actual = f"{photons:.3g} photons per pattern"
        raise InputError(scan.source, field, actual, f"at most {MAX_PHOTONS:.0e}; are the units photons?")


def _photons_by_rule(scan: ScanData, rule: CalibrationRule) -> float:
    sums = pattern_sums(scan) - background_photons(scan, scan.background)
    if scan.flux is not None:
        sums = sums / scan.flux
    return float(sums.mean() if rule == "mean" else np.percentile(sums, 99)) / _fraction_on_good_pixels(scan)


def mean_photons(scan: ScanData) -> float:
    """Return the photons per pattern: the mean of the pattern sums, without the background, on all pixels."""
    return _photons_by_rule(scan, "mean")


def compute_vacuum_pattern(
    probe: Complex[np.ndarray, "mode y x"], fresnel_number: float | None = None
) -> Float64[np.ndarray, "y x"]:
    """Return the photons per pixel of a probe without a sample, zero frequency at N//2.

    Args:
        probe: Modes, sqrt(photons).
        fresnel_number: Of an object pixel, for a near-field scan; None for the far field.
    """
    if fresnel_number is None:
        return far_field_intensity(probe)
    import torch

    from ptypinn.physics.forward import forward_model
    from ptypinn.physics.propagation import to_centred

    model = forward_model(probe.shape[-1], fresnel_number)
    return to_centred(model.predict_vacuum(torch.from_numpy(probe.astype(np.complex128)))).numpy()


def _fraction_on_good_pixels(scan: ScanData) -> float:
    """Return the fraction of the probe's photons on good pixels without a sample, in (0, 1]."""
    if scan.good.all():
        return 1.0
    pattern = compute_vacuum_pattern(scan.require_probe(), scan.fresnel_number)
    fraction = float(pattern[scan.good].sum() / pattern.sum())
    if not fraction > MIN_FRACTION:
        expected = "good pixels in the direct beam, or --photons"
        raise InputError(scan.source, "mask", f"{fraction:.1%} of the probe's photons on good pixels", expected)
    return fraction
