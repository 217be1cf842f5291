"""Slow phases follow the displacement of the patterns."""

import numpy as np
import pytest
import torch

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.solvers.live.canvas import GrowingCanvas
from ptypinn.solvers.live.frame_checks import check_frames
from ptypinn.solvers.live.slow_phase import relax_phase
from ptypinn.solvers.unrolled.tiling import Box
from ptypinn.stages.simulate import simulate

CPU = torch.device("cpu")


def simulated(**options):
    defaults = {"size": 32, "object_size": (128, 128), "step_px": 4.0, "photons": 1e7, "seed": 1, "probe": "disk"}
    return simulate(SimulateConfig(**{**defaults, "probe_diameter_px": 12.0, "curvature_rad": 3.0, **options}))


def canvas_of(scan: ScanData, phase: np.ndarray) -> GrowingCanvas:
    canvas = GrowingCanvas()
    canvas.cover(Box(0, 0, 128, 128))
    canvas.object[:] = scan.truth * np.exp(1j * phase)
    canvas.illumination[:] = 1.0
    return canvas


def test_a_slow_error_of_the_phase_is_taken_back():
    scan, y = simulated(), np.mgrid[:128, :128][0]
    error = 0.4 * np.sin(2 * np.pi * y / 128) + 0.002 * (y - 64)
    canvas = canvas_of(scan, error)
    shift = check_frames(scan, canvas.object, scan.positions_px, CPU).shift_px
    left = relax_phase(canvas, scan.positions_px, shift, scan.size, 4.0)
    inner = (slice(24, 104),) * 2
    rest = np.angle(canvas.object * scan.truth.conj())[inner]
    assert np.std(rest) < 0.25 * np.std(error[inner])
    assert np.abs(left).mean() < 0.3 * np.abs(shift).mean()


def test_displacements_agree_with_the_slope_of_the_phase():
    scan, slope = simulated(), 2 * np.pi * 0.3 / 32
    canvas = canvas_of(scan, slope * np.mgrid[:128, :128][1])
    checks = check_frames(scan, canvas.object, scan.positions_px, CPU)
    for series in (checks.shift_px, checks.centre_px):
        assert np.allclose(np.median(series, 0), [0, -0.3], atol=0.06)


def test_the_right_object_explains_its_frames():
    scan = simulated()
    checks = check_frames(scan, scan.truth, scan.positions_px, CPU)
    assert np.allclose(checks.flux, 1, atol=0.01)
    assert 0.9 < np.median(checks.residual) < 1.1
    assert np.abs(checks.shift_px).max() < 0.02


@pytest.mark.parametrize("edges", [(16, 2000), (8, 8), (2000, 40)])
def test_long_and_small_canvases_are_relaxed_too(edges):
    canvas, width = GrowingCanvas(), max(edges)
    canvas.box, canvas.object = Box(0, 0, *edges), np.ones(edges, np.complex64)
    canvas.illumination = np.ones(edges, np.float32)
    positions = np.random.default_rng(0).uniform(0, np.maximum(1, np.array(edges) - 8), (300, 2))
    shift = np.where(np.array(edges) == width, 0.05, 0.0) * np.ones((300, 2))
    relax_phase(canvas, positions, shift, 8, 2.0)
    along = canvas.object if edges[1] == width else canvas.object.T
    slope = np.angle(along[:, 1:] * along[:, :-1].conj())
    assert np.isclose(np.quantile(slope, 0.75), 2 * np.pi * 0.05 / 8, rtol=0.2)
