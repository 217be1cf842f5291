"""Causes and advice of findings, by the stage of the ledger; `{factor}` is measured over expected amplitude."""

from __future__ import annotations

from ptypinn.scale_audit.count_checks import AMPLITUDES, CLIPPED, OVERFLOW, SQUARES

UNKNOWN_CAUSE = "its output has {factor:.4g} times the expected amplitude"
SATURATED = "its output head is saturated: {fraction:.0%} of its outputs are at their ceiling"
EXPECTED_TIMES = "the object has {factor:.4g} times the expected amplitude"

CAUSES = {
    "loading": "the patterns hold {factor:.4g} times the amplitude that is on record",
    "mask": "pixels that never count are taken for good ones: the detector mask is applied on one side only",
    "transmitted amplitude": "photons and vacuum photons are not summed over the same pixels: the detector mask is "
    "applied on one side only",
    "probe": f"the probe's amplitude was changed without a record; {EXPECTED_TIMES}",
    "training probe": f"the network's probe was normalised for training, and nothing compensates for it; "
    f"{EXPECTED_TIMES}",
    "grouping": "the patterns as drawn into groups have {factor:.4g} times the amplitude of the scan's",
    "input normalisation": "the input is normalised with the statistics of another split or another dose: it is "
    "{factor:.4g} times as large as it should be",
    "intensity scaler": "log_scale is not the one that the training ended with: it was changed, or loaded wrong",
    "training labels": "the true object of the training was scaled by {factor:.4g}, and the comparison is not",
    "training merge": "the merge inside the training does not preserve a constant object, so the network learned to "
    "compensate for it",
    "network": "its patches have {factor:.4g} times the amplitude that the counts transmit",
    "solver": "the object has {factor:.4g} times the amplitude that the counts transmit",
    "reconstruction": "the object has {factor:.4g} times the amplitude that the counts transmit",
    "merge": "the sums over patches and over weights are not taken over the same pixels",
    "stitching": "the sum over patches is not divided by its weights",
    "stitching, edges": "weights are clamped before the division, which changes pixels with little illumination",
    "output scaling": "the object was multiplied by {factor:.4g} after the reconstruction",
    "propagation": "the forward model does not preserve photons: {factor:.4g} times the amplitude arrives",
    "truth": "the truth is in another gauge: its amplitude does not fit the photons on record",
    "comparison": "the object is less uniform than the truth, or more so: blur, noise, or regions that differ",
}
"""Cause of a discrepancy, by stage."""

ADVICE = {
    "loading": "check how the file was read and what was done to the counts before",
    AMPLITUDES: "load the file with `--domain amplitude`",
    SQUARES: "load the file with `--domain counts`",
    OVERFLOW: "convert to float64 or to a wider integer before squaring",
    CLIPPED: "attenuate the beam, or mask the pixels that saturate",
    "mask": "mask those pixels in the scan file; `ptypinn info` shows them",
    "transmitted amplitude": "sum counts and predicted counts over the good pixels on both sides",
    "probe": "give the photons per pattern with `--photons`, or the probe as it was measured",
    "training probe": "reconstruct with `--probe-source scan`, or train with a probe in sqrt(photons)",
    "grouping": "look at the positions: a few patterns may be drawn far more often than others",
    "input normalisation": "train again; do not normalise patterns by hand",
    "intensity scaler": "load the model file as the training wrote it, or train again",
    "training labels": "train with the truth in transmission units, or without `--realspace`",
    "training merge": "train again with a merge that divides by the weights that it sums",
    "network": "train longer or on data like these; meanwhile, `--prediction-scale flux` corrects the flux",
    "saturated": "use an output head without a ceiling below the object's amplitude",
    "solver": "give it more iterations, and look at the residual",
    "reconstruction": "give the probe in sqrt(photons), or scale the object by flux",
    "merge": "mask patches and weights alike",
    "stitching": "divide by the sum of weights on every illuminated pixel",
    "stitching, edges": "leave pixels without illumination out; do not clamp their weights",
    "output scaling": "reconstruct with `--prediction-scale none`, and find the stage that made scaling necessary",
    "propagation": "use the orthonormal Fourier transform, and place all patches inside the canvas",
    "truth": "compare with the truth in transmission units, dimensionless",
    "comparison": "look at the pictures: compare sharpness and the compared region",
    "not finite": "look for infinities in the scan file; train with a lower `--learning-rate`",
}
"""Advice, by stage or cause."""
