"""The `finetune` stage: adapt the network of the unrolled solver to one scan, from its counts alone."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.pattern_form import require_far_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.models.model_file import Weights, load_weights, save_weights
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rounds import default_rounds, estimate_dose
from ptypinn.solvers.unrolled.solver import UnrolledResult, find_probe
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
from ptypinn.training.finetune_module import CHECKPOINT_KEYS, FinetuneModule, ValidateEveryEpoch
from ptypinn.training.model_card import FinetuneOutcome, make_finetuned_card
from ptypinn.training.self_supervision import PatternSplit, SelfSupervision, split_patterns
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, map_callback, silent

WEIGHTS = "weights.safetensors"
"""File of the weights inside the run folder."""
COLUMNS = ("epoch", "train_loss", "val_loss", "learning_rate")
"""Columns of the learning curve: deviance per held-out pixel after corrections, deviance per pixel of the validation
patterns, and the learning rate."""
GRADIENT_CLIP = 1.0
"""Maximum norm of the gradient of a step."""


def finetune(
    scan: ScanData,
    config: FinetuneConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    resume: bool = False,
    watch: SnapshotCallback | None = None,
) -> Path:
    """Fine-tune the network of the unrolled solver on a scan, without ground truth.

    Every epoch solves the scan once more with other held-out pixels, whose counts score every correction. The deviance
    of validation patterns, never fitted, decides when to stop. The weights of its minimum are written, or the initial
    ones (`kept` in the model card).

    Args:
        scan: The scan; needs a probe, which may be a guess.
        config: Initial weights, data, optimiser.
        output_dir: Folder for the weights, the checkpoints and the learning curve.
        progress: Called after every step.
        resume: Continue from the last checkpoint in `output_dir`; on a CPU bit for bit as an uninterrupted run.
        watch: Called after every epoch with a function that returns its reconstruction.

    Returns:
        Path of the weights, for `reconstruct(scan, model=...)`.

    Raises:
        InputError: If the scan cannot be solved, the loss is not finite, or weights or checkpoint cannot be read.
    """
    config, folder = config or FinetuneConfig(), Path(output_dir)
    require_far_field(scan)
    scan, start = calibrate_probe(scan), _start(config)
    checkpoint = find_checkpoint(folder, CHECKPOINT_KEYS) if resume else None
    lightning.seed_everything(config.seed, verbose=False)
    parts = split_patterns(scan, config.patterns, config.val_fraction, config.seed)
    with quiet_lightning(), restore_process_state(), cpu_threads(config.threads):
        scan, task = _prepare_task(scan, config, parts, start, progress or silent, watch)
        trainer, batches = _trainer(config, folder, progress or silent), list(range(task.rounds))
        trainer.fit(task, batches, ckpt_path=checkpoint, weights_only=True)
    return _write_best(task, folder, scan, parts, start)


def _prepare_task(
    scan: ScanData,
    config: FinetuneConfig,
    parts: PatternSplit,
    start: Weights | None,
    report: Progress,
    watch: SnapshotCallback | None,
) -> tuple[ScanData, FinetuneModule]:
    """Return the scan with its probe, refined where that is requested, and the module that trains on it."""
    rounds = config.rounds or default_rounds(estimate_dose(scan))
    network = UnrolledCorrection(CHANNELS, widths=config.widths) if start is None else copy.deepcopy(start.network)
    scan = _with_probe(scan, parts, None if start is None else start.network, config, report)
    options = UnrolledOptions(refine_probe=False, loss=config.loss)
    supervision = SelfSupervision(scan, options, parts, config.held_out_period, pick_device(config.device))
    identity = _identify(scan, parts, network)
    epoch_watch = map_callback(watch, partial(_reconstruction, scan, parts))
    return scan, FinetuneModule(network, supervision, config, rounds, identity, epoch_watch)


def _reconstruction(scan: ScanData, parts: PatternSplit, solution: UnrolledResult) -> Reconstruction:
    return solution.reconstruction(scan, {"stage": "finetune"}, parts.train)


def _with_probe(
    scan: ScanData, parts: PatternSplit, network: UnrolledCorrection | None, config: FinetuneConfig, report: Progress
) -> ScanData:
    """Return the scan with the probe refined on the training patterns, where that is requested."""
    if not config.refine_probe:
        return scan
    options = UnrolledOptions(probe_modes=config.probe_modes, loss=config.loss)
    network = None if network is None else copy.deepcopy(network)
    solution = find_probe(scan.subset(parts.train), network, options, pick_device(config.device), report=report)
    return scan.replace(probe=solution.probe)


def _start(config: FinetuneConfig) -> Weights | None:
    if config.init_weights == "none":
        return None
    return load_weights(None if config.init_weights == "shipped" else config.init_weights)


def _identify(scan: ScanData, parts: PatternSplit, network: UnrolledCorrection) -> list[float]:
    """Return numbers that differ between scans and between weights."""
    counts = scan.counts[parts.train[:: max(1, len(parts.train) // 16)]]
    weights = torch.cat([value.detach().flatten() for value in network.parameters()]).double()
    sums = (counts.sum(dtype="float64"), abs(scan.require_probe()).sum(), scan.positions_px[parts.train].sum())
    return [*map(float, sums), float(weights.abs().sum()), float(weights.square().sum())]


def _trainer(config: FinetuneConfig, folder: Path, progress: Progress) -> lightning.Trainer:
    callbacks = [
        ValidateEveryEpoch(),
        LearningCurve(folder, COLUMNS),
        ReportProgress(progress, "finetune"),
        EarlyStopping("val_loss", patience=config.patience, check_on_train_epoch_end=True, check_finite=False),
        make_checkpoint_callback(folder, BEST, "val_loss"),
        make_checkpoint_callback(folder, LAST),
    ]
    device = pick_device(config.device)
    return make_trainer(folder, device, callbacks, epochs=config.epochs, gradient_clip_val=GRADIENT_CLIP)


def _write_best(task: FinetuneModule, folder: Path, scan: ScanData, parts: PatternSplit, start: Weights | None) -> Path:
    """Write the averaged weights of the best epoch, or the initial ones where that is no better."""
    best = load_checkpoint(folder / CHECKPOINTS / BEST, CHECKPOINT_KEYS)
    outcome = FinetuneOutcome(best["val_start"], best["val_loss"], int(best["epoch"]) + 1, int(best["global_step"]))
    card = make_finetuned_card(scan, parts, task.config, task.rounds, start, outcome)
    if outcome.gained:
        task.cpu().load_state_dict(best["state_dict"])
        return save_weights(task.averaged, card, folder / WEIGHTS)
    untuned = UnrolledCorrection(CHANNELS, widths=task.config.widths) if start is None else start.network
    return save_weights(untuned, card, folder / WEIGHTS)
