"""`ptypinn demo`."""

from __future__ import annotations

from ptypinn.cli.products import headline, result_record, write_products
from ptypinn.cli.session import Session
from ptypinn.config.demo import DemoConfig
from ptypinn.demo import demo
from ptypinn.snapshots import Snapshots


def run_demo(session: Session) -> None:
    """Run the demonstration and tell where it is."""
    config = session.config(DemoConfig)
    with session.run("demo", config) as (run, progress):
        with run.timed("demo"):
            made = demo(config, output_dir=run.path, progress=progress, watch=Snapshots(run.path))
        inputs = {"scan": {"file": "scan.h5"}}
        write_products(run, made.recon, made.scan, made.evaluation, inputs, config.seed)
        run.finish(made.evaluation.as_json(), inputs, config.seed)
    lines = headline(made.evaluation)
    session.tell(result_record(run, made.evaluation), [*lines, f"results in {run.path}"])
