"""LSQ-ML of the ptychi package on a `ScanData` in memory: an independent solver to compare with, or to refine with.

ptychi is an extra and is imported only when this engine runs. Its conventions are translated here and nowhere else: its
FFT is unnormalised, so its probe is `probe / N`; it has its own origin of positions;
it sets global defaults of torch and seeds global generators, which are put back afterwards.
LSQ-ML: Odstrcil, Menzel and Guizar-Sicairos, Optics Express 26, 3108 (2018).
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Complex64, Float64

from ptypinn.data.detector_mtf import require_sharp
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.patches import compute_illumination, split_positions
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonResult
from ptypinn.solvers.quasi_newton.unknowns import extend_modes
from ptypinn.utils.progress import Progress, silent
from ptypinn.utils.solve_meter import count_pass

Canvas = Complex64[np.ndarray, "height width"]
Modes = Complex64[np.ndarray, "mode y x"]
PAD = 1
"""Pixels around the canvas, which ptychi wants beyond the outermost patches."""


@dataclass(frozen=True)
class LsqmlOptions:
    """Settings of LSQ-ML; the defaults are those with which it converges best on the benchmark scans."""

    batch_size: int = 100
    """Patterns per update (RANDOM, UNIFORM) or per compact cluster."""
    batching: Literal["random", "uniform", "compact"] = "compact"
    """`compact` updates the object once per pass, with momentum; the others after every batch."""
    momentum: float = 1.0
    """Gain of the momentum acceleration; 0 switches it off."""
    noise_model: Literal["gaussian", "poisson"] = "gaussian"
    """Data term: amplitudes (gaussian) or Poisson likelihood."""
    refine_probe: bool = True
    """Solve for the probe too."""
    refine_positions: bool = False
    """Correct the positions too, by the gradient."""
    refine_flux: bool = False
    """Correct the flux of every frame too."""
    hold_power: bool = True
    """Keep the power of a refined probe at its photons per pattern; the object takes the inverse factor."""
    seed: int = 0
    """Seed of the order of patterns and of everything else random."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device to compute on."""


