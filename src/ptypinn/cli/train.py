"""`ptypinn train`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ptypinn.cli.products import input_record
from ptypinn.cli.session import Session
from ptypinn.config.load import LoadConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.formats import load


def run_train(session: Session) -> None:
    """Train the network on a scan."""
    loading, config = session.config(LoadConfig), session.config(TrainConfig)
    scan = load(session.options.scan, loading)
    from ptypinn.training import train  # takes seconds: not before bad input has been refused

    with session.run("train", loading, config, again=session.options.resume) as (run, progress):
        with run.timed("train"), _interruption_by_name():
            model = train(scan, config, output_dir=run.path, progress=progress, resume=session.options.resume)
        run.finish(inputs={"scan": input_record(scan)}, seed=config.seed)
    result = {"stage": "train", "output_dir": run.path, "model": model, "timings_s": run.timings_s}
    session.tell(result, [f"model in {model}"])


@contextlib.contextmanager
def _interruption_by_name() -> Iterator[None]:
    """Tell who interrupts a training how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("--resume goes on from the last complete epoch") from None
