"""`ptypinn pretrain`."""

from __future__ import annotations

from pathlib import Path

from ptypinn.cli.failures import going_on_by
from ptypinn.cli.products import write_training
from ptypinn.cli.session import Session
from ptypinn.cli.train import GOES_ON, learning_curve
from ptypinn.config.pretrain import PretrainConfig


def run_pretrain(session: Session) -> None:
    """Train the learned solver's network on simulations, or export what a run has reached."""
    config, folder = session.config(PretrainConfig), Path(session.options.output_dir)
    from ptypinn.callbacks import CURVE  # takes seconds: not before bad input has been refused
    from ptypinn.checkpoints import CHECKPOINTS, LAST
    from ptypinn.pretrain import COLUMNS, WEIGHTS, pretrain
    from ptypinn.pretraining.export import export

    result: dict[str, object] = {"stage": "pretrain", "output_dir": folder}
    if session.options.export:
        with session.progress() as progress:
            weights = export(folder / CHECKPOINTS / LAST, folder / WEIGHTS, progress=progress)
        session.tell({**result, "weights": weights}, [f"weights in {weights}"])
        return
    with session.run("pretrain", config, again=session.options.resume) as (run, progress):
        with run.timed("pretrain"), going_on_by(GOES_ON):
            weights = pretrain(config, output_dir=run.path, progress=progress, resume=session.options.resume)
        curve = learning_curve(run.file(CURVE), COLUMNS[1:])
        write_training(run, "Weights of the learned solver", curve, seed=config.seed)
        run.finish(seed=config.seed)
    session.tell({**result, "weights": weights, "timings_s": run.timings_s}, [f"weights in {weights}"])
