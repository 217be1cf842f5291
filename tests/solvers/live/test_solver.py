"""The incremental solver: patterns in any order enter the picture, which comes close to that of the complete scan."""

import copy
import dataclasses
from unittest import mock

import numpy as np
import pytest
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.errors import InputError
from ptypinn.metrics import complex_error
from ptypinn.models.model_file import load_weights
from ptypinn.solvers.live import window_rounds
from ptypinn.solvers.live.patterns import IN_PICTURE, SETTLED, WAITING, PatternStore
from ptypinn.solvers.live.solver import LiveSolver
from ptypinn.solvers.live.window_rounds import MEMORY
from ptypinn.solvers.live.windows import Cost, surround
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate

CPU, COST = torch.device("cpu"), Cost(1e-4, 1e-6)
WEIGHTS = load_weights(None)
KNOWN, FREE = ReconstructConfig(refine_probe=False), ReconstructConfig()


@pytest.fixture(scope="module")
def scan():
    return simulate(
        SimulateConfig(
            size=32,
            object_size=(80, 80),
            step_px=4.0,
            photons=1e6,
            probe="disk",
            probe_diameter_px=14.0,
            curvature_rad=3.0,
            seed=2,
        )
    )


@pytest.fixture(scope="module")
def blind(scan):
    return scan.replace(truth=None)


def feed(solver, scan, order, chunk=60, budget_s=1.0):
    steps = []
    for first in range(0, len(order), chunk):
        index = np.sort(order[first : first + chunk])
        solver.add(scan.subset(index), index)
        while (step := solver.step(budget_s)) is not None and step.kind != "settling":
            steps.append(step)
    return steps


def settle(solver):
    steps = []
    while (step := solver.step(5.0)) is not None:
        steps.append(step)
    return steps


def error(recon, scan):
    whole = dataclasses.replace(recon, patterns=None)
    top, left = whole.origin_px
    height, width = (
        min(a, b - c) for a, b, c in zip(whole.object.shape, scan.truth.shape, whole.origin_px, strict=True)
    )
    place = slice(max(top, 0), top + height), slice(max(left, 0), left + width)
    ours = slice(max(-top, 0), height), slice(max(-left, 0), width)
    mask = whole.well_illuminated()[ours]
    return complex_error(whole.object[ours], scan.truth[place], mask, fit_factor=True)


@pytest.mark.parametrize("order", ["raster", "random"])
def test_the_picture_comes_close_to_that_of_the_complete_scan(scan, blind, order):
    numbers = np.arange(scan.n_patterns)
    order = numbers if order == "raster" else np.random.default_rng(0).permutation(numbers)
    solver = LiveSolver(WEIGHTS, KNOWN, CPU, COST)
    feed(solver, blind, order)
    assert solver.n_solved == scan.n_patterns
    offline = error(reconstruct(blind, config=KNOWN), scan)
    assert error(solver.current(), scan) < 2.5 * offline
    settle(solver)
    assert set(solver.frame_states) == {SETTLED}
    assert error(solver.current(), scan) < 1.5 * offline
    assert solver.misfit < 1.3


def test_slow_errors_of_the_phase_go_far_from_the_new_patterns_too():
    scan = simulate(SimulateConfig(size=32, object_size=(48, 180), step_px=5.0, photons=1e6, probe="disk", seed=2))
    order = np.argsort(scan.positions_px[:, 1], kind="stable")
    solver, blind, first = LiveSolver(WEIGHTS, KNOWN, CPU, COST), scan.replace(truth=None), len(order) * 3 // 4
    feed(solver, blind, order[:first], chunk=30)
    before, canvas = error(solver.current(), scan), solver.canvas
    x = np.indices(canvas.object.shape)[1]
    phase = np.where(canvas.illumination > 0, 0.3 * np.cos(2 * np.pi * x / 80), 0)
    canvas.object = (canvas.object * np.exp(1j * phase)).astype(np.complex64)
    changed = error(solver.current(), scan)
    feed(solver, blind, order[first:], chunk=30)
    assert changed > 3 * before
    assert error(solver.current(), scan) < 0.3 * changed


