"""The `train` stage: learn the inverse of one scan from its counts alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from ptypinn._version import __version__
from ptypinn.config.train import TrainConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.datamodule import ScanDataModule
from ptypinn.data.detector_mtf import require_sharp
from ptypinn.data.grouping import split_parts
from ptypinn.data.monitor import require_no_monitor
from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.data.pattern_form import require_far_field
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.model_file import PatchModel, PatchModelHeader
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.models.registry import build_network, complete_hyperparameters, list_options
from ptypinn.physics.propagation import to_fft_order
from ptypinn.scale import IntensityScaler, compute_input_scale
from ptypinn.scale_audit.training_ledger import build_training_ledger, compute_gauge
from ptypinn.training.callbacks import (
    LearningCurve,
    ReportProgress,
    make_trainer,
    quiet_lightning,
    restore_process_state,
)
from ptypinn.training.checkpoints import (
    BEST,
    CHECKPOINTS,
    LAST,
    find_checkpoint,
    load_checkpoint,
    make_checkpoint_callback,
)
from ptypinn.training.patch_module import PatchNetworkModule
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.plain_values import to_plain
from ptypinn.utils.progress import Progress, silent

MODEL_FILE = "model.safetensors"
CHECKPOINT_KEYS = frozenset({"config", "scale", "flow"})
"""Entries of a checkpoint of this training besides its state."""


def train(
    scan: ScanData,
    config: TrainConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    resume: bool = False,
) -> Path:
    """Train a network on a scan, without ground truth, and write it as a model file.

    Args:
        scan: The scan; needs a probe, calibrated or relative.
        config: Network, data and optimiser.
        output_dir: Folder for the model file, the checkpoints and the learning curve.
        progress: Called after every step.
        resume: Continue from the last checkpoint in `output_dir`; the result equals that of an uninterrupted run,
            bit for bit on a CPU.

    Returns:
        Path of the model file.

    Raises:
        InputError: Where the scan cannot be trained on, the loss is not finite, or there is nothing to resume.
    """
    config, folder = config or TrainConfig(), Path(output_dir)
    require_far_field(scan)
    require_sharp(scan, "the networks of `train`; `reconstruct` without one has it")
    require_no_monitor(scan, "the networks of `train`; `reconstruct` without one has it")
    scan = calibrate_probe(scan)
    checkpoint = find_checkpoint(folder, CHECKPOINT_KEYS) if resume else None
    lightning.seed_everything(config.seed, verbose=False)
    data = _data(scan, config)
    energy = data.mean_pattern_energy()
    images = _truth(scan, config), FrameTerms.of(scan, torch.device("cpu")).background
    task = PatchNetworkModule(_predictor(scan, config, energy), config, data.window_shape, *images)
    with quiet_lightning(), restore_process_state(), cpu_threads(config.threads):
        trainer = _trainer(config, folder, progress or silent, has_validation=data.val_windows is not None)
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    return _make_model(task, scan, config, energy, data).save(folder / MODEL_FILE)


def _data(scan: ScanData, config: TrainConfig) -> ScanDataModule:
    patterns, _ = split_parts(scan.positions_px, config.split_axis, config.split_fraction, config.split_gap_px)
    return ScanDataModule(
        scan,
        patterns,
        gridsize=config.gridsize,
        neighbour_count=config.neighbour_count,
        cluster_size=config.groups_per_window,
        n_groups=config.n_groups,
        batch_size=config.batch_size,
        val_fraction=config.val_fraction,
        seed=config.seed,
    )


def _hyperparameters(scan: ScanData, config: TrainConfig) -> dict[str, Any]:
    """Return all arguments of the network; an option that it does not declare is refused by name."""
    options, declared = dict(config.model_options), list_options(config.model)
    if "width" in options:
        raise InputError("--model-options", "width", repr(options["width"]), "--width, an option of its own")
    if "width" in declared:
        options["width"] = config.width
    elif config.width != TrainConfig.width:
        expected = f"options of the network {config.model}: {', '.join(sorted(declared)) or 'it has none'}"
        raise InputError("--width", "", repr(config.width), expected)
    return complete_hyperparameters(config.model, scan.size, config.gridsize, options)


def _predictor(scan: ScanData, config: TrainConfig, energy: float) -> PatchPredictor:
    network = build_network(config.model, _hyperparameters(scan, config), scan.source)
    scaler = IntensityScaler(compute_input_scale(energy, scan.size), config.trainable_log_scale)
    mask = to_fft_order(torch.from_numpy(scan.good))
    return PatchPredictor(network, scaler, torch.from_numpy(scan.require_probe()), mask, config.train_probe)


def _truth(scan: ScanData, config: TrainConfig) -> Tensor | None:
    if not config.realspace:
        return None
    if scan.truth is None:
        raise InputError(scan.source, "truth", "none", "a simulated scan for --realspace")
    return torch.from_numpy(scan.truth)


def _trainer(config: TrainConfig, folder: Path, progress: Progress, has_validation: bool) -> lightning.Trainer:
    device, monitor = pick_device(config.device), "val_loss" if has_validation else "train_loss"
    callbacks = [
        LearningCurve(folder),
        ReportProgress(progress),
        EarlyStopping(monitor, patience=config.patience, check_on_train_epoch_end=True, check_finite=False),
        make_checkpoint_callback(folder, BEST, monitor),
        make_checkpoint_callback(folder, LAST),
    ]
    return make_trainer(
        folder,
        device,
        callbacks,
        epochs=config.epochs,
        precision=config.precision,
        gradient_clip_val=config.gradient_clip,
        deterministic=device.type == "cpu",
    )


def _make_model(
    task: PatchNetworkModule, scan: ScanData, config: TrainConfig, energy: float, data: ScanDataModule
) -> PatchModel:
    best = load_checkpoint(Path(task.trainer.default_root_dir) / CHECKPOINTS / BEST, CHECKPOINT_KEYS)
    task.cpu().load_state_dict(best["state_dict"])
    predictor = task.predictor
    ledger = build_training_ledger(best["flow"], predictor, scan, data.train_patterns, task.truth)
    header = PatchModelHeader(
        model=config.model,
        hyperparameters=_hyperparameters(scan, config),
        mean_pattern_energy=energy,
        input_scale=predictor.scaler.initial_scale,
        log_scale=float(predictor.scaler.log_scale.detach()),
        probe_gauge=scan.probe_gauge,
        trained_probe=config.train_probe,
        gauge=compute_gauge(ledger),
        scale=[entry.as_json() for entry in ledger],
        provenance=to_plain(
            {
                "version": __version__,
                "config": asdict(config),
                "scan": dict(scan.provenance),
                "training_patterns": len(data.train_patterns),
                "validation_patterns": len(data.val_patterns),
                "epochs": task.trainer.current_epoch,
                "steps": task.trainer.global_step,
            }
        ),
    )
    return PatchModel(header, predictor.network.state_dict(), predictor.probe.detach())
