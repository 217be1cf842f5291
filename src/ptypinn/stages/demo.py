"""The demonstration: from a simulated scan to a quantitative object in one call, without training anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.simulate import DemoConfig, SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.load_save import save
from ptypinn.stages.evaluate import Evaluation, evaluate
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate
from ptypinn.utils.device import cpu_threads
from ptypinn.utils.progress import Progress, Watch


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration makes."""

    scan: ScanData
    """The simulated scan, with its truth."""
    recon: Reconstruction
    """What the learned solver makes of the scan."""
    evaluation: Evaluation
    """How well it agrees with the truth and with the counts."""


def demo(
    config: DemoConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Demonstration:
    """Simulate dense lines under a defocused zone-plate probe, and reconstruct them with the weights of the package.

    The truth takes no part in it: it is used to judge, at the end.

    Args:
        config: Size of the scan and rounds of the solver.
        output_dir: Folder for the scan file (`scan.h5`).
        progress: Told about every step.
        watch: Called after every round of the solver with a function that gives the reconstruction so far.
    """
    config, folder = config or DemoConfig(), Path(output_dir)
    with cpu_threads(config.threads):
        scan = simulate(simulation_of(config), progress=progress)
        save(scan, folder / "scan.h5")
        recon = reconstruct(scan, None, reconstruction_of(config), progress=progress, watch=watch)
        return Demonstration(scan, recon, evaluate(recon, scan))


def simulation_of(config: DemoConfig) -> SimulateConfig:
    """The scan that the demonstration simulates."""
    return SimulateConfig(
        object="lines",
        object_size=(config.object_size, config.object_size),
        size=config.size,
        photons=config.photons,
        overlap=config.overlap,
        seed=config.seed,
    )


def reconstruction_of(config: DemoConfig) -> ReconstructConfig:
    """How the demonstration reconstructs."""
    return ReconstructConfig(rounds=config.rounds, refine_probe=False, device=config.device, seed=config.seed)
