"""`ptypinn simulate`, `ptypinn info` and `ptypinn convert`."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ptypinn.cli.session import Session
from ptypinn.config.load import InfoConfig, LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.errors import InputError
from ptypinn.runs.folder import reconstruction_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ptypinn.stages.info import ScanInfo
    from ptypinn.stages.orient import Ranking


def run_simulate(session: Session) -> None:
    """Simulate a scan and write it."""
    config = session.config(SimulateConfig)
    path = Path(session.options.output)
    if path.exists() and not session.options.overwrite:
        raise InputError("--output", "", f"{path}, which exists", "a new file, or --overwrite as well")
    from ptypinn.io.load_save import save
    from ptypinn.stages.simulate import simulate

    with session.progress() as progress:
        scan = simulate(config, progress=progress)
    save(scan, path)
    photons = scan.provenance["photons_measured"]
    result = {"stage": "simulate", "output": path, "patterns": scan.n_patterns, "size": scan.size, "photons": photons}
    summary = f"{scan.n_patterns} patterns of {scan.size} x {scan.size} pixels, {photons:.4g} photons each, in {path}"
    session.tell(result, [summary])


def run_info(session: Session) -> None:
    """Look at a scan or a reconstruction; print what there is to know and draw it where a picture is named."""
    from ptypinn.io.load_save import holds_scan

    path, config = reconstruction_file(Path(session.options.scan)), session.config(LoadConfig)
    show = _show_scan if holds_scan(path, config) else _show_reconstruction
    show(session, path, config)


def _show_scan(session: Session, path: Path, config: LoadConfig) -> None:
    from ptypinn.io.load_save import load
    from ptypinn.report.text.scan import info_lines
    from ptypinn.stages.info import info

    scan, how = load(path, config), session.config(InfoConfig)
    found = info(scan, how)
    lines, result, draw = info_lines(found), {"stage": "info", **found.to_dict()}, partial(_draw_scan, found)
    if session.options.orient:
        from ptypinn.report.text.orientation import orient_lines
        from ptypinn.stages.orient import orient

        with session.progress() as progress:
            ranking = orient(scan, how, progress=progress)
        lines += orient_lines(ranking)
        result["orientation"] = ranking.to_dict()
        draw = partial(_draw_ranking, ranking)
    if session.options.plot:
        from ptypinn.cli.outputs import save_picture

        lines.append(f"picture in {save_picture(draw(), session.options.plot)}")
    session.tell(result, lines)


def _draw_scan(found: ScanInfo) -> Figure:
    from ptypinn.report.figures.scan import info_figure

    return info_figure(found)


def _draw_ranking(ranking: Ranking) -> Figure:
    from ptypinn.report.figures.scan import orient_figure

    return orient_figure(ranking)


def _show_reconstruction(session: Session, path: Path, config: LoadConfig) -> None:
    from ptypinn.io.load_save import load_reconstruction
    from ptypinn.report.text.scan import recon_dict, recon_lines

    if session.options.orient:
        raise InputError(str(path), "--orient", "a reconstruction, which has no patterns", "a scan")
    recon = load_reconstruction(path, config)
    lines = recon_lines(recon)
    if session.options.plot:
        from ptypinn.cli.outputs import save_picture
        from ptypinn.report.figures.object import object_figure

        lines.append(f"picture in {save_picture(object_figure(recon, path.name), session.options.plot)}")
    session.tell({"stage": "info", "file": path, **recon_dict(recon)}, lines)


def run_convert(session: Session) -> None:
    """Bring a file into another format; name what is lost on the way, one line each."""
    from ptypinn.io.load_save import FORMATS
    from ptypinn.stages.convert import convert

    options, config = session.options, session.config(LoadConfig)
    source, overwrite = reconstruction_file(Path(options.source)), bool(options.overwrite)
    done = convert(source, options.target, options.to or "", config, overwrite=overwrite)
    title = FORMATS[done.format].title
    lines = [f"{done.kind} in {done.path} ({title})", *(f"! left out: {lost}" for lost in done.lost)]
    session.tell({"stage": "convert", **dataclasses.asdict(done)}, lines)
