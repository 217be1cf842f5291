"""`ptypinn train`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ptypinn.cli.failures import going_on_by
from ptypinn.cli.products import input_record, write_training
from ptypinn.cli.session import Session
from ptypinn.config.load import LoadConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.formats import load

PLOTTED = ("train_loss", "val_loss", "learning_rate")
GOES_ON = "--resume goes on from the last complete epoch"


def run_train(session: Session) -> None:
    """Train the network on a scan."""
    loading, config = session.config(LoadConfig), session.config(TrainConfig)
    scan = load(session.options.scan, loading)
    from ptypinn.callbacks import CURVE  # takes seconds: not before bad input has been refused
    from ptypinn.training import train

    with session.run("train", loading, config, again=session.options.resume) as (run, progress):
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
