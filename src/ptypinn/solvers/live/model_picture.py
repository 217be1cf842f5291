"""Picture of frames that wait, by a trained patch network: shown where the solver has not been yet.

The solver neither reads it nor waits for more than a bounded time: its picture and the finished run are the same
without it.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float32, Float64, Int64

from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.data.beam_centre import add_phase_ramp, measure_slope
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.grouping import Groups, group_neighbours
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import PatchModel
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.optics import probe_photons
from ptypinn.solvers.live.canvas import LIT_FRACTION, GrowingCanvas, bounding_box, crop_to_light, grow_box
from ptypinn.solvers.live.patterns import WAITING, PatternStore
from ptypinn.solvers.live.solver import LiveSolver
from ptypinn.solvers.patch_network.aggregate import PatchAggregator, run_network
from ptypinn.solvers.patch_network.reconstruct import choose_probe, make_predictor, require_finite, require_size
from ptypinn.solvers.unrolled.tiling import Box
from ptypinn.utils.progress import silent

BUDGET_S = 0.1
"""Time that the network takes for a picture, seconds."""
FIRST_FRAME_S = 0.02
"""Time of a frame before one was timed, seconds."""
MEMORY = 0.7
"""Weight of the frames before in the mean time of a frame."""
MIN_COMMON = 0.25
"""Common pixels of both pictures, over those of a pattern, from which their phases are joined; ramps from 1 on."""


class ModelPicture:
    """Running sums of the patches that a trained network makes of frames which wait.

    Args:
        bundle: The trained network.
        device: Device to run it on.
    """

    def __init__(self, bundle: PatchModel, device: torch.device) -> None:
        self.bundle, self.device = bundle, device
        self._frame_s = FIRST_FRAME_S
        self._start()

    def _start(self) -> None:
        """Start without any frame, as again where bad pixels come to light."""
        self.box = Box(0, 0, 0, 0)
        self.numbers: Int64[np.ndarray, " patterns"] = np.zeros(0, np.int64)
        """Numbers of the frames in it, in the order in which they entered."""
        self.positions_px: Float64[np.ndarray, "patterns 2"] = np.zeros((0, 2))
        self._sums = PatchAggregator.empty((0, 0), self.device)
        self._template: ScanData | None = None
        self._predictor: PatchPredictor | None = None

    def add_newest(self, patterns: PatternStore, canvas: GrowingCanvas) -> int:
        """Take in the newest frames that wait where the solver has no picture, as many as the time allows.

        Args:
            patterns: All frames.
            canvas: Picture of the solver.

        Returns:
            The number of frames that were taken in.

        Raises:
            InputError: Where frames and network do not fit each other.
        """
        if not len(patterns):
            return 0
        require_size(patterns.size, self.bundle, patterns.first.source)
        if self._template is not None and not np.array_equal(self._template.good, patterns.first.good):
            self._start()
        waiting = (patterns.states == WAITING) & (patterns.photons > 0) & ~np.isin(patterns.numbers, self.numbers)
        waiting[waiting] = ~is_covered(canvas, patterns.positions_px[waiting], patterns.size)
        if waiting.any():
            waiting &= patterns.are_usable()
        groups = self._group(patterns, np.flatnonzero(waiting))
        if len(groups):
            started = time.perf_counter()
            self._add(patterns, groups)
            frame_s = (time.perf_counter() - started) / groups.size
            self._frame_s = MEMORY * self._frame_s + (1 - MEMORY) * frame_s
        return len(groups)

    def count_alone(self, canvas: GrowingCanvas) -> int:
        """Return the number of frames whose place is shown by the network alone."""
        return int((~is_covered(canvas, self.positions_px, self.bundle.header.size)).sum())

    def fill(self, solver: LiveSolver) -> Reconstruction:
        """Return the picture of the solver, and that of the network where it has none.

        Phase and ramp, which no pattern determines, are those of the solver's picture; amplitudes are not fitted, but
        brought to the photons of its probe.

        Raises:
            RuntimeError: Where no frame is in either.
        """
        if not self.count_alone(solver.canvas):
            return solver.current()
        if not solver.n_solved:
            return self.draw()
        solved = solver.current()
        own = self.draw()
        own = own.scale_probe(math.sqrt(probe_photons(solved.probe) / probe_photons(own.probe)))
        return join_pictures(solved, own)

    def draw(self) -> Reconstruction:
        """Return the picture of the network alone.

        Raises:
            RuntimeError: Where no frame is in it yet.
        """
        if self._template is None or self._predictor is None:
            raise RuntimeError("no frame is in the picture of the network yet")
        merged, _ = self._sums.merge(self._predictor.scaler.drift)
        require_finite(merged, self.bundle)
        illumination = self._sums.illumination[0].cpu().numpy()
        box = crop_to_light(illumination, self.box)
        place = box.slices(self.box)
        return Reconstruction(
            object=merged.cpu().numpy()[place],
            illumination=illumination[place],
            probe=self._template.require_probe(),
            positions_px=self.positions_px - np.array(box[:2], float),
            origin_px=(box.top, box.left),
            pixel_size_m=self._template.pixel_size_m,
            patterns=self.numbers,
            provenance={"stage": "live", "solver": "patch_network", "model": {"file": self.bundle.source}},
        )

    def _group(self, patterns: PatternStore, waiting: Int64[np.ndarray, " waiting"]) -> Groups:
        """Return groups of patterns, led by the newest of those that wait; of near neighbours where it takes several.

        Args:
            patterns: All frames.
            waiting: Patterns that may lead a group, by the order of their arrival.
        """
        gridsize, places = self.bundle.header.gridsize, patterns.positions_px
        count = gridsize**2
        if not len(waiting) or len(patterns) < count:
            return np.zeros((0, count), np.int64)
        groups = group_neighbours(places, gridsize, count - 1, seeds=waiting)
        distance = np.abs(places[groups] - places[groups[:, :1]]).max((1, 2))
        groups = groups[distance < patterns.size / 2]
        most = max(1, int(BUDGET_S / (count * self._frame_s)))
        newest = np.argsort(patterns.numbers[groups[:, 0]])[-most:]
        return groups[newest]

    def _add(self, patterns: PatternStore, groups: Groups) -> None:
        """Add the patches of groups of patterns to the sums."""
        members, places = np.unique(groups, return_inverse=True)
        groups = places.reshape(groups.shape)
        scan = patterns.scan(members, probe=patterns.first.probe, probe_gauge=patterns.first.probe_gauge)
        if self._predictor is None:
            scan = scan if scan.probe is None else calibrate_probe(scan)
            self._template = choose_probe(scan, self.bundle, PatchNetworkConfig())
            self._predictor = make_predictor(self._template, self.bundle, self.device)
        self._cover(bounding_box(scan.positions_px, scan.size))
        positions = scan.positions_px - np.array(self.box[:2], float)
        with torch.inference_mode():
            run_network(scan, self._predictor, positions, self._sums, [groups], batch=groups.size, progress=silent)
        leaders = members[groups[:, 0]]
        self.numbers = np.concatenate([self.numbers, patterns.numbers[leaders]])
        self.positions_px = np.concatenate([self.positions_px, patterns.positions_px[leaders]])

    def _cover(self, box: Box) -> None:
        """Grow until a box lies inside."""
        grown = grow_box(self.box, box)
        if grown != self.box:
            corner = (self.box.top - grown.top, self.box.left - grown.left) if self.box.pixels else (0, 0)
            self._sums = self._sums.enlarged(grown.shape, corner)
            self.box = grown


def is_covered(
    canvas: GrowingCanvas, positions_px: Float64[np.ndarray, "patterns 2"], size: int
) -> Bool[np.ndarray, " patterns"]:
    """Return True for patterns whose middle the picture of the solver shows.

    Args:
        canvas: Picture of the solver.
        positions_px: Coordinates (y, x) of each patch's pixel (0, 0), object pixels.
        size: Edge of a patch, pixels.
    """
    middle = np.round(positions_px).astype(np.int64) + size // 2 - np.array(canvas.box[:2])
    inside = ((middle >= 0) & (middle < canvas.illumination.shape)).all(1)
    covered = np.zeros(len(middle), bool)
    if inside.any():
        y, x = middle[inside].T
        covered[inside] = canvas.illumination[y, x] > LIT_FRACTION * canvas.illumination.max()
    return covered


def join_pictures(solved: Reconstruction, own: Reconstruction) -> Reconstruction:
    """Return a picture with another one where it has too little light.

    Args:
        solved: Picture of the solver.
        own: Picture of the network, in the gauge of the solver's probe.
    """
    boxes = [Box(*recon.origin_px, *np.add(recon.origin_px, recon.object.shape).tolist()) for recon in (solved, own)]
    whole = Box(*np.minimum(boxes[0][:2], boxes[1][:2]).tolist(), *np.maximum(boxes[0][2:], boxes[1][2:]).tolist())
    first, first_light = _paste(solved, boxes[0], whole)
    second, second_light = _paste(own, boxes[1], whole)
    is_solved = first_light > LIT_FRACTION * first_light.max()
    common = is_solved & (second_light > LIT_FRACTION * second_light.max())
    second = _match_phase(second, first, common, solved.probe.shape[-1])
    is_own = ~is_solved & (second_light > first_light)
    return replace(
        solved,
        object=np.where(is_own, second, first),
        illumination=np.where(is_own, second_light, first_light),
        positions_px=solved.positions_px + np.subtract(solved.origin_px, whole[:2]),
        origin_px=(whole.top, whole.left),
    )


def _paste(
    recon: Reconstruction, box: Box, whole: Box
) -> tuple[Complex64[np.ndarray, "height width"], Float32[np.ndarray, "height width"]]:
    """Return object and illumination of a picture on the pixels of a larger box."""
    canvas, light = np.ones(whole.shape, np.complex64), np.zeros(whole.shape, np.float32)
    place = box.slices(whole)
    canvas[place], light[place] = recon.object, recon.illumination
    return canvas, light


def _match_phase(
    image: Complex64[np.ndarray, "height width"],
    reference: Complex64[np.ndarray, "height width"],
    common: Bool[np.ndarray, "height width"],
    size: int,
) -> Complex64[np.ndarray, "height width"]:
    """Return an image with phase and ramp of another one, as far as enough common pixels show them.

    Args:
        image: The image.
        reference: The other one.
        common: Pixels that both show.
        size: Edge of a pattern, pixels.
    """
    if common.sum() < MIN_COMMON * size**2:
        return image
    if common.sum() >= size**2:
        ratio = (reference * image.conj()).astype(np.complex64)
        image = add_phase_ramp(image, measure_slope(ratio, common))
    factor = np.vdot(image[common], reference[common])
    return (image * np.exp(1j * np.angle(factor))).astype(np.complex64)
