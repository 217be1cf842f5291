"""The demonstration: from a simulated scan to a quantitative object, through the network, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ptypinn.config.demo import DemoConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.formats import save
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.device import cpu_threads
from ptypinn.evaluate import Evaluation, evaluate
from ptypinn.progress import Progress
from ptypinn.reconstruct import reconstruct
from ptypinn.simulate import simulate
from ptypinn.training import train


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration makes."""

    scan: ScanData
    """The simulated scan, with its truth."""
    model: Path
    """The trained model."""
    recon: Reconstruction
    """What the network makes of the scan."""
    evaluation: Evaluation
    """How well it agrees with the truth and with the counts."""


def demo(
    config: DemoConfig | None = None, *, output_dir: str | Path, progress: Progress | None = None
) -> Demonstration:
    """Simulate dense lines under a defocused zone-plate probe, train the network on the counts alone, reconstruct.

    The truth takes no part in training: it is used to judge, at the end.

    Args:
        config: Size of the scan and length of the training.
        output_dir: Folder for the scan file (`scan.h5`) and the training (`model`).
        progress: Told about every step.
    """
    config, folder = config or DemoConfig(), Path(output_dir)
    with cpu_threads(config.threads):
        scan = simulate(simulation_of(config), progress=progress)
        save(scan, folder / "scan.h5")
        model = train(scan, training_of(config), output_dir=folder / "model", progress=progress)
        recon = reconstruct(scan, model, ReconstructConfig(device=config.device), progress=progress)
        return Demonstration(scan, model, recon, evaluate(recon, scan))


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


def training_of(config: DemoConfig) -> TrainConfig:
    """The training that the demonstration runs."""
    return TrainConfig(
        model="cnn",
        width=config.width,
        gridsize=config.gridsize,
        epochs=config.epochs,
        device=config.device,
        seed=config.seed,
    )
