"""The command `live`: a scan is reconstructed while it is measured."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptypinn.cli.command import Command
from ptypinn.cli.session import OutputOptions, Session, resume_hint
from ptypinn.config.live import LiveConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.io.reconstruction_file import SnapshotCallback
    from ptypinn.models.model_file import PatchModel, Weights
    from ptypinn.runs.folder import RunFolder
    from ptypinn.stages.evaluate import Evaluation
    from ptypinn.stages.live import LiveReconstruction
    from ptypinn.streams.process import ReceiverProcess
    from ptypinn.utils.progress import Progress

UNREAD = ("format", "axis_order", "truth", "monitor", "scan_step_m", "raster_shape", "patterns_file", "positions_file")
"""Reading options that only files need."""
GIB = 2**30
PICTURE_SHARE = 0.25
"""Maximum fraction of the time that pictures of a scan in progress take."""


def run_live(
    session: Session,
    source: str,
    output: OutputOptions,
    loading: LoadConfig,
    config: ReconstructConfig,
    live: LiveConfig,
    *,
    model: str | None = None,
    figures: bool = False,
) -> None:
    """Reconstruct a scan while it is measured: the picture grows, and at the end the run is a finished one.

    Args:
        session: The call.
        source: Address of the source, such as dectris://HOST:PORT, zmq://HOST:PORT, pva://NAME, a file or folder that
            grows, or replay:FILE?rate=200.
        output: Run folder; one whose run was interrupted is continued.
        loading: Reading of the frames, as for a scan file.
        config: Options of the solver.
        live: Options of receiving.
        model: Weights of the solver, those of the package by default; or a model of `train`, which shows frames before
            they are solved. A file or a run folder.
        figures: Write figures for publications too.
    """
    session.refuse(UNREAD, "a scan in progress")
    with session.run("live", output, loading, config, live) as (run, progress):
        receiver = _make_receiver(run, _request(source, loading, live))
        networks = None if model is None else _load_models(model, loading, receiver)
        _attach(run, receiver, output.overwrite)
        with _receiving(receiver), resume_hint("the same command continues with the frames that were received"):
            stage = _open_stage(run, receiver, source, loading, config, live, networks)
            with _state_at_end(stage):
                with run.timed("live"), _finish_on_interrupt() as is_stopped:
                    stage.follow(progress, is_stopped)
                recon, evaluation = _finish_run(session, run, stage, loading, progress, figures)
    if not live.keep_spool:
        shutil.rmtree(receiver.folder, ignore_errors=True)
    _print_result(session, run, stage, recon, evaluation)


def _make_receiver(run: RunFolder, request: dict[str, Any]) -> ReceiverProcess:
    """Return the receiver of a run, as it was left or not yet started."""
    from ptypinn.streams.process import ReceiverProcess
    from ptypinn.streams.spool import FOLDER

    return ReceiverProcess(run.path / FOLDER, request)


def _load_models(path: str, loading: LoadConfig, receiver: ReceiverProcess) -> tuple[Weights, PatchModel | None]:
    """Return weights and model of a file; a wrong one starts no receiver, and ends none that runs."""
    from ptypinn.stages.live import load_models
    from ptypinn.streams.spool import holds_frames

    try:
        return load_models(path, loading)
    except InputError as error:
        if holds_frames(receiver.folder):
            _note_frames(error, receiver)
        raise


def _attach(run: RunFolder, receiver: ReceiverProcess, overwrite: bool) -> None:
    """Use the receiver that runs, or start it before anything else that takes long to import: no detector waits."""
    if overwrite and receiver.folder.is_dir():
        receiver.stop()
        shutil.rmtree(receiver.folder)
    if receiver.attach():
        run.log("continued with the frames that were received before")


def _open_stage(
    run: RunFolder,
    receiver: ReceiverProcess,
    source: str,
    loading: LoadConfig,
    config: ReconstructConfig,
    live: LiveConfig,
    networks: tuple[Weights, PatchModel | None] | None,
) -> LiveReconstruction:
    """Return the stage that follows a spool; its import takes seconds."""
    from ptypinn.stages.live import LiveReconstruction, load_models
    from ptypinn.stages.live_scan import LiveScan

    scan = LiveScan(receiver.folder, source, loading, live)
    networks = networks or load_models(None, loading)
    return LiveReconstruction(run.path, scan, receiver, config, live, *networks, run.log, _snapshots(run, live))


def _finish_run(
    session: Session,
    run: RunFolder,
    stage: LiveReconstruction,
    loading: LoadConfig,
    progress: Progress,
    figures: bool,
) -> tuple[Reconstruction, Evaluation]:
    """Reconstruct the complete scan, evaluate, and write everything that a finished run has."""
    from ptypinn.cli.outputs import input_record, write_outputs
    from ptypinn.stages.evaluate import evaluate
    from ptypinn.stages.live import SCAN

    with run.timed("finish"):
        recon, data = stage.finish(loading, progress)
    session.report_reading(run, data)
    with run.timed("evaluate"):
        evaluation = evaluate(recon, data)
    inputs = {"scan": {**input_record(data, run.path / SCAN), "source": stage.scan.source}}
    write_outputs(run, recon, data, evaluation, inputs, stage.config.seed, figures)
    run.finish(evaluation.as_json(), inputs, stage.config.seed)
    return recon, evaluation


def _print_result(
    session: Session, run: RunFolder, stage: LiveReconstruction, recon: Reconstruction, evaluation: Evaluation
) -> None:
    from ptypinn.cli.outputs import headline, result_record
    from ptypinn.report.text.experiment import experiment_record, experiment_sentences

    experiment, frames = dict(experiment_record(recon)), stage.status.frames
    result = {**result_record(run, evaluation), "experiment": experiment, "frames": frames}
    session.print_result(result, [*headline(evaluation), *experiment_sentences(recon), f"results in {run.path}"])


def _snapshots(run: RunFolder, live: LiveConfig) -> SnapshotCallback:
    """Return the callback that writes the picture so far."""
    from ptypinn.io.reconstruction_file import Snapshots
    from ptypinn.runs.folder import SNAPSHOT

    return Snapshots(run.path / SNAPSHOT, interval_s=live.picture_s, time_fraction=PICTURE_SHARE)


def _request(source: str, loading: LoadConfig, live: LiveConfig) -> dict[str, Any]:
    """Return the request to the receiver."""
    if "://" not in source and not source.startswith("replay:"):
        source = str(Path(source).resolve())
    unit = "m" if loading.positions_unit == "auto" else loading.positions_unit
    if unit == "px":
        raise InputError("--positions-unit", "", "px", "m, um or nm: pixels follow from the optics")
    return {
        "source": source,
        "options": {"positions": live.positions_source, "positions_unit": unit, "idle_s": live.idle_s},
        "crop_px": loading.crop_px,
        "centre_px": loading.centre_px,
        "min_free_bytes": int(live.min_free_gib * GIB),
    }


@contextlib.contextmanager
def _receiving(receiver: ReceiverProcess) -> Iterator[None]:
    """Let the receiver go on where the solver fails, so that no frame is lost; end it otherwise.

    What was received is deleted only where the spool itself has no frame.
    """
    from ptypinn.streams.spool import holds_frames

    try:
        yield
    except KeyboardInterrupt:
        receiver.stop()
        raise
    except BaseException as error:
        if not holds_frames(receiver.folder):
            receiver.stop()  # frames that wait in it are spooled now
        if not holds_frames(receiver.folder):
            _delete_traces(receiver.folder)
        else:
            _note_frames(error, receiver)
        raise
    receiver.stop()


def _delete_traces(spool: Path) -> None:
    """Delete spool and state of a run that has received nothing."""
    from ptypinn.stages.live_status import STATUS

    shutil.rmtree(spool, ignore_errors=True)
    (spool.parent / STATUS).unlink(missing_ok=True)


def _note_frames(error: BaseException, receiver: ReceiverProcess) -> None:
    """Say with a failure what becomes of the frames."""
    where = f"the frames received are in {receiver.folder}"
    goes_on = ", and more are received" if receiver.is_alive else ""
    advice = "the same command continues"
    if not receiver.holds_oblong_frames:
        advice += "; another --crop-px needs --overwrite, which drops them"
    error.add_note(f"{where}{goes_on}: {advice}")


@contextlib.contextmanager
def _state_at_end(stage: LiveReconstruction) -> Iterator[None]:
    """Write the last state of a run, however it ends."""
    try:
        yield
    except BaseException as error:
        stage.end("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    stage.end("finished")


@contextlib.contextmanager
def _finish_on_interrupt() -> Iterator[Callable[[], bool]]:
    """While the context lasts, the first Ctrl-C asks to finish what has come; the second one interrupts."""
    stopped = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, before)


LIVE = Command(
    run_live,
    (
        *("positions_source", "scan_frames", "crop_px", "centre_px", "probe", "energy_eV", "detector_distance_m"),
        *("detector_pixel_m", "idle_s", "keep_spool", "threads", "device"),
    ),
)
"""The command `live`."""
