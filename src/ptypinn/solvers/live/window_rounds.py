"""Rounds of the unrolled solver on a window of a scan in progress, from the canvas so far and back into it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float32, Float64
from scipy.ndimage import gaussian_filter
from torch import nn

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.models.blocks import STRIDE
from ptypinn.physics.patches import compute_illumination, split_positions
from ptypinn.solvers.live.canvas import GrowingCanvas
from ptypinn.solvers.live.windows import Window
from ptypinn.solvers.quasi_newton.initial_object import dpc_start
from ptypinn.solvers.quasi_newton.preconditioner import IlluminationStats, compute_illumination_stats
from ptypinn.solvers.unrolled.loop import rms_amplitude
from ptypinn.solvers.unrolled.problem import ScanContext, UnrolledOptions
from ptypinn.solvers.unrolled.solver import UnrolledResult, solve_scan
from ptypinn.solvers.unrolled.tiling import Box

MAX_STATS_PX = 1024
"""Edge of the part of the canvas around a window that its units are taken from, pixels."""
SOLVED_FRACTION = 0.1
"""Illumination by patterns in the picture, over its maximum, from which new patterns start from the object so far."""
CONTINUED_PX = 16.0
"""Width of the mean by which the phase of the object so far is continued, pixels (standard deviation)."""
MEMORY = 0.4
"""Weight of the object so far where all light was there before: rounds fit some counting noise, and less of it is left
in a mean over the rounds of successive windows."""
MIN_LIGHT = 1e-12

Lit = Float32[np.ndarray, "height width"]


def solve_window(
    scan: ScanData,
    window: Window,
    canvas: GrowingCanvas,
    fresh: Bool[np.ndarray, " patterns"],
    network: nn.Module,
    options: UnrolledOptions,
    rounds: int,
    device: torch.device,
    join_flux: Callable[[Float64[np.ndarray, " patterns"]], float] | None = None,
) -> float:
    """Run rounds on a window and average the object with that so far: its weight is the share of its patterns' light.

    What two sets of patterns determine by themselves is best averaged so. Where their light was there before, the
    object so far has the weight `MEMORY`; where all light is new, theirs is taken.

    Args:
        scan: Patterns of the window with the probe to solve with.
        window: The window; the canvas covers it.
        canvas: Canvas so far, which is changed.
        fresh: True for patterns that are not in the picture yet.
        network: The correction.
        options: Options of the rounds; the probe is held.
        rounds: Number of rounds.
        device: Device to solve on.
        join_flux: Takes the flux of the patterns, where it is solved for, and returns the factor on it that agrees with
            the object so far.

    Returns:
        Data term per pattern before the last pass.
    """
    place = canvas.place(window.box)
    light = _new_light(scan, window.box, fresh, device)
    start = _compose_start(scan, window, canvas, device) if fresh.any() else canvas.object[place].copy()
    before = canvas.illumination[place].copy()
    canvas.illumination[place] += light
    stats, amplitude = _measure_units(scan, window.box, canvas, start)
    context = ScanContext((window.box.top, window.box.left), start, stats, amplitude, window.patterns)
    result = solve_scan(scan, network, options, rounds, device, context=context)
    factor = 1.0 if result.flux is None or join_flux is None else join_flux(result.flux)
    _average(canvas, place, before, result, factor)
    return result.history["loss"][-1] / scan.n_patterns


def _average(
    canvas: GrowingCanvas, place: tuple[slice, slice], before: Lit, result: UnrolledResult, factor: float
) -> None:
    """Average a solved object, whose flux a factor multiplies, with the canvas by the shares of light."""
    solved = np.where(result.illumination > 0, result.object / np.float32(factor**0.5), result.object)
    light = np.maximum(canvas.illumination[place], MIN_LIGHT)
    share = np.where(canvas.illumination[place] > 0, result.illumination / light, 0)
    share = np.clip(share, 0, 1) * (1 - MEMORY * np.clip(before / light, 0, 1))
    canvas.object[place] += (share * (solved - canvas.object[place])).astype(np.complex64)


def _new_light(scan: ScanData, box: Box, fresh: np.ndarray, device: torch.device) -> Lit:
    """Return the photons on every pixel of a box by the patterns that are not in the picture yet."""
    if not fresh.any():
        return np.zeros(box.shape, np.float32)
    probe = torch.from_numpy(scan.require_probe()).to(device)
    corners = split_positions(torch.from_numpy(scan.positions_px[fresh] - np.array(box[:2], float)))[0]
    return compute_illumination(probe, corners.to(device), *box.shape).cpu().numpy()


def _compose_start(
    scan: ScanData, window: Window, canvas: GrowingCanvas, device: torch.device
) -> Complex64[np.ndarray, "height width"]:
    """Return the object so far where it is solved, and elsewhere flux and deflections, in phase with it."""
    box, solved = window.box, canvas.illumination[canvas.place(window.box)]
    probe = torch.from_numpy(scan.require_probe()).to(device)
    corners = split_positions(torch.from_numpy(scan.positions_px - np.array(box[:2], float)))[0].to(device)
    with torch.inference_mode():
        guess = dpc_start(PatternBatches(scan, device, budget_bytes=0), probe, corners, box.shape).cpu().numpy()
    if not solved.any():
        return guess
    weight = np.minimum(1, solved / (SOLVED_FRACTION * solved.max()))
    current = canvas.object[canvas.place(box)]
    return (weight * current + (1 - weight) * guess * _continue_phase(weight * current * guess.conj())).astype(
        np.complex64
    )


def _continue_phase(difference: Complex64[np.ndarray, "height width"]) -> Complex64[np.ndarray, "height width"]:
    """Return the phase factor of a weighted difference, continued smoothly to where its weight is 0.

    Args:
        difference: Complex numbers whose phase is the difference, and whose modulus its weight.
    """
    wide = sum(
        (
            gaussian_filter(part, CONTINUED_PX, mode="constant") * unit
            for part, unit in ((difference.real, 1), (difference.imag, 1j))
        ),
        start=np.zeros_like(difference),
    )
    wide = wide + 1e-6 * difference.sum()
    return np.exp(1j * np.angle(wide)).astype(np.complex64)


def _measure_units(
    scan: ScanData, box: Box, canvas: GrowingCanvas, start: np.ndarray
) -> tuple[IlluminationStats, float]:
    """Return the units of a round: those of the whole canvas, or of a part of bounded size around the window."""
    margin = max(0, MAX_STATS_PX - max(box.shape)) // 2 // STRIDE * STRIDE
    around = box.padded(margin).intersection(canvas.box)
    part, inner = canvas.place(around), box.slices(around)
    image = canvas.object[part].copy()
    image[inner] = start
    illumination, current = torch.from_numpy(canvas.illumination[part]), torch.from_numpy(image)
    brightest = float((np.abs(scan.require_probe()) ** 2).sum(0).max())
    return compute_illumination_stats(illumination, current, brightest), rms_amplitude(current, illumination)
