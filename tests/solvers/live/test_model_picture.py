"""A trained model shows frames that wait, where the solver has no picture, and never changes that."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.beam_centre import add_phase_ramp
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.models.model_file import load_patch_model, load_weights
from ptypinn.solvers.live import model_picture
from ptypinn.solvers.live.canvas import GrowingCanvas
from ptypinn.solvers.live.model_picture import ModelPicture, is_covered, join_pictures
from ptypinn.solvers.live.patterns import PatternStore
from ptypinn.solvers.live.solver import LiveSolver
from ptypinn.solvers.live.windows import Cost
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train

CPU, EMPTY = torch.device("cpu"), GrowingCanvas()
TINY = {"epochs": 2, "width": 16, "cluster_size": 4, "batch_size": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def scan():
    config = SimulateConfig(size=32, object_size=(96, 224), n_patterns=100, photons=1e6, probe="disk", seed=3)
    return simulate(config).replace(truth=None)


@pytest.fixture(scope="module", params=[1, 2])
def model(request, scan, tmp_path_factory):
    config = TrainConfig(**TINY, gridsize=request.param)
    return load_patch_model(train(scan, config, output_dir=tmp_path_factory.mktemp("trained")))


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch):
    """As much time as it takes: a loaded machine is no reason for other frames."""
    monkeypatch.setattr(model_picture, "BUDGET_S", 1e6)


def stored(scan, index):
    store = PatternStore()
    store.add(scan.subset(np.sort(index)), np.sort(index))
    return store


def on_canvas(recon, box):
    """Object and illumination on the pixels of a box (top, left, height, width)."""
    top, left, height, width = box
    image, light = np.ones((height, width), np.complex64), np.zeros((height, width), np.float32)
    y, x = np.subtract(recon.origin_px, (top, left))
    image[y : y + recon.object.shape[0], x : x + recon.object.shape[1]] = recon.object
    light[y : y + recon.object.shape[0], x : x + recon.object.shape[1]] = recon.illumination
    return image, light


@pytest.mark.parametrize("model", [1], indirect=True)
@pytest.mark.parametrize("gauge", ["calibrated", "relative"])
def test_the_picture_of_all_frames_is_that_of_reconstruct(scan, model, gauge):
    """In one block on a canvas of its own size, or frame by frame on one that grows."""
    data = scan.replace(probe_gauge=gauge)
    whole = reconstruct(data, model, PatchNetworkConfig(device="cpu"))
    store, picture = PatternStore(), ModelPicture(model, CPU)
    order = np.argsort(np.abs(scan.positions_px - scan.positions_px.mean(0)).max(1))
    parts = np.array_split(order, 7) if gauge == "calibrated" else [order]  # the first frames calibrate a relative one
    for part in parts:
        store.add(data.subset(np.sort(part)), np.sort(part))
        assert picture.add_newest(store, EMPTY) == len(part)
    ours = picture.draw()
    assert sorted(ours.patterns) == list(range(scan.n_patterns))
    box = (-64, -64, 400, 500)
    (image, light), (expected, expected_light) = on_canvas(ours, box), on_canvas(whole, box)
    assert np.allclose(light, expected_light, rtol=1e-4, atol=1e-4 * light.max())
    lit = light > 0.01 * light.max()
    assert np.allclose(image[lit], expected[lit], atol=1e-3)


def test_groups_wait_for_enough_near_frames(scan, model):
    picture, count = ModelPicture(model, CPU), model.header.gridsize**2
    near = np.argsort(np.linalg.norm(scan.positions_px - scan.positions_px[0], axis=1))[:count]
    far = np.array([np.argmax(np.linalg.norm(scan.positions_px - scan.positions_px[0], axis=1))])
    if count > 1:
        assert picture.add_newest(stored(scan, near[:-1]), EMPTY) == 0
        assert picture.add_newest(stored(scan, np.append(near[:-1], far)), EMPTY) == 0
    assert picture.add_newest(stored(scan, near), EMPTY) > 0
    assert np.isfinite(picture.draw().object).all()


def test_too_little_time_takes_in_the_newest_frames_alone(scan, model, monkeypatch):
    monkeypatch.setattr(model_picture, "BUDGET_S", 7.5 * model_picture.FIRST_FRAME_S)
    picture = ModelPicture(model, CPU)
    everything = ModelPicture(model, CPU)
    count = picture.add_newest(stored(scan, np.arange(60)), EMPTY)
    assert count == int(7.5 / model.header.gridsize**2)
    monkeypatch.setattr(model_picture, "BUDGET_S", 1e6)
    assert everything.add_newest(stored(scan, np.arange(60)), EMPTY) > 30
    assert sorted(picture.numbers) == sorted(everything.numbers)[-count:]
    assert everything.numbers.max() == 59 or model.header.gridsize > 1


def test_the_solver_is_not_changed_and_its_picture_stays_where_it_has_one(scan, model):
    solvers = [LiveSolver(load_weights(None), ReconstructConfig(), CPU, Cost(1e-4, 1e-6)) for _ in range(2)]
    picture = ModelPicture(model, CPU)
    for first in range(0, 60, 30):  # the first block is too small for the probe, the second one enters beside it
        for solver, shows in zip(solvers, (False, True), strict=True):
            solver.add(scan.subset(np.arange(first, first + 30)), np.arange(first, first + 30))
            if shows:
                assert picture.add_newest(solver.patterns, solver.canvas) > 0
                filled = picture.fill(solver)
                assert np.isfinite(filled.object).all()
            while (step := solver.step(1.0)) is not None and step.kind != "settling":
                pass
    plain, beside = (solver.current() for solver in solvers)
    assert np.array_equal(plain.object, beside.object)
    assert np.array_equal(plain.probe, beside.probe)
    assert picture.count_alone(solvers[1].canvas) == 0
    assert picture.fill(solvers[1]).object is not None
    assert np.array_equal(picture.fill(solvers[1]).object, beside.object)
    assert picture.add_newest(solvers[1].patterns, solvers[1].canvas) == 0
    assert np.array_equal(solvers[0].close(), solvers[1].close())


def test_frames_beyond_the_picture_of_the_solver_are_beside_it(scan, model):
    solver = LiveSolver(load_weights(None), ReconstructConfig(refine_probe=False), CPU, Cost(1e-4, 1e-6))
    picture = ModelPicture(model, CPU)
    left = np.argsort(scan.positions_px[:, 1], kind="stable")[:40]
    solver.add(scan.subset(np.sort(left)), np.sort(left))
    while (step := solver.step(1.0)) is not None and step.kind != "settling":
        pass
    rest = np.setdiff1d(np.arange(scan.n_patterns), left)
    solver.add(scan.subset(rest), rest)
    assert picture.add_newest(solver.patterns, solver.canvas) > 0
    alone = picture.count_alone(solver.canvas)
    assert 0 < alone <= len(rest)
    solved, filled = solver.current(), picture.fill(solver)
    assert filled.object.shape[1] > solved.object.shape[1] + 32
    y, x = np.subtract(solved.origin_px, filled.origin_px)
    part = filled.object[y : y + solved.object.shape[0], x : x + solved.object.shape[1]]
    lit = solved.illumination > 0.1 * solved.illumination.max()
    assert np.array_equal(part[lit], solved.object[lit])
    assert np.allclose(filled.positions_px - solved.positions_px, (y, x))


@given(st.floats(-3, 3), st.floats(-0.02, 0.02), st.floats(-0.02, 0.02), st.integers(0, 2**16))
@settings(max_examples=10)
def test_pictures_are_joined_with_one_phase_and_ramp(phase, slope_y, slope_x, seed):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(96, 160)), 0), 1)
    truth = np.exp(1j * smooth / np.abs(smooth).max()).astype(np.complex64)
    turned = add_phase_ramp(truth, (slope_y, slope_x)) * np.complex64(np.exp(1j * phase))
    probe = np.ones((1, 32, 32), np.complex64)
    light = np.ones((96, 160), np.float32)
    light[:, 90:] = 0
    solved = Reconstruction(np.where(light > 0, truth, 1), light, probe, np.zeros((1, 2)), (5, -7))
    own = Reconstruction(turned[:, 40:], 1 - light[:, 40:] + 0.5, probe, np.zeros((1, 2)), (5, 33))
    joined = join_pictures(solved, own)
    assert joined.origin_px == (5, -7)
    assert np.array_equal(joined.object[:, :90], truth[:, :90])
    assert np.abs(joined.object - truth).max() < 0.02


def test_pictures_that_hardly_touch_are_not_turned():
    light, probe = np.ones((32, 32), np.float32), np.ones((1, 32, 32), np.complex64)
    solved = Reconstruction(np.full((32, 32), 1j, np.complex64), light, probe, np.zeros((1, 2)), (0, 0))
    own = dataclasses.replace(solved, object=np.ones((32, 32), np.complex64), origin_px=(0, 30))
    joined = join_pictures(solved, own)
    assert np.array_equal(joined.object[:, :32], solved.object)
    assert np.array_equal(joined.object[:, 32:], own.object[:, 2:])


def test_bad_pixels_that_come_to_light_start_it_again(scan, model):
    picture = ModelPicture(model, CPU)
    picture.add_newest(stored(scan, np.arange(20)), EMPTY)
    mask = np.ones((32, 32), bool)
    mask[3, 4] = False
    store, again = stored(scan.replace(mask=mask), np.arange(30)), ModelPicture(model, CPU)
    assert picture.add_newest(store, EMPTY) == again.add_newest(store, EMPTY) > 20
    assert np.array_equal(picture.draw().object, again.draw().object)


def test_dark_frames_and_other_patterns(scan, model):
    picture = ModelPicture(model, CPU)
    assert picture.add_newest(PatternStore(), EMPTY) == 0
    with pytest.raises(RuntimeError, match="no frame"):
        picture.draw()
    dark = scan.replace(counts=np.zeros_like(scan.counts[:]))
    assert picture.add_newest(stored(dark, np.arange(8)), EMPTY) == 0
    small = scan.replace(counts=scan.counts[:, 8:24, 8:24], mask=None, probe=None)
    with pytest.raises(InputError, match="patterns of 16 pixels, expected 32 pixels"):
        picture.add_newest(stored(small, np.arange(8)), EMPTY)


def test_nothing_is_covered_by_an_empty_canvas(scan):
    assert not is_covered(EMPTY, scan.positions_px, 32).any()
