"""Flux of the frames and modes of the probe: solved for where the counts demand it, left alone where they do not."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn import EvaluateConfig, ReconstructConfig, RefineConfig, SimulateConfig, reconstruct, refine, simulate
from ptypinn.errors import InputError
from ptypinn.metrics import align, complex_error
from ptypinn.metrics import flux as flux_metrics
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.metrics.flux import compare_flux, measure_flux, measure_slow_variation
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.solvers.experiment import Finding, solve_experiment
from ptypinn.solvers.probe_terms import ModesTerm, ProbeVariationTerm
from ptypinn.solvers.scan_terms import PositionsTerm
from ptypinn.solvers.term import Evidence
from ptypinn.stages.evaluate import evaluate
from ptypinn.utils.progress import silent

KNOWN = ReconstructConfig(device="cpu", refine_probe=False)


@pytest.fixture(scope="module")
def scan():
    config = SimulateConfig(size=32, object="dead_leaves", object_size=(80, 80), n_patterns=100, photons=1e6, seed=4)
    return simulate(config)


@pytest.fixture(scope="module")
def flux(scan):
    flux = np.random.default_rng(3).normal(1, 0.15, scan.n_patterns).clip(0.5)
    return flux / flux.mean()


@pytest.fixture(scope="module")
def flickering(scan, flux):
    counts = np.random.default_rng(4).poisson(np.asarray(scan.counts) * flux[:, None, None])
    return scan.replace(counts=counts.astype(np.uint32))


@pytest.fixture(scope="module")
def corrected(flickering):
    return reconstruct(flickering, config=KNOWN)


def error(recon, scan):
    mask = recon.well_illuminated()
    aligned = align(recon.object, scan.truth, mask).image
    factor = np.vdot(aligned[mask], scan.truth[mask]) / np.vdot(aligned[mask], aligned[mask])
    return complex_error(factor * aligned, scan.truth, mask)


def test_the_flux_of_every_frame_comes_out(corrected, flux):
    assert np.std(corrected.flux / flux) < 0.01
    assert corrected.flux.mean() == pytest.approx(1.0, abs=1e-3)


def test_the_object_is_nearly_as_good_as_with_the_true_flux(corrected, flickering, flux, scan):
    ideal = reconstruct(flickering, config=ReconstructConfig(device="cpu", refine_probe=False, assume="ideal"))
    true = reconstruct(flickering.replace(flux=flux), config=KNOWN)
    assert error(corrected, scan) < 1.2 * error(true, scan)
    assert error(corrected, scan) < 0.5 * error(ideal, scan)
    assert ideal.flux is None


def test_size_and_gain_are_on_record(corrected):
    record = corrected.provenance["experiment"]["flux"]
    assert record["corrected"]
    assert record["size"] == pytest.approx(0.15, rel=0.2)
    assert record["misfit_after"] < record["misfit_before"] / 2


def test_iterations_go_on_with_the_flux_that_was_solved_for(corrected, flickering, scan):
    further = refine(flickering, RefineConfig(iterations=15, device="cpu", refine_probe=False), initial=corrected)
    np.testing.assert_array_equal(further.flux, corrected.flux)
    assert further.has_solved("flux")
    assert any("flux varies" in sentence for sentence in experiment_sentences(further))
    assert error(further, scan) < 1.2 * error(corrected, scan)
    with pytest.raises(InputError, match="--engine: found ptychi, expected native, which predicts the flux of the fr"):
        refine(flickering, RefineConfig(engine="ptychi"), initial=corrected)


def test_a_constant_flux_is_not_solved_for(scan):
    recon = reconstruct(scan, config=KNOWN)
    assert recon.flux is None
    assert "experiment" not in recon.provenance


def test_the_fit_to_the_counts_takes_the_flux_in(corrected, flickering):
    evidence = measure_flux(flickering, corrected)
    assert evidence.variation > 0.1  # of a prediction without the flux
    assert measure_flux(corrected.scan_part(flickering), corrected).variation < 0.005
    assert corrected.metrics["amplitude_residual"] < 2 * corrected.metrics["expected_residual"]


@given(seed=st.integers(0, 999), size=st.floats(0.02, 0.2), waves=st.floats(0.5, 1.0), frames=st.integers(60, 900))
def test_a_slow_flux_is_told_from_one_that_is_independent_from_frame_to_frame(seed, size, waves, frames):
    rng = np.random.default_rng(seed)
    slow = np.exp(size * np.sin(2 * np.pi * waves * np.linspace(0, 1, frames) + rng.uniform(0, 6)))
    independent = np.exp(size * rng.standard_normal(frames))
    assert measure_slow_variation(independent / independent.mean()) == 0
    assert measure_slow_variation(slow * independent**0.2) > 0.3 * np.log(slow).std()


def test_a_slow_flux_raises_a_warning_of_what_may_be_in_the_amplitude(corrected):
    assert not [text for text in evaluate(corrected).warnings if "flux" in text]
    slow = 1 + 0.1 * np.sin(np.linspace(0, 3, len(corrected.flux)))
    drifting = dataclasses.replace(corrected, flux=slow / slow.mean())
    (warning,) = [text for text in evaluate(drifting).warnings if "flux" in text]
    assert "monitor" in warning
    given_one = dataclasses.replace(drifting, provenance={**drifting.provenance, "experiment": {}})
    assert not [text for text in evaluate(given_one).warnings if "flux" in text]


def test_counting_noise_is_no_evidence(scan):
    evidence = measure_flux(scan, reconstruct(scan, config=KNOWN))
    assert evidence.significance < 0
    assert evidence.variation < 0.002


@pytest.mark.parametrize(("after", "corrected"), [(1.1, True), (3.0, True), (4.5, False), (6.0, False)])
def test_a_term_is_taken_in_where_it_explains_much_of_the_misfit(after, corrected):
    assert Finding(0.1, 9.0, misfit_before=5.0, misfit_after=after).is_corrected is corrected


@pytest.mark.parametrize(("after", "min_gain", "corrected"), [(0.965, -0.5, True), (0.972, 0.3, False)])
def test_a_fit_below_counting_noise_may_not_get_worse(after, min_gain, corrected):
    assert Finding(0.1, 9.0, 0.97, after, min_gain).is_corrected is corrected


@pytest.fixture(scope="module")
def partially_coherent():
    optics = {"probe": "zone_plate", "pupil_radius": 0.5, "defocus_waves": 1.0, "mode_fractions": (0.7, 0.2, 0.1)}
    scan = simulate(SimulateConfig(size=32, object="dead_leaves", object_size=(80, 80), photons=1e6, seed=4, **optics))
    return scan.replace(probe=(scan.probe[:1] / np.sqrt(0.7)).astype(np.complex64))


def test_modes_are_taken_in_where_one_leaves_much_unexplained(partially_coherent):
    recon = reconstruct(partially_coherent, config=ReconstructConfig(device="cpu"))
    ideal = reconstruct(partially_coherent, config=ReconstructConfig(device="cpu", assume="ideal"))
    record = recon.provenance["experiment"]["modes"]
    assert (len(recon.probe), record["modes"], record["corrected"]) == (3, 3, True)
    assert 0.05 < record["size"] < 0.4
    free = EvaluateConfig(remove_ramp=True, remove_shift=True)
    errors = [evaluate(one, partially_coherent, config=free).metrics["complex_error"] for one in (recon, ideal)]
    assert errors[0] < 0.95 * errors[1]
    assert [text for text in experiment_sentences(recon) if "partially coherent beam" in text]
    assert list(recon.provenance["experiment"]) == ["modes"]  # explains all: nothing dearer is tried


@pytest.mark.parametrize("options", [{"probe_modes": 1}, {"refine_probe": False}, {"rounds": 8}])
def test_modes_are_not_solved_for_where_options_forbid_it(options):
    assert "modes" in ReconstructConfig().solved_terms()
    assert "modes" not in ReconstructConfig(**options).solved_terms()


@pytest.mark.parametrize(("factor", "taken"), [(1.0, "modes"), (1.015, "modes"), (1.05, "background")])
def test_of_two_terms_that_explain_much_one_is_taken_in_and_a_rival_where_it_explains_as_much(scan, factor, taken):
    recon = reconstruct(scan, config=ReconstructConfig(device="cpu", refine_probe=False, assume="ideal", rounds=4))
    tried = []

    class Fixed:
        min_gain, min_misfit = 0.3, 0.0

        def __init__(self, name, factor):
            self.name, self.factor = name, factor

        def weigh(self, *_):
            return Evidence(9.0, True)

        def solve(self, state, evidence):
            tried.append(self.name)
            yield dataclasses.replace(state.recon, object=(self.factor * recon.object).astype(np.complex64))

        def measure(self, *_):
            return 0.1

        def describe(self, *_):
            return {}

    first, rival = Fixed("background", 1.015), Fixed("modes", factor)
    poor = dataclasses.replace(recon, object=1.3 * recon.object)
    solver = SimpleNamespace(batch=64, device=torch.device("cpu"), refines_probe=False, progress=silent, solve=print)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptypinn.solvers.experiment.TERMS", (first, rival))
        patch.setattr("ptypinn.solvers.experiment.RIVALS", {"background": (rival,)})
        result = solve_experiment(scan, poor, solver, ("background", "modes"))
    assert tried[:2] == ["background", "modes"]
    records = result.provenance["experiment"]
    assert [name for name, record in records.items() if record["corrected"]] == [taken]


def test_a_term_that_explains_enough_only_where_nothing_else_does_is_solved_once(partially_coherent):
    solved = []

    class Modes(ModesTerm):
        def weigh(self, state):
            return Evidence(0.0, True)

        def solve(self, state, evidence):
            solved.append(self.min_gain)
            yield dataclasses.replace(state.recon, object=(1.1 * state.recon.object / 1.3).astype(np.complex64))

    class Demanding(Modes):
        min_gain = 0.999

    recon = reconstruct(partially_coherent, config=ReconstructConfig(device="cpu", assume="ideal", rounds=4))
    poor = dataclasses.replace(recon, object=1.3 * recon.object)
    solver = SimpleNamespace(batch=64, device=torch.device("cpu"), refines_probe=True, progress=silent, solve=print)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptypinn.solvers.experiment.TERMS", (Demanding(), Modes()))
        result = solve_experiment(partially_coherent, poor, solver, ("modes",))
    assert solved == [0.999]
    assert result.provenance["experiment"]["modes"]["corrected"]
    np.testing.assert_allclose(result.object, 1.1 * recon.object, rtol=1e-5)


def test_a_term_that_was_solved_for_together_with_another_is_on_record(scan):
    recon = reconstruct(scan, config=ReconstructConfig(device="cpu", refine_probe=False, assume="ideal", rounds=4))
    checks = 1 - 2.0 * (np.indices(recon.probe.shape[1:]).sum(0) % 2)  # as good as orthogonal to the probe
    images, weights = 0.1 * checks * recon.probe[None], np.linspace(-1, 1, scan.n_patterns)[:, None]
    moves = np.where(np.arange(scan.n_patterns)[:, None] % 2, 0.01, -0.01) * [1.0, 0.0]

    class Modes(ModesTerm):
        def weigh(self, state):
            return Evidence(0.0, True)

        def solve(self, state, evidence):
            varying = {"probe_variation": images.astype(np.complex64), "probe_weights": weights}
            varying["positions_px"] = state.recon.positions_px + moves
            yield dataclasses.replace(state.recon, object=(state.recon.object / 1.3).astype(np.complex64), **varying)

    poor = dataclasses.replace(recon, object=1.3 * recon.object)
    solver = SimpleNamespace(batch=64, device=torch.device("cpu"), refines_probe=True, progress=silent, solve=print)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptypinn.solvers.experiment.TERMS", (Modes(), ProbeVariationTerm(), PositionsTerm()))
        both = solve_experiment(scan, poor, solver, ("modes", "probe_variation", "positions"))
    records = both.provenance["experiment"]
    assert [name for name, record in records.items() if record["corrected"]] == [
        "modes",
        "probe_variation",
        "positions",
    ]
    changed = 0.01 * np.square(weights).mean()
    assert records["probe_variation"]["size"] == pytest.approx(changed / (1 + changed), rel=0.01)
    assert records["positions"]["size"] == records["positions"]["moved_px"] == pytest.approx(0.01, rel=1e-2)
    assert "moved_px" not in records["modes"]


def test_the_misfit_with_and_without_a_flux_comes_from_one_prediction(corrected, flickering, monkeypatch):
    part, calls = corrected.scan_part(flickering), []
    flat = dataclasses.replace(corrected, flux=None)
    background = np.full((part.size, part.size), 3.0, np.float32)
    part = part.replace(background=background)
    arrays = corrected.object, corrected.probe, corrected.positions_px
    expected = [compute_data_fit(scan, *arrays).misfit for scan in (part.replace(flux=None), part)]
    predict = flux_metrics.predict_batches
    monkeypatch.setattr(flux_metrics, "predict_batches", lambda *values: calls.append(1) or predict(*values))
    assert compare_flux(part, corrected, flat.flux) == pytest.approx(expected, rel=1e-4)
    assert len(calls) == 1


@pytest.mark.parametrize(("polish", "polished"), [(None, True), (0, False)])
def test_a_scan_with_terms_is_polished_unless_that_is_ruled_out(flickering, polish, polished):
    recon = reconstruct(flickering, config=dataclasses.replace(KNOWN, polish=polish))
    assert recon.has_solved("flux")
    assert ("polish" in recon.provenance) == polished


def test_an_ideal_scan_is_not_polished(scan):
    assert "polish" not in reconstruct(scan, config=KNOWN).provenance
