"""`ptypinn finetune`."""

from __future__ import annotations

from ptypinn.cli.products import input_record, save_picture
from ptypinn.cli.session import Session
from ptypinn.cli.train import interruption_by_name, learning_curve
from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.load import LoadConfig
from ptypinn.data.formats import load


def run_finetune(session: Session) -> None:
    """Fine-tune the learned solver's network on a scan."""
    loading, config = session.config(LoadConfig), session.config(FinetuneConfig)
    scan = load(session.options.scan, loading)
    from ptypinn.callbacks import CURVE  # takes seconds: not before bad input has been refused
    from ptypinn.finetune import COLUMNS, finetune
    from ptypinn.learned.weights import load_weights
    from ptypinn.report.curves import convergence_figure

    with session.run("finetune", loading, config, again=session.options.resume) as (run, progress):
        with run.timed("finetune"), interruption_by_name():
            weights = finetune(scan, config, output_dir=run.path, progress=progress, resume=session.options.resume)
        curve = learning_curve(run.file(CURVE), COLUMNS[1:])
        save_picture(convergence_figure(curve, "epoch"), run.file("learning_curve.png"))
        card = load_weights(weights).card
        told = {name: card[name] for name in ("kept", "validation", "trained")}
        run.finish(inputs={"scan": input_record(scan, session.options.scan)}, seed=config.seed, extra={"tuned": told})
    result = {"stage": "finetune", "output_dir": run.path, "weights": weights, **told, "timings_s": run.timings_s}
    session.tell(result, [_in_words(card["kept"], card["validation"]), f"weights in {weights}"])


def _in_words(kept: str, validation: dict[str, float]) -> str:
    compared = f"{validation['best']:.6g} per pixel after, {validation['start']:.6g} before"
    if kept == "tuned":
        return f"patterns that nothing fits are explained better: deviance {compared}"
    return f"fine-tuning gained nothing, the weights it started from are kept: deviance {compared}"
