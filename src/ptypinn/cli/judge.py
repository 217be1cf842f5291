"""`ptypinn evaluate`: figures of merit of a reconstruction that exists."""

from __future__ import annotations

from typing import Any

from ptypinn.cli.products import headline, input_record, result_record, write_products
from ptypinn.cli.session import Session, load_reconstruction
from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.config.load import LoadConfig
from ptypinn.data.formats import load
from ptypinn.evaluate import evaluate


def run_evaluate(session: Session) -> None:
    """Evaluate a reconstruction; print the figures, and write them where a run folder is named."""
    options, config, loading = session.options, session.config(EvaluateConfig), session.config(LoadConfig)
    recon = load_reconstruction(options.recon)
    scan = load(options.scan, loading) if options.scan else None
    reference = load_reconstruction(options.reference) if options.reference else None
    with session.progress():
        evaluation = evaluate(recon, scan, reference, config)
    lines = headline(evaluation)
    if not options.output_dir:
        session.tell({"stage": "evaluate", **evaluation.as_json()}, lines)
        return
    with session.run("evaluate", loading, config) as (run, _):
        inputs: dict[str, Any] = {"recon": {"file": options.recon}}
        inputs |= {"reference": {"file": options.reference}} if reference else {}
        inputs |= {"scan": input_record(scan, options.scan)} if scan else {}
        write_products(run, recon, scan, evaluation, inputs)
        run.finish(evaluation.as_json(), inputs)
    session.tell(result_record(run, evaluation), [*lines, f"results in {run.path}"])
