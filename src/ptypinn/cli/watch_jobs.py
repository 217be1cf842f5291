"""Jobs of the service `watch`, in processes of their own: a scan file solved, or a series followed.

Importing this module imports all that solving takes, so that the processes forked afterwards start at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ptypinn.cli.outputs
import ptypinn.models.model_file
import ptypinn.report.text.experiment
import ptypinn.runs.folder
import ptypinn.stages.reconstruct  # noqa: F401
from ptypinn.cli.session import Outcome, OutputOptions, Session, report_errors
from ptypinn.cli.solve import run_reconstruct
from ptypinn.config.live import LiveConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.errors import InputError
from ptypinn.io.completeness import describe_incomplete
from ptypinn.io.load_save import holds_scan
from ptypinn.io.provenance import file_hash
from ptypinn.io.registry import NO_FORMAT, list_formats
from ptypinn.io.safe.external_files import external_files
from ptypinn.io.safe.hdf5_open import list_references
from ptypinn.report.text.verdict import trust_verdict
from ptypinn.runs.service.arrivals import join_signatures, sign_file
from ptypinn.runs.service.child import INTERRUPTED
from ptypinn.runs.service.log import printable
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.atomic_files import FULL
from ptypinn.utils.plain_values import to_plain

if TYPE_CHECKING:
    from ptypinn.data.scan import ScanData
    from ptypinn.runs.folder import RunFolder

SHOWN_METRICS = ("residual_over_noise", "amplitude_residual", "flux_closure", "typical_uncertainty")
"""Metrics in the record of a scan."""
MAX_PARTS = 10_000
"""Maximum number of further files that a scan is waited for."""


@dataclass(frozen=True)
class JobSession(Session):
    """A call whose result goes to the service instead of the terminal."""

    result: dict[str, Any] = field(default_factory=dict)
    """Result for the service."""

    def report_reading(self, run: RunFolder, scan: ScanData) -> None:
        """Take note of the number of patterns too."""
        self.result["patterns"] = int(scan.counts.shape[0])
        super().report_reading(run, scan)

    def print_result(self, result: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Take the verdict and the main metrics."""
        evaluation = Evaluation(result["metrics"], warnings=result["warnings"])
        verdict = trust_verdict(evaluation, evaluated=True)
        metrics = {name: result["metrics"][name] for name in SHOWN_METRICS if name in result["metrics"]}
        self.result.update({"text": verdict.statement, "level": verdict.level, "metrics": to_plain(metrics)})


def list_suffixes() -> dict[str, Any]:
    """Return the ends of the names of scan files, of the formats that plug-ins add as well."""
    names = {suffix for each in list_formats().values() if each.read is not None for suffix in each.suffixes}
    return {"suffixes": sorted(names)}


def solve_scan(
    session: Session, settle_s: float, path: str, run_dir: str, solved: Mapping[str, str], was_waited_for: bool
) -> dict[str, Any]:
    """Solve a scan file.

    Args:
        session: The call, with all options of `reconstruct`.
        settle_s: Time that further files of the scan have to stay as they are, seconds.
        path: The file.
        run_dir: The run folder.
        solved: Hashes of what was solved of this file before, by the run, followed by the signature of further files
            where that is on record.
        was_waited_for: Do not wait for further files again.

    Returns:
        The state of the scan with what belongs to it, plain.
    """
    job = _job(session, "reconstruct", path, run_dir)
    files: dict[str, list[str]] = {}
    with report_errors() as outcome:
        if path.encode(errors="replace").decode() != path:
            raise InputError(printable(path), "name", "bytes that are no text", "a name in UTF-8, for the records")
        loading = job.config(LoadConfig)
        if reason := _describe_other(Path(path), loading):
            return {"state": "ignored", "text": reason}
        parts, waits = list_parts(Path(path), settle_s)
        files = {"parts": parts, "signatures": [sign_file(Path(path).parent / name) for name in parts]}
        if run := find_run(Path(path), files["signatures"], solved):
            return {"state": "finished", "run": run, "text": "was solved before, and has not changed since", **files}
        if waits and not was_waited_for:
            return {"state": "arriving", "parts": parts, "text": f"waits for {waits}"}
        model, figures = session.options["model"], session.options["figures"]
        run_reconstruct(job, path, OutputOptions(run_dir), loading, model=model, figures=figures)
    return {**(_failure(outcome) if outcome.code else {"state": "finished", **job.result}), **files}


def follow_series(
    session: Session, source: str, path: str, run_dir: str, solved: Mapping[str, str], was_waited_for: bool
) -> dict[str, Any]:
    """Reconstruct the next series of a stream while it is measured.

    Args:
        session: The call, with all options of `live`.
        source: Address of the stream.
        path: Name of the series.
        run_dir: The run folder.
        solved: Nothing.
        was_waited_for: Nothing.
    """
    from ptypinn.cli.live import run_live

    job = _job(session, "live", source, run_dir)
    with report_errors() as outcome:
        configs = job.config(LoadConfig), job.config(ReconstructConfig), job.config(LiveConfig)
        model, figures = session.options["model"], session.options["figures"]
        run_live(job, source, OutputOptions(run_dir), *configs, model=model, figures=figures)
    return _failure(outcome) if outcome.code else {"state": "finished", **job.result}


def find_run(path: Path, signatures: Sequence[str], solved: Mapping[str, str]) -> str | None:
    """Return the run that has solved a file with its further files as they are; None where there is none."""
    digest = file_hash(path) if solved else ""
    values = (digest, f"{digest} {join_signatures(signatures)}")
    return next((run for run, value in solved.items() if value in values), None)


def list_parts(path: Path, settle_s: float) -> tuple[list[str], str]:
    """List the further files that an HDF5 file refers to, below its folder.

    Args:
        path: The file.
        settle_s: Time that they have to stay as they are, seconds.

    Returns:
        Their paths relative to its folder, and the first that is missing or incomplete, with the reason.
    """
    import h5py

    references = list_references(path) if h5py.is_hdf5(path) else ()
    names = {reference.target for reference in references if "%" not in reference.target}
    folder = path.resolve().parent
    parts = [name for name in sorted(names)[:MAX_PARTS] if (folder / name).resolve().is_relative_to(folder)]
    return parts, next((reason for name in parts if (reason := _describe_part(folder / name, settle_s))), "")


def _describe_part(part: Path, settle_s: float) -> str:
    """Return the reason why a further file of a scan is not complete; an empty text where it is."""
    if not part.is_file():
        return f"{part.name}, which is not there"
    if time.time() - part.stat().st_mtime < settle_s:
        return f"{part.name}, which is being written"
    reason = describe_incomplete(part)
    return f"{part.name}: {reason}" if reason else ""


def _describe_other(path: Path, loading: LoadConfig) -> str:
    """Return a reason why a sound file is no scan; an empty text for one that is."""
    try:
        with external_files(loading.allow_external):
            return "" if holds_scan(path, loading) else "a reconstruction, and no scan"
    except InputError as error:
        if error.actual != NO_FORMAT:
            raise
        return error.actual


def _job(session: Session, command: str, source: str, run_dir: str) -> JobSession:
    """Return the call of another command that does the same as this job."""
    options = {**session.options, "quiet": True}
    words = ["ptypinn", command, source, "--output-dir", run_dir, *session.command]
    return JobSession(options, words, session.set_options, session.flags)


def _failure(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome.error, KeyboardInterrupt):
        return {"state": INTERRUPTED, "text": outcome.reason}
    is_full = isinstance(outcome.error, OSError) and outcome.error.errno in FULL
    return {"state": "failed", "error": outcome.reason, **({"full": True} if is_full else {})}