def test_solutions_of_successive_windows_are_averaged(scan, blind):
    solver = LiveSolver(WEIGHTS, KNOWN, CPU, COST)
    feed(solver, blind, np.arange(60))
    window = surround(solver.patterns.positions_px, np.arange(60), np.arange(60), 1.0, scan.size)
    results = []
    for memory in (0.0, MEMORY, 1.0):
        canvas, frames = copy.deepcopy(solver.canvas), solver._scan(window.patterns)
        with mock.patch.object(window_rounds, "MEMORY", memory):
            window_rounds.solve_window(
                frames, window, canvas, np.zeros(60, bool), WEIGHTS.network, UnrolledOptions(refine_probe=False), 2, CPU
            )
        results.append(canvas.object)
    solved, mean, held = results
    lit = solver.canvas.illumination > 0.01 * solver.canvas.illumination.max()
    assert np.abs(solved - held)[lit].max() > 1e-3
    np.testing.assert_allclose(held[lit], solver.canvas.object[lit], atol=1e-6)
    np.testing.assert_allclose(mean[lit], (MEMORY * held + (1 - MEMORY) * solved)[lit], atol=1e-5)


def test_steps_say_what_they_did(scan, blind):
    solver = LiveSolver(WEIGHTS, KNOWN, CPU, COST)
    assert solver.step(1.0) is None
    solver.add(blind.subset(np.arange(5)), np.arange(5))
    assert solver.step(1.0) is None  # too few for a picture
    with pytest.raises(RuntimeError, match="no pattern"):
        solver.current()
    solver.add(blind.subset(np.arange(5, 40)), np.arange(5, 40))
    step = solver.step(1.0)
    assert step.kind == "patterns"
    assert step.mode == "full"
    assert step.numbers.tolist() == list(range(40))
    assert np.isfinite(step.loss)
    assert (solver.n_patterns, solver.n_solved, solver.newest_solved) == (40, 40, 39)
    (box,) = step.boxes
    assert all(box.overlaps(np.round(scan.positions_px[:40]).astype(int), 32))
    assert np.isfinite(solver.frame_checks().residual).all()
    measured, predicted = solver.predict(7)
    assert np.array_equal(measured, scan.counts[7])
    assert np.corrcoef(measured.ravel(), predicted.ravel())[0, 1] > 0.98


def test_frames_that_come_again_change_nothing(blind):
    solver = LiveSolver(WEIGHTS, KNOWN, CPU, COST)
    part = blind.subset(np.arange(40))
    solver.add(part, np.arange(40))
    solver.step(1.0)
    picture = solver.current().object
    solver.add(part, np.arange(40))
    assert solver.n_patterns == 40
    assert np.array_equal(solver.current().object, picture)


def test_the_same_calls_give_the_same_picture(blind):
    pictures = []
    for _ in range(2):
        solver = LiveSolver(WEIGHTS, FREE, CPU, COST)
        feed(solver, blind, np.arange(120))
        pictures.append(solver.current().object)
    assert np.array_equal(*pictures)


def test_too_little_time_costs_rounds_and_then_patterns_evenly(blind):
    index = np.arange(blind.n_patterns)
    modes, shares = [], []
    for budget_s in (1.0, 0.1, 0.02):
        solver = LiveSolver(WEIGHTS, KNOWN, CPU, Cost(1e-4, 1e-6))
        solver.add(blind, index)
        step = solver.step(budget_s)
        modes.append(step.mode)
        shares.append(len(step.numbers) / len(index))
    assert modes == ["full", "fewer rounds", "subsampled"]
    assert shares[:2] == [1, 1]
    entered = blind.positions_px[step.numbers]
    assert np.allclose(entered.mean(0), blind.positions_px.mean(0), atol=5)
    settle(solver)
    assert set(solver.frame_states) == {SETTLED}  # those that had to wait came later


def test_a_wrong_probe_is_found_and_the_finished_run_is_that_of_the_complete_scan():
    scan = simulate(
        SimulateConfig(
            size=32,
            object_size=(80, 80),
            step_px=4.0,
            photons=1e6,
            pupil_radius=0.5,
            defocus_waves=1.0,
            faults=("probe-guess:0.15",),
            seed=4,
        )
    )
    blind = scan.replace(truth=None, experiment=None)
    solver = LiveSolver(WEIGHTS, FREE, CPU, COST)
    steps = feed(solver, blind, np.arange(scan.n_patterns))
    assert [step.kind for step in steps].count("probe") >= 2
    offline, calls = reconstruct(blind), []
    probe = solver.close()
    complete = solver.probe.complete(blind)
    finished = reconstruct(complete, WEIGHTS, FREE, solved_probe=probe, progress=lambda *a, **k: calls.append(a))
    errors = [error(recon, scan) for recon in (finished, offline)]
    assert errors[0] < 1.05 * errors[1]
    assert calls
    assert finished.provenance["config"] == offline.provenance["config"]
    assert set(finished.metrics) == set(offline.metrics)


