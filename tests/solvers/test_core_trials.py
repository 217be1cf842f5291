"""Terms are told apart on the patterns around the middle of a scan, and positions by what small moves explain."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn import ReconstructConfig, SimulateConfig, reconstruct, simulate
from ptypinn.metrics.data_fit import measure_misfit
from ptypinn.metrics.point_spread import PointSpreadEvidence
from ptypinn.solvers import experiment
from ptypinn.solvers.core_trials import CoreGain, CoreTrials
from ptypinn.solvers.detector_terms import MIN_FIRST_SHARE, PointSpreadTerm
from ptypinn.solvers.point_spread_search import MAX_SPREAD_PX, MIN_SPREAD_PX, search_point_spread
from ptypinn.solvers.position_cycles import settle_positions
from ptypinn.solvers.position_evidence import measure_position_gain
from ptypinn.solvers.probe_terms import ModesTerm, ProbeVariationTerm, SufficientModesTerm
from ptypinn.solvers.term import FAINT_GAIN, Evidence, State
from ptypinn.utils.progress import silent

CPU = torch.device("cpu")
IDEAL = ReconstructConfig(device="cpu", refine_probe=False, assume="ideal")


def simulated(*faults, photons=1e6):
    size = {"size": 32, "object": "dead_leaves", "object_size": (80, 80), "n_patterns": 100}
    return simulate(SimulateConfig(**size, photons=photons, seed=4, faults=list(faults)))


def solver(**options):
    return SimpleNamespace(batch=64, device=CPU, refines_probe=True, progress=silent, **options)


class Run:
    """Solver that is never asked."""

    batch, device, refines_probe, progress = 64, CPU, True, staticmethod(silent)

    def solve(self, scan, unknown="", *, hold_probe=False, is_draft=False):
        raise AssertionError("no solve is needed")


@pytest.fixture(scope="module")
def clean():
    return simulated()


def gain_of_moves(scan):
    blind = scan.replace(truth=None, experiment=None)
    recon = reconstruct(blind, config=IDEAL)
    part = recon.scan_part(blind)
    return measure_position_gain(part, recon, measure_misfit(part, recon), CPU)


def test_a_blur_shows_in_the_middle_of_the_scan_and_modes_explain_it():
    blurred = CoreTrials(simulated("point-spread:0.6"), solver())
    assert blurred.is_conclusive
    assert blurred.has_modes
    assert blurred.spread(0.6).deviance > blurred.spread(0.3).deviance > 0


def test_modes_explain_more_of_a_blur_than_a_background_does():
    trials = CoreTrials(simulated("coherence:0.6:0.4"), solver())
    assert trials.settled_modes.deviance >= trials.modes.deviance > 0
    assert trials.background.deviance < MIN_FIRST_SHARE * trials.settled_modes.deviance


def test_a_background_explains_as_much_as_modes_do_where_there_is_one():
    trials = CoreTrials(simulated("background:0.1"), solver())
    assert trials.background.deviance > MIN_FIRST_SHARE * trials.settled_modes.deviance


def test_nothing_is_concluded_from_a_scan_without_faults(clean):
    trials = CoreTrials(clean, solver())
    assert not trials.is_conclusive
    assert not trials.has_modes


def test_every_solve_is_done_once(clean):
    trials = CoreTrials(clean, solver())
    assert trials.plain is trials.plain
    assert trials.spread(0.4) == trials.spread(0.4)
    assert len(trials._spreads) == 1


def test_modes_to_start_from_have_the_photons_of_the_probe(clean):
    modes = CoreTrials(clean, solver(), clean.probe).mode_probe
    assert len(modes) == 3
    assert np.square(np.abs(modes)).sum() == pytest.approx(np.square(np.abs(clean.probe)).sum(), rel=1e-4)


class Parabola(CoreTrials):
    """Trials whose deviance is least at one point spread, on a logarithmic scale."""

    is_conclusive, has_modes, reaches_noise = True, True, False

    def __init__(self, true, modes):
        self.true, self.modes, self.tried = true, CoreGain(1.0, modes), []

    def spread(self, spread_px):
        self.tried.append(spread_px)
        left = np.log2(spread_px / self.true) ** 2 / 4
        return CoreGain(float(1 - left), float(1000 * (1 - left)))


@given(true=st.floats(1.05 * MIN_SPREAD_PX, 0.9 * MAX_SPREAD_PX))
def test_the_point_spread_of_least_deviance_comes_out(true):
    spread, gain = search_point_spread(Parabola(true, 1000.0), rivals=True)
    assert spread == pytest.approx(true, abs=0.05)
    assert gain.fraction > 0.98


@given(true=st.floats(0.3, 1.5))
def test_modes_that_explain_much_more_end_the_search(true):
    rejected, searched = Parabola(true, 2000.0), Parabola(true, 2000.0)
    assert search_point_spread(rejected, rivals=True)[1].fraction == 0
    assert search_point_spread(searched, rivals=False)[1].fraction > 0.9
    assert len(rejected.tried) < len(searched.tried)


@pytest.mark.parametrize(("faults", "low", "high"), [((), -1, 0.05), (("positions:0.7",), 0.1, 1.0)])
def test_small_moves_explain_much_where_positions_are_off(faults, low, high):
    assert low <= gain_of_moves(simulated(*faults)) < high


def test_positions_settle_near_the_true_ones(clean):
    rng = np.random.default_rng(0)
    known = solver(solve=lambda scan, **_: reconstruct(scan, config=IDEAL))
    known.refines_probe = False
    off = clean.replace(positions_px=clean.positions_px + rng.normal(0, 0.3, (100, 2)), truth=None)
    settled = settle_positions(off, known)
    errors = [one.positions_px - clean.positions_px for one in (off, settled.scan)]
    before, after = (np.linalg.norm(error - error.mean(0), axis=1).mean() for error in errors)
    assert after < 0.3 * before
    assert settled.change < 1e-3


@pytest.fixture(scope="module")
def faint():
    return CoreTrials(simulated(photons=1e4), solver())


def test_held_out_pixels_reject_what_fits_noise(faint):
    assert faint.reaches_noise
    gains = [faint.modes, faint.variation, faint.background, faint.spread(0.6)]
    assert not any(gain.is_significant for gain in gains)
    assert faint.variation.deviance > 0 > faint.variation.held_out  # on all pixels it gains


@pytest.mark.parametrize(("fault", "other"), [("background:0.1", "blur"), ("point-spread:0.6", "background")])
def test_held_out_pixels_tell_a_background_from_a_blur(fault, other):
    trials = CoreTrials(simulated(fault, photons=1e5), solver())
    gains = {"background": trials.background, "blur": trials.spread(0.6)}
    rival = gains.pop(other)
    (true,) = gains.values()
    assert true.is_significant
    assert true.held_out > rival.held_out


@pytest.fixture(scope="module")
def faint_state(clean):
    recon = reconstruct(clean.replace(truth=None), config=IDEAL)

    def state_with(modes, variation, names=("modes", "probe_variation"), *, reaches_noise=True, background=0.0):
        """Return the state of a scan whose held-out pixels gain by terms what is given."""
        gains = [CoreGain(0.0, 0.0, float(gain)) for gain in (modes, variation, background)]
        state = State(clean, recon, Run(), names)
        wide = SimpleNamespace(modes=gains[0], variation=gains[1], background=gains[2], reaches_noise=reaches_noise)
        state.__dict__.update(wide=wide, core=SimpleNamespace(is_conclusive=False, background=gains[2]))
        return state

    return state_with


@given(modes=st.floats(-500, 500), variation=st.floats(-500, 500))
def test_of_rivals_on_a_faint_scan_the_better_is_proposed_where_chance_does_not_explain_it(
    faint_state, modes, variation
):
    state = faint_state(modes, variation)
    proposed = ModesTerm().weigh(state).proposes
    assert proposed == (modes >= 32 and modes >= variation)
    assert SufficientModesTerm().weigh(state).proposes == proposed
    if variation < 32 or variation < modes:
        assert not ProbeVariationTerm().weigh(state).proposes


def test_held_out_pixels_take_modes_in_whatever_misfit_they_leave(faint_state):
    assert ModesTerm().weigh(faint_state(100.0, 0.0)).min_gain == FAINT_GAIN
    assert ModesTerm().weigh(faint_state(100.0, 200.0, ("modes",))).proposes
    assert ModesTerm().weigh(faint_state(100.0, 0.0, ("modes",), background=200.0)).proposes
    assert not ModesTerm().weigh(faint_state(100.0, 0.0, ("modes", "background"), background=200.0)).proposes
    assert ModesTerm().weigh(faint_state(100.0, 0.0, reaches_noise=False)).min_gain is None


@pytest.mark.parametrize(("background", "proposes"), [(90.0, True), (110.0, False)])
def test_a_blur_is_proposed_unless_a_background_predicts_more(monkeypatch, faint_state, background, proposes):
    evidence = PointSpreadEvidence(0.6, 1.0)
    monkeypatch.setattr("ptypinn.metrics.point_spread.measure_point_spread", lambda *_, **__: evidence)
    search = "ptypinn.solvers.point_spread_search.search_point_spread"
    monkeypatch.setattr(search, lambda *_, **__: (0.6, CoreGain(1.0, 0.0, 100.0)))
    state = faint_state(0, 0, ("background", "point_spread"), background=background)
    assert PointSpreadTerm().weigh(state).proposes == proposes


class StubTerm:
    """A term that is taken in; its size is the place of the first position of the scan that it refers to."""

    name, min_gain, min_misfit = "background", 0.3, 0.0

    def weigh(self, state):
        return Evidence(9.0, True, min_rival_misfit=1.1)

    def solve(self, state, evidence):
        yield state.recon

    def measure(self, scan, recon):
        return float(scan.positions_px[0, 0])

    def describe(self, scan, recon):
        return {}


@pytest.mark.parametrize(("left", "rivals"), [(0.95, 0), (1.5, 1)])
def test_rivals_are_solved_for_where_a_term_leaves_much(monkeypatch, faint_state, left, rivals):
    """Patterns around the middle may prefer the wrong cause: what it leaves on the whole scan shows that."""
    monkeypatch.setattr(experiment, "fit_misfit", lambda *_: left)
    state = faint_state(0.0, 0.0, ("background", "modes"))
    state.__dict__["misfit"] = 5.0
    recorded = state.scan.replace(positions_px=state.scan.positions_px - 0.5, truth=None)
    trial = experiment._try_term(StubTerm(), recorded, state, force=False)
    assert trial.is_taken
    assert trial.finding.size == recorded.positions_px[0, 0]  # what was recorded, not what has moved since
    monkeypatch.setattr(experiment, "_try_term", lambda term, *_: trial if term.name == "modes" else None)
    assert experiment._try_rivals(trial, recorded, state, ()) == rivals * [trial]
