"""The `simulate` stage: a scan of a simulated sample from a configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import draw_probe, simulate_scan
from ptypinn.errors import InputError
from ptypinn.io.apply_options import read_probe
from ptypinn.types import Probe
from ptypinn.utils.progress import Progress

DEFAULTS = SimulateConfig()


def simulate(config: SimulateConfig = DEFAULTS, *, progress: Progress | None = None) -> ScanData:
    """Simulate a far-field ptychography scan.

    Args:
        config: Sample, probe, scan and detector.
        progress: Called as `progress("simulate", patterns_done, patterns)`.

    Returns:
        Counts with the true object in `truth`, the calibrated probe that made them, and in `provenance` the
        configuration and the statistics of the counts.

    Raises:
        InputError: If the probe file cannot be used.

    >>> scan = simulate(SimulateConfig(size=32, object_size=(64, 64), n_patterns=12, probe="disk"))
    >>> scan.counts.shape, scan.probe_gauge
    ((12, 32, 32), 'calibrated')
    """
    return simulate_scan(config, read_probe_field(config), progress=progress)


def prepare_probe(config: SimulateConfig) -> Probe:
    """Return the probe of a simulation, (modes, N, N), with exactly its photons; reads it where it is a file.

    Raises:
        InputError: If the probe file cannot be used.
    """
    return draw_probe(config, read_probe_field(config))


def read_probe_field(config: SimulateConfig) -> Probe | None:
    """Read the probe file of a configuration, in any scale; None where it names none.

    Raises:
        InputError: If the file cannot be used.
    """
    if config.probe != "file":
        return None
    probe = read_probe(Path(config.probe_file)).modes
    if probe.shape[1:] != (config.size, config.size):
        expected = f"(modes, {config.size}, {config.size}), the --size"
        raise InputError(config.probe_file, "probe", f"shape {probe.shape}", expected)
    if not np.isfinite(probe).all() or not probe.any():
        raise InputError(config.probe_file, "probe", "zeros only or a value that is not finite", "finite values")
    return torch.from_numpy(probe)