def test_blocks_of_other_patterns_are_refused(blind):
    store = PatternStore()
    store.add(blind.subset(np.arange(3)), np.arange(3))
    with pytest.raises(InputError, match="one per pattern"):
        store.add(blind.subset(np.arange(3)), np.arange(4))
    small = blind.replace(counts=blind.counts[:, 8:24, 8:24], mask=None, probe=None)
    with pytest.raises(InputError, match="pixels, as before"):
        store.add(small, np.arange(blind.n_patterns))


def test_counts_are_read_when_needed_in_their_type(blind):
    store, order = PatternStore(), np.random.default_rng(0).permutation(50)
    for first in range(0, 50, 20):
        index = np.sort(order[first : first + 20])
        store.add(blind.subset(index), index)
    chosen = np.array([3, 19, 20, 45])
    assert np.array_equal(store.counts(chosen), blind.counts[store.numbers[chosen]])
    assert store.counts(chosen).dtype == blind.counts.dtype
    assert np.array_equal(store.scan(chosen).positions_px, blind.positions_px[store.numbers[chosen]])
    assert set(store.states) == {WAITING}
    assert IN_PICTURE != WAITING


def test_a_flux_that_varies_is_solved_for_and_a_constant_one_is_not(scan, blind):
    rng = np.random.default_rng(5)
    flux = np.exp(0.2 * rng.normal(size=scan.n_patterns))
    counts = rng.poisson(blind.counts * flux[:, None, None] / 2).astype(np.uint16)
    unsteady = blind.replace(counts=counts, probe=blind.probe / np.float32(2**0.5))
    solvers = []
    for data in (blind, unsteady):
        solver = LiveSolver(WEIGHTS, KNOWN, CPU, COST)
        feed(solver, data, np.arange(scan.n_patterns), chunk=40)
        settle(solver)
        solvers.append(solver)
    assert [solver.current().flux is not None for solver in solvers] == [False, True]
    assert np.corrcoef(np.log(solvers[1].current().flux), np.log(flux))[0, 1] > 0.7


@pytest.mark.parametrize("per_block", [12, 30])
def test_with_idle_steps_the_misfit_of_all_frames_does_not_rise(per_block):
    scan = simulate(SimulateConfig(object="dead_leaves", object_size=(300, 300), n_patterns=1200)).replace(truth=None)
    solver, misfits = LiveSolver(WEIGHTS, KNOWN, CPU, Cost(2e-4, 1e-6)), []
    for first in range(0, 120, per_block):  # the first lines do not show the ramp of the scan
        index = np.arange(first, first + per_block)
        solver.add(scan.subset(index), index)
        for _ in range(3):
            solver.step(0.6)
        misfits.append(solver.checks.residual[: first + per_block].copy())
    assert np.median(misfits[-1]) < min(1.05, np.nanmedian(misfits[len(misfits) // 2]) + 0.02)
    assert np.quantile(misfits[-1], 0.95) < 1.25


def test_dark_frames_at_the_start_and_stray_positions_are_left_out(blind):
    solver, count = LiveSolver(WEIGHTS, KNOWN, CPU, COST), blind.n_patterns
    dark = blind.subset(np.arange(30)).replace(counts=np.zeros_like(blind.counts[:30]))
    solver.add(dark, np.arange(30) + 1000)
    assert solver.step(1.0) is None
    positions = blind.positions_px.copy()
    positions[17] = 3000.0
    feed(solver, blind.replace(positions_px=positions), np.arange(count))
    assert solver.n_solved == count - 1
    assert solver.current().object.size < 200**2
    assert np.median(solver.checks.residual[30:][solver.frame_states[30:] > 0]) < 1.3
    assert np.nanmax(solver.checks.photons[:30]) == 0
    assert solver.list_left_out() == {"dark": list(range(1000, 1030)), "stray": [17]}
