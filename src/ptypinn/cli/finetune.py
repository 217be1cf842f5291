"""`ptypinn finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptypinn.cli.failures import going_on_by
from ptypinn.cli.products import input_record, write_training
from ptypinn.cli.session import Session
from ptypinn.cli.train import GOES_ON, learning_curve
from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.load import LoadConfig
from ptypinn.data.formats import load
from ptypinn.snapshots import Snapshots


def run_finetune(session: Session) -> None:
    """Fine-tune the learned solver's network on a scan."""
    loading, config = session.config(LoadConfig), session.config(FinetuneConfig)
    scan = load(session.options.scan, loading)
    from ptypinn.callbacks import CURVE  # takes seconds: not before bad input has been refused
    from ptypinn.finetune import COLUMNS, finetune
    from ptypinn.learned.weights import load_weights

    with session.run("finetune", loading, config, again=session.options.resume) as (run, progress):
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
