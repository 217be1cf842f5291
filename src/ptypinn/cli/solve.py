"""The commands `refine`, `reconstruct` and `demo`: a scan in, a run folder with the object out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptypinn.cli.command import READING, Command
from ptypinn.cli.session import OutputOptions, Session, load_reconstruction, write_snapshots
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import DemoConfig

if TYPE_CHECKING:
    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.data.scan import ScanData
    from ptypinn.utils.progress import Progress

    Solver = Callable[[ScanData, Progress, Path], Reconstruction]


def run_refine(
    session: Session,
    scan: str,
    output: OutputOptions,
    loading: LoadConfig,
    config: RefineConfig,
    *,
    initial: str | None = None,
    split_half: bool = False,
    figures: bool = False,
) -> None:
    """Solve a scan iteratively for object, probe and positions.

    Args:
        session: The call.
        scan: Scan file, of any format that `ptypinn convert` reads.
        output: Run folder.
        loading: Reading of the scan.
        config: Options of the solver.
        initial: Reconstruction to start from (HDF5), or its run folder.
        split_half: Solve two halves of the scan too: their agreement is the resolution.
        figures: Write figures for publications too.
    """
    from ptypinn.io.load_save import load
    from ptypinn.solvers.unrolled.rank_jobs import require_alone
    from ptypinn.stages.refine import refine

    require_alone("`refine`")
    data = load(scan, loading)
    start = load_reconstruction(initial) if initial else None

    def solve(whole: ScanData, progress: Progress, folder: Path) -> Reconstruction:
        return refine(whole, config, initial=start, progress=progress, watch=write_snapshots(folder, scan))

    def solve_half(half: ScanData, progress: Progress, folder: Path) -> Reconstruction:
        return refine(half, config, progress=progress)

    halves, source = solve_half if split_half else None, (scan, data)
    run_solver_stage(session, "refine", source, output, loading, config, solve, solve_half=halves, figures=figures)


def run_reconstruct(
    session: Session,
    scan: str,
    output: OutputOptions,
    loading: LoadConfig,
    *,
    model: str | None = None,
    figures: bool = False,
) -> None:
    """Reconstruct a scan by the unrolled solver, or with a patch network trained on such scans.

    Args:
        session: The call.
        scan: Scan file, of any format that `ptypinn convert` reads.
        output: Run folder.
        loading: Reading of the scan.
        model: Run folder of a training, or its model file; the weights of the package by default.
        figures: Write figures for publications too.
    """
    from ptypinn.io.load_save import load
    from ptypinn.models.model_file import PatchModel
    from ptypinn.stages.reconstruct import load_model, reconstruct

    data = load(scan, loading)
    network = load_model(model)
    config: ReconstructConfig | PatchNetworkConfig
    if isinstance(network, PatchModel):
        _refuse_others(session, PatchNetworkConfig, ReconstructConfig, f"the patch network of {model}")
        config = session.config(PatchNetworkConfig)
    else:
        _refuse_others(session, ReconstructConfig, PatchNetworkConfig, "the unrolled solver")
        config = session.config(ReconstructConfig)

    def solve(whole: ScanData, progress: Progress, folder: Path) -> Reconstruction:
        watch = write_snapshots(folder, scan)
        return reconstruct(whole, network, config, folder=folder, progress=progress, watch=watch)

    run_solver_stage(session, "reconstruct", (scan, data), output, loading, config, solve, figures=figures)


def _refuse_others(session: Session, chosen: type, other: type, user: str) -> None:
    """Raise `InputError` for options that only the other solver reads."""
    session.refuse_of(other, user, but=chosen.__dataclass_fields__.keys())  # type: ignore[attr-defined]


def run_solver_stage(
    session: Session,
    stage: str,
    source: tuple[str, ScanData],
    output: OutputOptions,
    loading: LoadConfig,
    config: Any,
    solve: Solver,
    *,
    solve_half: Solver | None = None,
    figures: bool = False,
) -> None:
    """Solve a scan, evaluate, write and print the result.

    Args:
        session: The call.
        stage: Name of the stage.
        source: Scan file, and the scan.
        output: Run folder.
        loading: Reading of the scan.
        config: Configuration of the stage.
        solve: Makes the reconstruction.
        solve_half: Solves a half of the scan from the probe of the whole; None to compare no halves.
        figures: Write figures for publications too.
    """
    from ptypinn.cli.outputs import headline, input_record, result_record, write_outputs
    from ptypinn.report.text.experiment import experiment_record, experiment_sentences
    from ptypinn.stages.evaluate import evaluate

    path, scan = source
    with session.run(stage, output, loading, config) as (run, progress):
        session.report_reading(run, scan)
        with run.timed(stage):
            recon = solve(scan, progress, run.path)
        with run.timed("split half") if solve_half else contextlib.nullcontext():
            halves = _solve_halves(scan, recon, solve_half, progress, run.path) if solve_half else None
        with run.timed("evaluate"):
            evaluation = evaluate(recon, scan, halves=halves)
        inputs = {"scan": input_record(scan, path)}
        write_outputs(run, recon, scan, evaluation, inputs, config.seed, figures)
        run.finish(evaluation.as_json(), inputs, config.seed)
    departures = experiment_sentences(recon)
    result = {**result_record(run, evaluation), "experiment": dict(experiment_record(recon))}
    session.print_result(result, [*headline(evaluation), *departures, f"results in {run.path}"])


def _solve_halves(
    scan: ScanData, recon: Reconstruction, solve_half: Solver, progress: Progress, folder: Path
) -> tuple[Reconstruction, Reconstruction]:
    """Solve two halves of a scan from the probe of the whole."""
    from ptypinn.stages.evaluate import split_half

    solved = recon.scan_part(scan).replace(probe=recon.probe, probe_gauge="calibrated")
    first, second = (solve_half(half, progress, folder) for half in split_half(solved))
    return first, second


def run_demo(session: Session, output: OutputOptions, config: DemoConfig, *, figures: bool = False) -> None:
    """Simulate a scan, reconstruct it without training anything, and evaluate.

    Args:
        session: The call.
        output: Run folder.
        config: Options of the demonstration.
        figures: Write figures for publications too.
    """
    from ptypinn.cli.outputs import headline, result_record, write_outputs
    from ptypinn.stages.demo import demo

    with session.run("demo", output, config) as (run, progress):
        with run.timed("demo"):
            result = demo(config, output_dir=run.path, progress=progress, watch=write_snapshots(run.path))
        inputs = {"scan": {"file": "scan.h5"}}
        write_outputs(run, result.recon, result.scan, result.evaluation, inputs, config.seed, figures)
        run.finish(result.evaluation.as_json(), inputs, config.seed)
    lines = [*headline(result.evaluation), f"results in {run.path}"]
    session.print_result(result_record(run, result.evaluation), lines)


REFINE = Command(
    run_refine,
    (
        *("iterations", "probe_modes", "refine_probe", "refine_positions", "loss", "initial", "split_half"),
        *(*READING, "device", "seed"),
    ),
)
"""The command `refine`."""
RECONSTRUCT = Command(
    run_reconstruct,
    (
        *("model", "rounds", "refine_probe", "probe_rounds", "probe_modes", "polish", "refine_positions", "subset"),
        *(*READING, "memory_gib", "workers", "device"),
    ),
    choices=(ReconstructConfig, PatchNetworkConfig),
)
"""The command `reconstruct`."""
