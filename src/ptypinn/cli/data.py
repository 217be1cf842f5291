"""The commands `simulate`, `info` and `convert`."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ptypinn.cli.session import Session
from ptypinn.config.load import InfoConfig, LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ptypinn.stages.info import ScanInfo
    from ptypinn.stages.orient import Ranking


def run_simulate(session: Session, config: SimulateConfig, *, output: str, overwrite: bool = False) -> None:
    """Simulate a scan and write it with the truth inside.

    Args:
        session: The call.
        config: Options of the simulation.
        output: Scan file to write (HDF5).
        overwrite: Replace an existing file.
    """
    path = Path(output)
    if path.exists() and not overwrite:
        raise InputError("--output", "", f"{path}, which exists", "a new file, or --overwrite as well")
    from ptypinn.io.load_save import save
    from ptypinn.stages.simulate import simulate

    with session.progress() as progress:
        scan = simulate(config, progress=progress)
    save(scan, path)
    photons = scan.provenance["photons_measured"]
    result = {"stage": "simulate", "output": path, "patterns": scan.n_patterns, "size": scan.size, "photons": photons}
    summary = f"{scan.n_patterns} patterns of {scan.size} x {scan.size} pixels, {photons:.4g} photons each, in {path}"
    session.print_result(result, [summary])


def run_info(
    session: Session,
    scan: str,
    loading: LoadConfig,
    config: InfoConfig,
    *,
    plot: str | None = None,
    orient: bool = False,
) -> None:
    """Describe a scan or a reconstruction: geometry, dose, overlap, missing entries.

    Args:
        session: The call.
        scan: Scan or reconstruction of any format, or a run folder.
        loading: Reading of the file.
        config: Options of the description.
        plot: Picture to draw (PNG): of the scan, or of the orientations with --orient.
        orient: Try all orientations of patterns and positions, and rank them.
    """
    from ptypinn.io.load_save import holds_scan
    from ptypinn.runs.folder import reconstruction_file

    if not orient:
        session.refuse(("orient_patterns", "orient_iterations"), "`ptypinn info` without --orient")
    path = reconstruction_file(Path(scan))
    if holds_scan(path, loading):
        _show_scan(session, path, loading, config, plot, orient)
        return
    session.refuse_of(InfoConfig, "`ptypinn info` of a reconstruction")
    if orient:
        raise InputError(str(path), "--orient", "a reconstruction, which has no patterns", "a scan")
    _show_reconstruction(session, path, loading, plot)


def _show_scan(
    session: Session, path: Path, loading: LoadConfig, config: InfoConfig, plot: str | None, orientations: bool
) -> None:
    from ptypinn.io.load_save import load
    from ptypinn.report.text.scan import info_lines
    from ptypinn.stages.info import info

    scan = load(path, loading)
    summary = info(scan, config)
    lines, result, draw = info_lines(summary), {"stage": "info", **summary.to_dict()}, partial(_draw_scan, summary)
    if orientations:
        from ptypinn.report.text.orientation import orient_lines
        from ptypinn.stages.orient import orient

        with session.progress() as progress:
            ranking = orient(scan, config, progress=progress)
        lines += orient_lines(ranking)
        result["orientation"] = ranking.to_dict()
        draw = partial(_draw_ranking, ranking)
    if plot:
        from ptypinn.cli.outputs import save_picture

        lines.append(f"picture in {save_picture(draw(), plot)}")
    session.print_result(result, lines)


def _draw_scan(summary: ScanInfo) -> Figure:
    from ptypinn.report.figures.scan import info_figure

    return info_figure(summary)


def _draw_ranking(ranking: Ranking) -> Figure:
    from ptypinn.report.figures.scan import orient_figure

    return orient_figure(ranking)


def _show_reconstruction(session: Session, path: Path, loading: LoadConfig, plot: str | None) -> None:
    from ptypinn.io.load_save import load_reconstruction
    from ptypinn.report.text.scan import recon_dict, recon_lines

    recon = load_reconstruction(path, loading)
    lines = recon_lines(recon)
    if plot:
        from ptypinn.cli.outputs import save_picture
        from ptypinn.report.figures.object import object_figure

        lines.append(f"picture in {save_picture(object_figure(recon, path.name), plot)}")
    session.print_result({"stage": "info", "file": path, **recon_dict(recon)}, lines)


def run_convert(
    session: Session,
    source: str,
    target: str,
    loading: LoadConfig,
    *,
    to: str | None = None,
    overwrite: bool = False,
) -> None:
    """Convert a scan or a reconstruction to another file format, and list what that cannot hold.

    Args:
        session: The call.
        source: Scan or reconstruction of any format, or a run folder.
        target: File to write.
        loading: Reading of the source.
        to: Format: native, cxi, ptyd, ptyr, ptychodus, npz, tiff; by the suffix of the target by default.
        overwrite: Replace an existing file.
    """
    from ptypinn.io.load_save import find_format
    from ptypinn.runs.folder import reconstruction_file
    from ptypinn.stages.convert import convert

    done = convert(reconstruction_file(Path(source)), target, to or "", loading, overwrite=overwrite)
    title = find_format(done.format).title
    lines = [f"{done.kind} in {done.path} ({title})", *(f"! left out: {lost}" for lost in done.lost)]
    session.print_result({"stage": "convert", **dataclasses.asdict(done)}, lines)
