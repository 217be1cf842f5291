"""A probe that varies over the scan: solved for where the counts demand it, left alone where they do not."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ptypinn import (
    EvaluateConfig,
    ReconstructConfig,
    Reconstruction,
    RefineConfig,
    SimulateConfig,
    reconstruct,
    refine,
    simulate,
)
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.metrics.position_errors import measure_position_errors
from ptypinn.report.html.experiment_section import experiment_section
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.solvers.core_trials import CoreTrials
from ptypinn.solvers.probe_variation import with_modes
from ptypinn.solvers.scan_terms import PositionsTerm
from ptypinn.solvers.term import State
from ptypinn.stages.evaluate import evaluate, experiment_warnings
from ptypinn.utils.progress import silent

OPTIONS = {"batch": 64, "device": torch.device("cpu"), "refines_probe": True, "progress": silent}
SOLVER = SimpleNamespace(**OPTIONS, solve=lambda *_, **__: None)
EVIDENCE = "ptypinn.solvers.position_evidence"
SOLVED = ReconstructConfig(device="cpu", refine_probe=True, assume="ideal", probe_variation="solve")


def simulated(*faults):
    size = {"size": 32, "object": "dead_leaves", "object_size": (72, 72), "n_patterns": 81}
    return simulate(SimulateConfig(**size, photons=1e6, seed=4, faults=list(faults)))


@pytest.fixture(scope="module")
def varying():
    return simulated("probe-variation:1")


@pytest.fixture(scope="module")
def solved(varying):
    others = {"beam": "still", "flux": "constant", "background": "none", "positions": "recorded"}
    config = ReconstructConfig(device="cpu", refine_probe=True, probe_modes=1, point_spread="none", **others)
    return reconstruct(varying.replace(truth=None), config=config)


def arrays(recon):
    return recon.object, recon.probe, recon.positions_px


def complex_error(recon, scan):
    config = EvaluateConfig(remove_ramp=True, remove_shift=True)
    return evaluate(recon, scan, config=config).metrics["complex_error"]


def test_a_varying_probe_is_solved_for_and_the_object_is_better(solved, varying):
    ideal = reconstruct(varying.replace(truth=None), config=dataclasses.replace(SOLVED, probe_variation="none"))
    assert complex_error(solved, varying) < 0.7 * complex_error(ideal, varying)
    weights = solved.probe_weights
    assert np.allclose(weights.T @ weights / len(weights), np.eye(weights.shape[1]), atol=1e-6)


def test_it_is_on_record_in_words_and_pictures_and_part_of_the_prediction(solved, varying):
    record = solved.provenance["experiment"]["probe_variation"]
    assert record["corrected"]
    assert record["misfit_after"] < 1 + 0.4 * (record["misfit_before"] - 1)
    assert any("The probe changes slowly" in sentence for sentence in experiment_sentences(solved))
    assert "Change of the probe" in repr(experiment_section(solved).blocks)
    assert any("The probe changes slowly" in warning for warning in evaluate(solved, varying).warnings)
    fit = compute_data_fit(solved.scan_part(varying), solved.object, solved.probe, solved.positions_px)
    assert fit.amplitude_residual == pytest.approx(solved.metrics["amplitude_residual"], rel=1e-6)


def test_iterations_go_on_with_it(solved, varying):
    config = RefineConfig(iterations=15, device="cpu")
    further = refine(varying.replace(truth=None), config, initial=solved)
    assert further.has_solved("probe_variation")
    assert further.probe_variation.shape == solved.probe_variation.shape
    misfits = [compute_data_fit(recon.scan_part(varying), *arrays(recon)).misfit for recon in (further, solved)]
    assert misfits[0] < 1.02 * misfits[1]
    assert complex_error(further, varying) < 1.1 * complex_error(solved, varying)


def test_positions_that_were_solved_for_may_be_far_from_the_recorded_ones(solved, varying):
    """As those of a scan that is turned."""
    recorded = varying.replace(positions_px=varying.positions_px[::-1].copy(), truth=None)
    with pytest.raises(InputError, match="positions more than half a pattern away"):
        refine(recorded, RefineConfig(iterations=1), initial=solved)
    errors = measure_position_errors(recorded.positions_px, solved.positions_px + solved.origin_px)
    record = {"positions": {"corrected": True, **errors.to_record()}}
    moved = dataclasses.replace(solved, provenance={**solved.provenance, "experiment": record})
    further = refine(recorded, RefineConfig(iterations=1, device="cpu"), initial=moved)
    np.testing.assert_allclose(further.positions_px, solved.positions_px, atol=1e-5)


def test_it_comes_back_from_a_file(solved, varying, tmp_path):
    back = Reconstruction.load(solved.save(tmp_path / "r.h5"))
    own, read = (evaluate(recon, varying).metrics["amplitude_residual"] for recon in (solved, back))
    assert read == own


@pytest.mark.parametrize(
    ("images", "weights"),
    [
        ((2, 1, 32, 32), None),
        (None, (81, 2)),
        ((2, 1, 16, 16), (81, 2)),
        ((2, 1, 32, 32), (81, 3)),
        ((32, 32), (81, 2)),
    ],
)
def test_a_variation_of_another_scan_is_refused(images, weights, varying):
    arrays = None if images is None else np.zeros(images, np.complex64), None if weights is None else np.zeros(weights)
    with pytest.raises(Exception, match=r"probe_(variation|weights)"):
        varying.replace(probe_variation=arrays[0], probe_weights=arrays[1])


@pytest.mark.parametrize("name", ["probe_variation", "probe_weights"])
def test_a_variation_that_is_not_finite_is_refused(name, varying):
    arrays = {"probe_variation": np.zeros((2, 1, 32, 32), np.complex64), "probe_weights": np.zeros((81, 2))}
    arrays[name].flat[0] = np.nan
    with pytest.raises(InputError, match=f"{name}: found .*, expected finite values of shape"):
        varying.replace(**arrays)


def test_on_a_scan_whose_probe_stands_still_little_is_added():
    clean = simulated()
    recon = reconstruct(clean.replace(truth=None), config=SOLVED)
    added, mean = (float(np.square(np.abs(waves)).sum()) for waves in (recon.probe_variation, recon.probe))
    assert added < 2e-3 * mean
    assert not evaluate(recon, clean).metrics["amplitude_residual"] > 1.1 * recon.metrics["expected_residual"]


@pytest.fixture
def joint(monkeypatch):
    """Modes and variation are solved for together, as on scans whose middle shows both."""
    monkeypatch.setattr(CoreTrials, "is_conclusive", True)
    monkeypatch.setattr(CoreTrials, "has_modes", True)
    monkeypatch.setattr("ptypinn.solvers.probe_variation.ITERATIONS", 20)


@pytest.mark.parametrize("faults", [(), ("background:0.05",)])
def test_no_flux_is_found_beside_modes_and_a_variation_where_it_is_constant(joint, faults):
    """Errors of the rest of the model make a flux of half a percent."""
    scan = simulated("coherence:0.6:0.4", "probe-variation:1.5", *faults)
    others = {"beam": "still", "background": "none", "point_spread": "none", "positions": "recorded"}
    recon = reconstruct(scan, config=ReconstructConfig(device="cpu", polish=0, threads=1, **others))
    assert recon.has_solved("modes")
    assert recon.has_solved("probe_variation")
    assert not recon.has_solved("flux")
    assert recon.flux is None


def test_modes_a_variation_and_the_flux_are_solved_for_together(joint):
    scan = simulated("coherence:0.6:0.4", "probe-variation:1.5", "flux:0.02")
    others = {"beam": "still", "background": "none", "point_spread": "none"}
    config = ReconstructConfig(device="cpu", positions="recorded", polish=0, **others)
    recon = reconstruct(scan.replace(truth=None), config=config)
    records = recon.provenance["experiment"]
    assert recon.has_solved("modes")
    assert recon.has_solved("probe_variation")
    before, after = (records["modes"][name] for name in ("misfit_before", "misfit_after"))
    assert records["probe_variation"]["misfit_after"] == after < 1 + 0.5 * (before - 1)
    assert recon.probe_variation.shape[1] == len(recon.probe) == 3
    assert recon.has_solved("flux")
    assert np.corrcoef(recon.flux, scan.experiment.flux)[0, 1] > 0.9


@pytest.mark.parametrize(("misfit", "tried"), [(1.05, False), (1.5, True)])
def test_positions_that_were_solved_for_with_modes_are_named_and_not_tried_again(misfit, tried, solved, varying):
    record = {
        "size": 0.3,
        "misfit_before": 1.8,
        "misfit_after": misfit,
        "corrected": True,
        "moved_px": 0.3,
        **measure_position_errors(1.004 * varying.positions_px, varying.positions_px).to_record(),
    }
    recon = dataclasses.replace(solved, provenance={**solved.provenance, "experiment": {"positions": record}})
    words = "px (rms) from the recorded ones: 0.4 % too wide along y, 0.4 % too wide along x, together with the modes"
    assert any(words in sentence for sentence in experiment_sentences(recon))
    assert any("Scales or shear of the recorded positions" in warning for warning in experiment_warnings(recon))
    with pytest.MonkeyPatch.context() as patch:
        measures = []
        patch.setattr(f"{EVIDENCE}.measure_position_gain", lambda *_: measures.append(0.0) or 0.0)
        assert not PositionsTerm().weigh(State(recon.scan_part(varying), recon, SOLVER)).proposes
    assert bool(measures) == tried


def test_modes_are_looked_for_beside_a_variation(solved, varying):
    scan = solved.scan_part(varying).replace(probe=solved.probe, truth=None)
    trials = CoreTrials(scan, SOLVER, solved.probe)
    assert len(trials.mode_probe) == 3
    assert trials.settled_modes.deviance >= trials.modes.deviance


def test_new_modes_have_no_variation_of_their_own(solved):
    new = np.stack([solved.probe[0], np.roll(solved.probe[0], 9, 0), 1j * np.roll(solved.probe[0], 9, 1)])
    extended = with_modes(solved, new.astype(np.complex64))
    assert extended.probe_variation.shape == (len(solved.probe_variation), 3, 32, 32)
    np.testing.assert_allclose(extended.probe_variation[:, 0], solved.probe_variation[:, 0], rtol=1e-3, atol=1e-2)
    plain = dataclasses.replace(solved, probe_variation=None, probe_weights=None)
    assert with_modes(plain, new.astype(np.complex64)).probe_variation is None
