"""ePIE of ptychi on a scene, with the arrays and conventions of LSQ-ML's engine."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.scan import ScanData
from ptypinn.solvers import lsqml as engine

FULL_STEP_PHOTONS = 3e5
"""Photons per pattern from which full steps are best."""


@dataclass(frozen=True)
class EpieOptions:
    """Settings of ePIE."""

    batch_size: int = 16
    """Patterns per update; the classical engine has 1, which gains as much per pass and takes five times as long."""
    alpha: float = 1.0
    """Step of object and probe."""
    refine_probe: bool = False
    """Solve for the probe too, with its power held."""
    seed: int = 0
    """Seed of the order of patterns."""


def epie_options(photons: float, refine_probe: bool) -> EpieOptions:
    """Return the best settings found by trial on the scenes: small steps at low dose."""
    return EpieOptions(alpha=1.0 if photons > FULL_STEP_PHOTONS else 0.2, refine_probe=refine_probe)


@contextmanager
def epie_task(scan: ScanData, options: EpieOptions) -> Iterator[engine.LsqmlTask]:
    """Set ePIE up on a scan from a flat object; the caller steps it."""
    _, shape = canvas_frame(scan)
    centre = (np.asarray(shape) + 2 * engine.PAD) // 2
    arrays = engine._arrays(scan, np.ones(shape, np.complex64))
    y, x = (canvas_positions(scan) + engine.PAD - centre).astype(np.float32).T.copy()
    with engine._contained("cpu"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make = importlib.import_module("ptychi.api.task").PtychographyTask
            settings = _task_options(scan, options, centre)
            task = make(settings, **arrays, probe_position_y_px=y, probe_position_x_px=x)
        torch.set_default_device(None)
        yield engine.LsqmlTask(task, scan.size, shape)


def _task_options(scan: ScanData, options: EpieOptions, centre: np.ndarray) -> Any:
    settings = importlib.import_module("ptychi.api").EPIEOptions()
    solver, obj, probe = settings.reconstructor_options, settings.object_options, settings.probe_options
    solver.default_device = "cpu"
    solver.random_seed = options.seed
    solver.batch_size = options.batch_size
    obj.alpha = probe.alpha = options.alpha
    obj.remove_object_probe_ambiguity.enabled = False
    obj.determine_position_origin_coords_by = "specified"
    obj.position_origin_coords = (centre + (scan.size - 1) / 2).tolist()
    probe.optimizable = options.refine_probe
    if options.refine_probe:
        probe.power_constraint.enabled = True
        probe.power_constraint.probe_power = float(np.sum(np.abs(scan.require_probe() / scan.size) ** 2))
    settings.data_options.fft_shift = False
    return settings
