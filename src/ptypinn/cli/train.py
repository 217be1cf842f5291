"""The commands `train`, `pretrain`, `finetune` and `export`."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptypinn.cli.session import OutputOptions, Session, resume_hint, write_snapshots
from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.train import TrainConfig

PLOTTED = ("train_loss", "val_loss", "learning_rate")
RESUME_HINT = "--resume continues from the last complete epoch"


def run_train(
    session: Session,
    scan: str,
    output: OutputOptions,
    loading: LoadConfig,
    config: TrainConfig,
    *,
    resume: bool = False,
) -> None:
    """Train a physics-informed patch network on a scan, without any ground truth.

    Args:
        session: The call.
        scan: Scan file, of any format that `ptypinn convert` reads.
        output: Run folder.
        loading: Reading of the scan.
        config: Options of the training.
        resume: Continue an interrupted run.
    """
    from ptypinn.cli.outputs import input_record, write_training
    from ptypinn.io.load_save import load

    data = load(scan, loading)
    from ptypinn.stages.train import train
    from ptypinn.training.callbacks import CURVE

    with session.run("train", output, loading, config, resume=resume) as (run, progress):
        session.report_reading(run, data)
        with run.timed("train"), resume_hint(RESUME_HINT):
            model = train(data, config, output_dir=run.path, progress=progress, resume=resume)
        inputs = {"scan": input_record(data, scan)}
        curve = learning_curve(run.file(CURVE), PLOTTED)
        write_training(run, Path(data.source).name, curve, inputs, config.seed)
        run.finish(inputs=inputs, seed=config.seed)
    result = {"stage": "train", "output_dir": run.path, "model": model, "timings_s": run.timings_s}
    session.print_result(result, [f"model in {model}"])


def learning_curve(table: Path, columns: Sequence[str]) -> dict[str, list[float]]:
    """Read columns of a learning curve, such as losses and learning rate by epoch; NaN where an epoch has none."""
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [float(row[name] or "nan") for row in rows] for name in columns}


def run_pretrain(
    session: Session, output: OutputOptions, config: PretrainConfig, *, resume: bool = False, export: bool = False
) -> None:
    """Train the unrolled solver's network on simulations: the recipe of the weights that come with the package.

    Args:
        session: The call.
        output: Run folder.
        config: Options of the training.
        resume: Continue an interrupted run, or train a finished one further.
        export: Train no further; write the weights that the run in --output-dir has reached.
    """
    from ptypinn.stages.pretrain import COLUMNS, WEIGHTS, pretrain

    folder = Path(output.output_dir)
    if export:
        session.refuse_of(PretrainConfig, "`ptypinn pretrain --export`")
        _export(session, folder, folder / WEIGHTS)
        return
    from ptypinn.cli.outputs import write_training
    from ptypinn.training.callbacks import CURVE

    with session.run("pretrain", output, config, resume=resume) as (run, progress):
        with run.timed("pretrain"), resume_hint(RESUME_HINT):
            weights = pretrain(config, output_dir=run.path, progress=progress, resume=resume)
        curve = learning_curve(run.file(CURVE), COLUMNS[1:])
        write_training(run, "Weights of the unrolled solver", curve, seed=config.seed)
        run.finish(seed=config.seed)
    result = {"stage": "pretrain", "output_dir": folder, "weights": weights, "timings_s": run.timings_s}
    session.print_result(result, [f"weights in {weights}"])


def _export(session: Session, folder: Path, path: Path) -> None:
    """Write the weights of the last checkpoint."""
    from ptypinn.training.checkpoints import CHECKPOINTS, LAST
    from ptypinn.training.export import export_weights

    with session.progress() as progress:
        weights = export_weights(folder / CHECKPOINTS / LAST, path, progress=progress)
    session.print_result({"stage": "pretrain", "output_dir": folder, "weights": weights}, [f"weights in {weights}"])


def run_finetune(
    session: Session,
    scan: str,
    output: OutputOptions,
    loading: LoadConfig,
    config: FinetuneConfig,
    *,
    resume: bool = False,
) -> None:
    """Adapt the unrolled solver's network to a scan, without any ground truth.

    Args:
        session: The call.
        scan: Scan file, of any format that `ptypinn convert` reads.
        output: Run folder.
        loading: Reading of the scan.
        config: Options of the fine-tuning.
        resume: Continue an interrupted run.
    """
    from ptypinn.cli.outputs import input_record, write_training
    from ptypinn.io.load_save import load

    data = load(scan, loading)
    from ptypinn.models.model_file import load_weights
    from ptypinn.stages.finetune import COLUMNS, finetune
    from ptypinn.training.callbacks import CURVE

    with session.run("finetune", output, loading, config, resume=resume) as (run, progress):
        session.report_reading(run, data)
        with run.timed("finetune"), resume_hint(RESUME_HINT):
            watch = write_snapshots(run.path, scan)
            weights = finetune(data, config, output_dir=run.path, progress=progress, resume=resume, watch=watch)
        curve = learning_curve(run.file(CURVE), COLUMNS[1:])
        card = load_weights(weights).card
        outcome, sentence = {name: card[name] for name in ("kept", "validation", "trained")}, _outcome_sentence(card)
        inputs, remarks = {"scan": input_record(data, scan)}, [f"{sentence[:1].upper()}{sentence[1:]}."]
        write_training(run, Path(data.source).name, curve, inputs, config.seed, remarks)
        run.finish(inputs=inputs, seed=config.seed, extra={"tuned": outcome})
    result = {"stage": "finetune", "output_dir": run.path, "weights": weights, **outcome, "timings_s": run.timings_s}
    session.print_result(result, [sentence, f"weights in {weights}"])


def _outcome_sentence(card: Mapping[str, Any]) -> str:
    """Describe the outcome of a fine-tuning by the deviance of the validation patterns."""
    validation = card["validation"]
    deviances = f"{validation['best']:.6g} per pixel after, {validation['start']:.6g} before"
    if card["kept"] == "tuned":
        return f"validation patterns, which were never fitted, have a lower deviance: {deviances}"
    return f"fine-tuning did not lower the deviance, the initial weights are written: {deviances}"


def run_export(
    session: Session, model: str, *, output: str, spread_px: int | None = None, overwrite: bool = False
) -> None:
    """Export a patch network of `train` to ONNX, for computers beside a detector.

    Args:
        session: The call.
        model: Model of `train`, or its run folder.
        output: File to write (ONNX).
        spread_px: Largest distance along an axis between patterns of a group, pixels; half a pattern by default. Models
            of single patterns have none.
        overwrite: Replace an existing file.
    """
    from ptypinn.stages.export import export

    exported = export(model, output, spread_px=spread_px, overwrite=overwrite)
    described = [f"{name}: {text}" for name, text in {**exported.inputs, **exported.outputs}.items()]
    session.print_result({"stage": "export", **dataclasses.asdict(exported)}, [f"network in {output}", *described])
