"""`ptypinn refine` and `ptypinn reconstruct`: a scan in, a run folder with the object out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ptypinn.cli.outputs import headline, input_record, result_record, write_outputs
from ptypinn.cli.session import Session, load_reconstruction
from ptypinn.config.load import LoadConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import DemoConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.load_save import load
from ptypinn.runs.snapshots import Snapshots
from ptypinn.stages.demo import demo
from ptypinn.stages.evaluate import evaluate, split_half
from ptypinn.utils.progress import Progress

Solver = Callable[[ScanData, Progress, Path], Reconstruction]
"""From a scan, told of progress, in a run folder."""


def run_refine(session: Session) -> None:
    """Solve a scan iteratively."""
    from ptypinn.stages.refine import refine

    config = session.config(RefineConfig)
    start = load_reconstruction(session.options.start) if session.options.start else None

    def solve(scan: ScanData, progress: Progress, folder: Path) -> Reconstruction:
        watch = Snapshots(folder, session.options.scan)
        return refine(scan, config, initial=start, progress=progress, watch=watch)

    def solve_half(half: ScanData, progress: Progress, folder: Path) -> Reconstruction:
        return refine(half, config, progress=progress)

    solved_run(session, "refine", config, solve, solve_half if session.options.split_half else None)


def run_reconstruct(session: Session) -> None:
    """Reconstruct a scan by the learned solver, or with a trained network."""
    from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
    from ptypinn.config.shared import TilingConfig
    from ptypinn.stages.reconstruct import reconstruct

    config, given = session.config(ReconstructConfig), session.options.model
    model, windows = None if given is None else _model_in(Path(given)), session.config(TilingConfig)

    def solve(scan: ScanData, progress: Progress, folder: Path) -> Reconstruction:
        watch = Snapshots(folder, session.options.scan)
        return reconstruct(scan, model, config, windows=windows, folder=folder, progress=progress, watch=watch)

    solved_run(session, "reconstruct", config, solve, more=windows)


def solved_run(
    session: Session,
    stage: str,
    config: object,
    solve: Solver,
    solve_half: Solver | None = None,
    more: object | None = None,
) -> None:
    """Load, solve, evaluate, write and tell.

    Args:
        session: The call.
        stage: Name of the stage.
        config: Configuration of the stage, for the record.
        solve: Makes the reconstruction.
        solve_half: Solves a half of the scan from the probe found for the whole; None for no comparison of halves.
        more: Further options of the stage, for the record.
    """
    loading = session.config(LoadConfig)
    scan = load(session.options.scan, loading)
    with session.run(stage, loading, config, *([] if more is None else [more])) as (run, progress):
        with run.timed(stage):
            recon = solve(scan, progress, run.path)
        halves = None
        if solve_half is not None:
            with run.timed("split half"):
                known = scan.replace(probe=recon.probe, probe_gauge="calibrated")
                first, second = (solve_half(half, progress, run.path) for half in split_half(known))
                halves = (first, second)
        with run.timed("evaluate"):
            evaluation = evaluate(recon, scan, halves=halves)
        inputs, seed = {"scan": input_record(scan, session.options.scan)}, getattr(config, "seed", None)
        write_outputs(run, recon, scan, evaluation, inputs, seed)
        run.finish(evaluation.as_json(), inputs, seed)
    lines = [*headline(evaluation), f"results in {run.path}"]
    session.tell(result_record(run, evaluation), lines)


def _model_in(place: Path) -> Path:
    """The model that a path names, or the one in a run folder."""
    return next(iter(sorted(place.glob("*.safetensors"))), place) if place.is_dir() else place


def run_demo(session: Session) -> None:
    """Run the demonstration and tell where it is."""
    config = session.config(DemoConfig)
    with session.run("demo", config) as (run, progress):
        with run.timed("demo"):
            made = demo(config, output_dir=run.path, progress=progress, watch=Snapshots(run.path))
        inputs = {"scan": {"file": "scan.h5"}}
        write_outputs(run, made.recon, made.scan, made.evaluation, inputs, config.seed)
        run.finish(made.evaluation.as_json(), inputs, config.seed)
    lines = headline(made.evaluation)
    session.tell(result_record(run, made.evaluation), [*lines, f"results in {run.path}"])
