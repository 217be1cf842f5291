"""The closing sequence: the fit to the counts is computed once per command, and is not used for anything else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ptypinn.cli.main import main
from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.io.load_save import save
from ptypinn.metrics import compute_data_fit
from ptypinn.scale import PredictionScale
from ptypinn.solvers.postprocess import apply_prediction_scale, normalise_flux
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scan():
    config = SimulateConfig(size=32, object_size=(100, 100), n_patterns=225, probe="disk", probe_diameter_px=12.0)
    return simulate(config)


@pytest.fixture(scope="module")
def refined(scan):
    return refine(scan, RefineConfig(iterations=2, device="cpu"))


@pytest.fixture
def fitted_patterns(monkeypatch):
    """Number of patterns in every fit to the counts that is computed."""
    import ptypinn.metrics.data_fit as module

    numbers, summarise = [], module._summary

    def count(source, sums, maps):
        numbers.append(sums.shape[1])
        return summarise(source, sums, maps)

    monkeypatch.setattr(module, "_summary", count)
    return numbers


@pytest.mark.parametrize("command", [("reconstruct",), ("refine", "--iterations", "2")])
def test_a_command_computes_the_fit_to_the_counts_once(command, scan, fitted_patterns, tmp_path):
    file = save(scan, tmp_path / "scan.h5")
    stage, *options = command
    assert main([stage, str(file), "--output-dir", str(tmp_path / "run"), "--quiet", *options]) == 0
    assert sum(fitted_patterns) == 225


def test_evaluate_takes_the_fit_of_the_run_and_measures_again_what_has_changed(scan, refined, fitted_patterns):
    evaluation = evaluate(refined, scan)
    assert evaluation.fit is refined.fit_to(scan)
    assert not fitted_patterns
    darker = replace(refined, object=0.5 * refined.object)
    assert darker.fit_to(scan) is None
    assert evaluate(darker, scan).metrics["flux_closure"] == pytest.approx(0.25, rel=1e-5)
    brighter = scan.replace(counts=4 * scan.counts)
    assert evaluate(refined, brighter).metrics["flux_closure"] == pytest.approx(0.25, rel=1e-5)
    mask = scan.good.copy()
    mask[16, 16] = False
    masked = scan.replace(mask=mask)
    assert evaluate(refined, masked).fit.amplitude_residual != evaluation.fit.amplitude_residual
    assert evaluate(refined, scan, config=EvaluateConfig(compare_counts=False)).fit is None


def test_the_fit_of_the_run_is_that_of_its_result(scan, refined):
    fit = compute_data_fit(scan, refined.object, refined.probe, refined.positions_px)
    assert refined.fit_to(scan).metrics() == fit.metrics() == dict(refined.metrics)


def test_flux_is_closed_where_the_object_is_illuminated_and_nowhere_else(scan, refined):
    dark = replace(refined, object=0.5 * refined.object, illumination=refined.illumination.copy())
    dark.illumination[:2] = 0
    scaled, (entry,) = normalise_flux(dark, scan, device=CPU)
    assert entry.measured == pytest.approx(2, rel=1e-3)
    np.testing.assert_array_equal(scaled.object[:2], dark.object[:2])
    fit = compute_data_fit(scan, scaled.object, scaled.probe, scaled.positions_px)
    assert fit.flux_closure == pytest.approx(1, rel=1e-3)


def test_prediction_scale_keeps_the_object_before_it(refined):
    scaled = apply_prediction_scale(refined, PredictionScale("recorded", 1.25))
    assert scaled.unscaled is refined.object
    assert scaled.prediction_scale["factor"] == 1.25
    illuminated = refined.illumination > 0
    np.testing.assert_allclose(scaled.object[illuminated], 1.25 * refined.object[illuminated], rtol=1e-6)
    untouched = apply_prediction_scale(refined, PredictionScale())
    assert untouched.object is refined.object
    assert untouched.unscaled is None
