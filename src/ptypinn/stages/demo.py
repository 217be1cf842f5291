"""The demonstration: from a simulated scan to a quantitative object in one call, without training anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.simulate import DemoConfig, SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.load_save import save
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.stages.evaluate import Evaluation, evaluate
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate
from ptypinn.utils.device import cpu_threads
from ptypinn.utils.progress import Progress


@dataclass(frozen=True)
class Demonstration:
    """Result of the demonstration."""

    scan: ScanData
    """The simulated scan, with its truth."""
    recon: Reconstruction
    """Reconstruction by the unrolled solver."""
    evaluation: Evaluation
    """Agreement with the truth and with the counts."""


def demo(
    config: DemoConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    watch: SnapshotCallback | None = None,
) -> Demonstration:
    """Simulate dense lines under a defocused zone-plate probe, and reconstruct them with the weights of the package.

    The truth is used for the final evaluation alone.

    Args:
        config: Size of the scan and rounds of the solver.
        output_dir: Folder for the scan file (`scan.h5`).
        progress: Called after every step.
        watch: Called after every round of the solver with a function that returns the reconstruction so far.
    """
    config, folder = config or DemoConfig(), Path(output_dir)
    with cpu_threads(config.threads):
        scan = simulate(configure_demo_scan(config), progress=progress)
        save(scan, folder / "scan.h5")
        recon = reconstruct(scan, None, configure_demo_solver(config), progress=progress, watch=watch)
        return Demonstration(scan, recon, evaluate(recon, scan))


def configure_demo_scan(config: DemoConfig) -> SimulateConfig:
    """Configure the scan of the demonstration."""
    return SimulateConfig(
        object="lines",
        object_size=(config.object_size, config.object_size),
        size=config.size,
        photons=config.photons,
        overlap=config.overlap,
        seed=config.seed,
    )


def configure_demo_solver(config: DemoConfig) -> ReconstructConfig:
    """Configure the reconstruction of the demonstration."""
    return ReconstructConfig(rounds=config.rounds, refine_probe=False, device=config.device, seed=config.seed)
