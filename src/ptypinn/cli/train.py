"""`ptypinn train`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptypinn.cli.errors import going_on_by
from ptypinn.cli.outputs import input_record, write_training
from ptypinn.cli.session import Session
from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.train import TrainConfig
from ptypinn.io.load_save import load
from ptypinn.runs.snapshots import Snapshots

PLOTTED = ("train_loss", "val_loss", "learning_rate")
GOES_ON = "--resume goes on from the last complete epoch"


def run_train(session: Session) -> None:
    """Train the network on a scan."""
    loading, config = session.config(LoadConfig), session.config(TrainConfig)
    scan = load(session.options.scan, loading)
    from ptypinn.stages.train import train
    from ptypinn.training.callbacks import CURVE

    with session.run("train", loading, config, resume=session.options.resume) as (run, progress):
        with run.timed("train"), going_on_by(GOES_ON):
            model = train(scan, config, output_dir=run.path, progress=progress, resume=session.options.resume)
        inputs = {"scan": input_record(scan, session.options.scan)}
        curve = learning_curve(run.file(CURVE), PLOTTED)
        write_training(run, Path(scan.source).name, curve, inputs, config.seed)
        run.finish(inputs=inputs, seed=config.seed)
    result = {"stage": "train", "output_dir": run.path, "model": model, "timings_s": run.timings_s}
    session.tell(result, [f"model in {model}"])


def learning_curve(table: Path, columns: Sequence[str]) -> dict[str, list[float]]:
    """Columns of a learning curve, such as losses and learning rate by epoch; NaN where an epoch has none."""
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [float(row[name] or "nan") for row in rows] for name in columns}


def run_pretrain(session: Session) -> None:
    """Train the learned solver's network on simulations, or export what a run has reached."""
    config, folder = session.config(PretrainConfig), Path(session.options.output_dir)
    from ptypinn.stages.pretrain import COLUMNS, WEIGHTS, pretrain
    from ptypinn.training.callbacks import CURVE
    from ptypinn.training.checkpoints import CHECKPOINTS, LAST
    from ptypinn.training.export import export_weights

    result: dict[str, object] = {"stage": "pretrain", "output_dir": folder}
    if session.options.export:
        with session.progress() as progress:
            weights = export_weights(folder / CHECKPOINTS / LAST, folder / WEIGHTS, progress=progress)
        session.tell({**result, "weights": weights}, [f"weights in {weights}"])
        return
    with session.run("pretrain", config, resume=session.options.resume) as (run, progress):
        with run.timed("pretrain"), going_on_by(GOES_ON):
            weights = pretrain(config, output_dir=run.path, progress=progress, resume=session.options.resume)
        curve = learning_curve(run.file(CURVE), COLUMNS[1:])
        write_training(run, "Weights of the learned solver", curve, seed=config.seed)
        run.finish(seed=config.seed)
    session.tell({**result, "weights": weights, "timings_s": run.timings_s}, [f"weights in {weights}"])


def run_finetune(session: Session) -> None:
    """Fine-tune the learned solver's network on a scan."""
    loading, config = session.config(LoadConfig), session.config(FinetuneConfig)
    scan = load(session.options.scan, loading)
    from ptypinn.models.model_file import load_weights
    from ptypinn.stages.finetune import COLUMNS, finetune
    from ptypinn.training.callbacks import CURVE

    with session.run("finetune", loading, config, resume=session.options.resume) as (run, progress):
        with run.timed("finetune"), going_on_by(GOES_ON):
            watch = Snapshots(run.path, session.options.scan)
            resume = session.options.resume
            weights = finetune(scan, config, output_dir=run.path, progress=progress, resume=resume, watch=watch)
        curve = learning_curve(run.file(CURVE), COLUMNS[1:])
        card = load_weights(weights).card
        told, words = {name: card[name] for name in ("kept", "validation", "trained")}, _in_words(card)
        inputs = {"scan": input_record(scan, session.options.scan)}
        write_training(run, Path(scan.source).name, curve, inputs, config.seed, [f"{words[:1].upper()}{words[1:]}."])
        run.finish(inputs=inputs, seed=config.seed, extra={"tuned": told})
    result = {"stage": "finetune", "output_dir": run.path, "weights": weights, **told, "timings_s": run.timings_s}
    session.tell(result, [words, f"weights in {weights}"])


def _in_words(card: Mapping[str, Any]) -> str:
    kept, validation = card["kept"], card["validation"]
    compared = f"{validation['best']:.6g} per pixel after, {validation['start']:.6g} before"
    if kept == "tuned":
        return f"patterns that nothing fits are explained better: deviance {compared}"
    return f"fine-tuning gained nothing, the weights it started from are kept: deviance {compared}"