class LsqmlTask:
    """A running LSQ-ML reconstruction, to be used inside the `with` block of `lsqml_task`."""

    def __init__(self, task: Any, size: int, shape: tuple[int, int]) -> None:
        self._task, self._size, self._shape = task, size, shape

    def step(self) -> float:
        """Run one pass over all patterns; return its loss, the mean squared difference of amplitudes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._task.run(1)
        return float(self._task.reconstructor.loss_tracker.table.loss.iloc[-1])

    def object(self) -> Canvas:
        """Return the object on the canvas of the scan, transmission; the product of its slices where it is thick."""
        return self.slices().prod(0)

    def slices(self) -> Complex64[np.ndarray, "slice height width"]:
        """Return the slices of the object on the canvas of the scan, one where it is thin, transmission."""
        padded = self._task.get_data_to_cpu("object", as_numpy=True)
        return np.ascontiguousarray(padded[:, PAD : PAD + self._shape[0], PAD : PAD + self._shape[1]])

    def positions(self) -> Float64[np.ndarray, "patterns 2"]:
        """Return the positions on the canvas of the scan, pixels."""
        centre = (np.asarray(self._shape) + 2 * PAD) // 2
        return self._task.get_data_to_cpu("probe_positions", as_numpy=True).astype(float) + centre - PAD

    def probe(self) -> Modes:
        """Return the probe modes, sqrt(photons)."""
        return self._task.get_data_to_cpu("probe", as_numpy=True)[0] * np.float32(self._size)


def require_ptychi() -> None:
    """Raise `InputError` where ptychi is not installed; nothing is imported."""
    if importlib.util.find_spec("ptychi") is None:
        raise InputError("--engine", "", "that ptychi is not installed", "it after: pip install ptypinn[ptychi]")


@contextmanager
def lsqml_task(scan: ScanData, options: LsqmlOptions, initial: Canvas | None = None) -> Iterator[LsqmlTask]:
    """Set LSQ-ML up on a scan, to be stepped by the caller.

    Args:
        scan: The scan with its calibrated probe modes, and the gaps between the slices of a thick sample; all its
            counts are read into memory.
        options: Settings of LSQ-ML.
        initial: Object to start from, on the canvas of `canvas_frame(scan)`; None for a flat one.

    Raises:
        InputError: Where ptychi is not installed or the scan has no probe.
    """
    require_ptychi()
    _, shape = canvas_frame(scan)
    centre = (np.asarray(shape) + 2 * PAD) // 2
    arrays = _arrays(scan, np.ones(shape, np.complex64) if initial is None else initial)
    y, x = (canvas_positions(scan) + PAD - centre).astype(np.float32).T.copy()
    with _restored_globals(options.device):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task_class = importlib.import_module("ptychi.api.task").PtychographyTask
            task = task_class(
                _task_options(scan, options, centre), **arrays, probe_position_y_px=y, probe_position_x_px=x
            )
        if options.device == "cpu":
            torch.set_default_device(None)  # the same device, but an explicit one costs a tenth of the speed
        task.reconstructor.dataloader.generator.manual_seed(options.seed)
        yield LsqmlTask(task, scan.size, shape)


def run_lsqml(
    scan: ScanData,
    iterations: int,
    options: LsqmlOptions,
    *,
    initial: Canvas | None = None,
    progress: Progress = silent,
) -> QuasiNewtonResult:
    """Solve a scan by LSQ-ML of ptychi.

    Args:
        scan: The scan with its calibrated probe modes; all its counts are read into memory.
        iterations: Passes over all patterns.
        options: Settings of LSQ-ML.
        initial: Object to start from, on the canvas of `canvas_frame(scan)`; None for a flat one.
        progress: Called after every pass.

    Returns:
        The result on the canvas of the scan; `history["loss"]` is the mean squared difference of amplitudes.

    Raises:
        InputError: Where ptychi is not installed or the scan has no probe.
    """
    losses: list[float] = []
    with lsqml_task(scan, options, initial) as task:
        for done in range(1, iterations + 1):
            losses.append(task.step())
            count_pass(scan.n_patterns, 2 * len(scan.require_probe()), scan.size)
            progress("refine", done, iterations, loss=losses[-1])
        canvas, probe = task.object(), task.probe()
        positions = task.positions() if options.refine_positions else canvas_positions(scan)
    record = {"engine": f"ptychi {version('ptychi')}, LSQ-ML", "lsqml": asdict(options), "passes": iterations}
    return _to_result(scan, canvas, probe, positions, losses, record)


def _to_result(
    scan: ScanData,
    canvas: Canvas,
    probe: Modes,
    positions: Float64[np.ndarray, "patterns 2"],
    losses: list[float],
    record: dict[str, Any],
) -> QuasiNewtonResult:
    origin, shape = canvas_frame(scan)
    reach = np.asarray(shape) - scan.size
    positions = np.clip(positions, 0, reach)
    corners, _ = split_positions(torch.from_numpy(positions))
    return QuasiNewtonResult(
        object=canvas,
        probe=probe,
        positions_px=positions,
        origin_px=origin,
        illumination=compute_illumination(torch.from_numpy(probe), corners, *shape).numpy(),
        history={"loss": losses},
        notes=record,
    )


def refine_lsqml(
    scan: ScanData,
    options: QuasiNewtonOptions,
    device: torch.device,
    *,
    seed: int,
    progress: Progress = silent,
    initial: Reconstruction | None = None,
) -> QuasiNewtonResult:
    """Solve a scan for `refine` by LSQ-ML, from a flat object or from a reconstruction.

    Args:
        scan: The scan with a calibrated probe.
        options: Options of the solve; early stopping and tolerance of the native solver do not apply.
        device: Device to solve on.
        seed: Seed of the order of patterns.
        progress: Called after every pass.
        initial: Object and probe to start from, on the canvas of the scan.

    Raises:
        InputError: Where ptychi is not installed, the scan has no probe, or the device does not exist.
    """
    require_ptychi()
    require_sharp(scan, "--engine ptychi; the native one has it")
    probe = torch.from_numpy(scan.require_probe() if initial is None else initial.probe)
    if options.refine_probe and options.probe_modes is not None:
        probe = extend_modes(probe, options.probe_modes)
    lsqml = LsqmlOptions(
        refine_probe=options.refine_probe,
        noise_model="poisson" if options.loss == "poisson" else "gaussian",
        seed=seed,
        device="cuda" if device.type == "cuda" else "cpu",
    )
    scan = scan.replace(probe=probe.numpy())
    canvas = None if initial is None else initial.object
    return run_lsqml(scan, options.iterations, lsqml, initial=canvas, progress=progress)


def _arrays(scan: ScanData, initial: Canvas) -> dict[str, np.ndarray]:
    counts = np.where(scan.good, scan.counts[:], 0).astype(np.float32)
    if scan.background is not None:
        counts = np.maximum(counts - np.where(scan.good, scan.background, 0), 0)
    return {
        "diffraction_data": np.fft.ifftshift(counts, axes=(1, 2)),
        "valid_pixel_mask": np.fft.ifftshift(scan.good),
        "object_data": _stack(np.pad(initial, PAD, constant_values=1), scan),
        "probe_data": scan.require_probe()[None] / np.float32(scan.size),
    }


def _stack(canvas: Canvas, scan: ScanData) -> Complex64[np.ndarray, "slice height width"]:
    """Return slices that an object is divided into, one of a thin sample."""
    gaps = () if scan.gap_fresnel_numbers is None else scan.gap_fresnel_numbers
    return np.concatenate([canvas[None], *(np.ones_like(canvas)[None] for _ in gaps)])


def _task_options(scan: ScanData, options: LsqmlOptions, centre: np.ndarray) -> Any:
    task_options = importlib.import_module("ptychi.api").LSQMLOptions()
    solver, obj, probe = task_options.reconstructor_options, task_options.object_options, task_options.probe_options
    solver.default_device = "gpu" if options.device == "cuda" else "cpu"
    solver.random_seed = options.seed
    solver.batch_size = min(options.batch_size, scan.n_patterns)
    solver.batching_mode = options.batching
    solver.momentum_acceleration_gain = options.momentum
    solver.noise_model = options.noise_model
    solver.rescale_probe_intensity_in_first_epoch = False  # would replace the calibrated flux
    if scan.sample_tilt is not None and np.any(scan.sample_tilt):
        raise InputError(scan.source, "sample_tilt", str(scan.sample_tilt.tolist()), "none: LSQ-ML has no such term")
    if scan.gap_fresnel_numbers is not None:  # lengths in pixels, of a wavelength of a pixel
        obj.pixel_size_m = task_options.data_options.wavelength_m = 1.0
        obj.slice_spacings_m = (1 / scan.gap_fresnel_numbers).tolist()
    modes = scan.require_probe().shape[0]
    solver.solve_step_sizes_only_using_first_probe_mode = modes > 1  # same figures for one mode, less work
    obj.remove_object_probe_ambiguity.enabled = False  # would replace the object's scale
    obj.determine_position_origin_coords_by = "specified"
    obj.position_origin_coords = (centre + (scan.size - 1) / 2).tolist()
    probe.optimizable = options.refine_probe
    if options.refine_probe and options.hold_power:
        probe.power_constraint.enabled = True
        probe.power_constraint.probe_power = float(np.sum(np.abs(scan.require_probe() / scan.size) ** 2))
    task_options.probe_position_options.optimizable = options.refine_positions
    flux = task_options.opr_mode_weight_options
    flux.optimizable = flux.optimize_intensity_variation = options.refine_flux
    flux.optimize_eigenmode_weights = False
    task_options.data_options.fft_shift = False
    return task_options


@contextmanager
def _restored_globals(device: str) -> Iterator[None]:
    """Restore what ptychi changes globally: default device, default dtype, states of the random generators."""
    before, dtype = torch.get_default_device(), torch.get_default_dtype()
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=None if device == "cuda" else []):
            yield
    finally:
        torch.set_default_device(None if before.type == "cpu" else before)
        torch.set_default_dtype(dtype)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
