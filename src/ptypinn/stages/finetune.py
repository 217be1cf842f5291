"""The `finetune` stage: adapt the learned solver's network to one scan, from its counts alone."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.near_field import require_far_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.models.canvas_features import CHANNELS
from ptypinn.models.model_file import Weights, load_weights, save_weights
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.solvers.unrolled.problem import LearnedOptions
from ptypinn.solvers.unrolled.round_schedule import light_on, usual_rounds
from ptypinn.solvers.unrolled.solver import Solution, find_probe
from ptypinn.training.callbacks import LearningCurve, ReportProgress, process_restored, quiet_lightning, trainer_of
from ptypinn.training.checkpoints import BEST, CHECKPOINTS, LAST, keep, read, to_resume
from ptypinn.training.finetune_module import NOTED, FinetuneTask, ValidateEveryEpoch
from ptypinn.training.model_card import Outcome, finetuned_card
from ptypinn.training.self_supervision import Parts, SelfSupervision, split_patterns
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, Watch, relayed, silent

WEIGHTS = "weights.safetensors"
"""File of the weights inside the run folder."""
COLUMNS = ("epoch", "train_loss", "val_loss", "learning_rate")
"""Of the learning curve: deviance per judging pixel after corrections, per pixel of the patterns that validate, and
the learning rate."""
GRADIENT_CLIP = 1.0
"""Largest norm of a gradient step; longer gradients are shortened."""


def finetune(
    scan: ScanData,
    config: FinetuneConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Path:
    """Fine-tune the network of the learned solver on a scan, without ground truth.

    Every epoch solves the scan once more, with other pixels left out, and lets the counts of these judge every
    correction. Patterns that nothing fits say when to stop. The weights that explain them best are kept: those at the
    start, where none are better (`kept` in the model card).

    Args:
        scan: The scan; needs a probe, which may be a guess.
        config: Where to start, on what, for how long.
        output_dir: Folder for the weights, the checkpoints and the learning curve.
        progress: Told about every step.
        resume: Go on from the last checkpoint in `output_dir`; the result equals that of an uninterrupted run, on a CPU
            bit for bit.
        watch: Called after every epoch with a function that gives the reconstruction that it has ended with.

    Returns:
        Path of the weights, for `reconstruct(scan, model=...)`.

    Raises:
        InputError: Where the scan cannot be solved, the loss is not finite, the weights to start from cannot be read,
            or there is nothing to resume.
    """
    config, folder = config or FinetuneConfig(), Path(output_dir)
    require_far_field(scan)
    scan, start = calibrate_probe(scan), _start(config)
    checkpoint = to_resume(folder, NOTED) if resume else None
    lightning.seed_everything(config.seed, verbose=False)
    parts = split_patterns(scan, config.patterns, config.val_fraction, config.seed)
    rounds = config.rounds or usual_rounds(light_on(scan))
    with quiet_lightning(), process_restored(), cpu_threads(config.threads):
        network = UnrolledCorrection(CHANNELS, widths=config.widths) if start is None else copy.deepcopy(start.network)
        scan = _with_probe(scan, parts, None if start is None else start.network, config, progress or silent)
        options = LearnedOptions(refine_probe=False, loss=config.loss)
        teacher = SelfSupervision(scan, options, parts, config.period, pick_device(config.device))
        about, seen = _about(scan, parts, network), relayed(watch, partial(_reconstruction, scan, parts))
        task = FinetuneTask(network, teacher, config, rounds, about, seen)
        trainer = _trainer(config, folder, progress or silent)
        trainer.fit(task, list(range(rounds)), ckpt_path=checkpoint, weights_only=True)
    return _kept(task, folder, scan, parts, start)


def _reconstruction(scan: ScanData, parts: Parts, solution: Solution) -> Reconstruction:
    return solution.reconstruction(scan, {"stage": "finetune"}, parts.fits)


def _with_probe(
    scan: ScanData, parts: Parts, network: UnrolledCorrection | None, config: FinetuneConfig, report: Progress
) -> ScanData:
    """The scan with the probe that the patterns to learn from tell, where it is to be found."""
    if not config.refine_probe:
        return scan
    options = LearnedOptions(probe_modes=config.probe_modes, loss=config.loss)
    network = None if network is None else copy.deepcopy(network)
    found = find_probe(scan.subset(parts.fits), network, options, pick_device(config.device), report=report)
    return scan.replace(probe=found.probe)


def _start(config: FinetuneConfig) -> Weights | None:
    if config.start == "none":
        return None
    return load_weights(None if config.start == "shipped" else config.start)


def _about(scan: ScanData, parts: Parts, network: UnrolledCorrection) -> list[float]:
    """Figures that differ between scans and between weights."""
    counts = scan.counts[parts.fits[:: max(1, len(parts.fits) // 16)]]
    weights = torch.cat([value.detach().flatten() for value in network.parameters()]).double()
    figures = (counts.sum(dtype="float64"), abs(scan.require_probe()).sum(), scan.positions_px[parts.fits].sum())
    return [*map(float, figures), float(weights.abs().sum()), float(weights.square().sum())]


def _trainer(config: FinetuneConfig, folder: Path, progress: Progress) -> lightning.Trainer:
    callbacks = [
        ValidateEveryEpoch(),
        LearningCurve(folder, COLUMNS),
        ReportProgress(progress, "finetune"),
        EarlyStopping("val_loss", patience=config.patience, check_on_train_epoch_end=True, check_finite=False),
        keep(folder, BEST, "val_loss"),
        keep(folder, LAST),
    ]
    device = pick_device(config.device)
    return trainer_of(folder, device, callbacks, epochs=config.epochs, gradient_clip_val=GRADIENT_CLIP)


def _kept(task: FinetuneTask, folder: Path, scan: ScanData, parts: Parts, start: Weights | None) -> Path:
    """Write the average weights of the best epoch, or those at the start where that is no better."""
    best = read(folder / CHECKPOINTS / BEST, NOTED)
    outcome = Outcome(best["val_start"], best["val_loss"], int(best["epoch"]) + 1, int(best["global_step"]))
    card = finetuned_card(scan, parts, task.config, task.rounds, start, outcome)
    if outcome.gained:
        task.cpu().load_state_dict(best["state_dict"])
        return save_weights(task.averaged, card, folder / WEIGHTS)
    untuned = UnrolledCorrection(CHANNELS, widths=task.config.widths) if start is None else start.network
    return save_weights(untuned, card, folder / WEIGHTS)
