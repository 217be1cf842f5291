"""Causes of a misfit, told from where it lies."""

import dataclasses

import numpy as np
import pytest

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.metrics.flux import flux_warnings
from ptypinn.metrics.misfit_causes import measure_traits, name_causes, record_unsought, unsought_warnings
from ptypinn.metrics.summary import fit_metrics, metric_warnings
from ptypinn.report.text.experiment import experiment_sentences

FRAMES, SIZE, PHOTONS = 200, 32, 1e5


def fit_of(ratio=1.0, scatter=0.0, pattern=0.0, seed=0):
    """Return a data fit with a misfit of the frames, a scatter of their photons, and a mean pattern that is off."""
    rng = np.random.default_rng(seed)
    ratio = np.broadcast_to(ratio, FRAMES) * rng.normal(1, 0.03, FRAMES)
    predicted = np.full((SIZE, SIZE), FRAMES * PHOTONS / SIZE**2)
    deviation = rng.normal(size=(SIZE, SIZE)) * (1 + pattern) * ratio.mean() ** 0.5
    expected = np.full(FRAMES, 0.25 * SIZE**2 / PHOTONS)
    return DataFit(
        amplitude_residual=float((ratio * expected).mean()),
        flux_closure=1.0,
        expected_residual=float(expected.mean()),
        per_pattern_residual=ratio * expected,
        per_pattern_expected=expected,
        per_pattern_photons=np.full(FRAMES, PHOTONS),
        per_pattern_closure=np.exp(rng.normal(0, np.hypot(scatter, PHOTONS**-0.5), FRAMES)),
        measured_map=predicted + deviation * np.sqrt(predicted),
        predicted_map=predicted,
    )


@pytest.mark.parametrize(
    ("misfit", "words"),
    [
        ({"ratio": 1.5 + 0.4 * np.sin(np.linspace(0, 4, FRAMES))}, "changes slowly over the scan"),
        ({"ratio": 2.0, "scatter": 0.12}, "a flux that varies"),
        ({"ratio": 1.5, "pattern": 2.0}, "same pixels deviate in all frames"),
        ({"ratio": 4.0}, "positions that are off"),
    ],
)
def test_the_warning_names_what_fits_the_misfit(misfit, words):
    fit = fit_of(**misfit)
    (warning, *_) = metric_warnings(fit_metrics(fit), fit)
    assert words in warning
    assert "times worse than counting statistics allow" in warning


@pytest.mark.parametrize("seed", range(5))
def test_a_fit_to_counting_noise_raises_no_warning(seed):
    fit = fit_of(seed=seed)
    assert metric_warnings(fit_metrics(fit), fit) == []


def test_a_flux_that_the_object_has_imitated_raises_a_warning_however_small_the_misfit():
    fit = fit_of(scatter=0.01)
    (warning,) = metric_warnings(fit_metrics(fit), fit)
    assert "the flux of the frames may vary" in warning
    assert flux_warnings(fit) == [warning]
    assert flux_warnings(fit_of(scatter=0.002)) == []


def test_few_frames_and_dark_patterns_have_traits():
    fit = fit_of()
    few = {name: value[:5] for name, value in vars(fit).items() if name.startswith("per_pattern")}
    dark = {"measured_map": np.zeros((SIZE, SIZE)), "predicted_map": np.zeros((SIZE, SIZE)), "expected_residual": 0.0}
    traits = measure_traits(dataclasses.replace(fit, **few, **dark))
    assert traits.slow_fraction == 0
    assert traits.pattern_excess == 0
    assert name_causes(dataclasses.replace(fit, **few))


@pytest.mark.parametrize(("ratio", "warns"), [(1.03, False), (1.05, True)])
def test_terms_that_a_scan_was_too_large_for_are_named_and_are_a_warning_where_much_is_left(ratio, warns):
    ones = np.ones((20, 20), np.complex64)
    provenance = {"experiment": {"positions": {"corrected": True}}}
    metrics = {"amplitude_residual": 0.01 * ratio, "expected_residual": 0.01}
    probe, places = ones[None, :8, :8], np.zeros((1, 2))
    recon = Reconstruction(ones, ones.real, probe, places, metrics=metrics, provenance=provenance)
    recorded = record_unsought(recon, ["positions", "probe_variation"])
    assert "The scan was too large to look for a probe that varies." in experiment_sentences(recorded)
    assert any("a probe that varies" in warning for warning in unsought_warnings(recorded)) == warns
    assert not any("positions" in warning for warning in unsought_warnings(recorded))
    assert record_unsought(recon, ["positions"]) is recon
    assert not any(warning.startswith("The counts are predicted") for warning in unsought_warnings(recorded))
    assert unsought_warnings(recon) == []
