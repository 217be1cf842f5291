"""`ptypinn study sim-lines`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from ptypinn.cli.failures import going_on_by
from ptypinn.cli.products import headline, result_record, write_products
from ptypinn.cli.session import Session
from ptypinn.config.study import ABOUT_THE_RUN, SimLinesConfig


def run_sim_lines(session: Session) -> None:
    """Run one scenario; what an interrupted run has finished is kept."""
    config = session.config(SimLinesConfig)
    origins = origins_of(config, session.command, [Path(str(file)) for file in session.options.config or ()])
    from ptypinn.studies.scenario import resolve

    scenario = resolve(config, origins)  # refuse bad parameters before anything is imported for long
    from ptypinn.studies.metadata import console_lines
    from ptypinn.studies.sim_lines import SCAN, check, sim_lines

    check(scenario)  # refuse bad input before anything is written

    with session.run("study sim-lines", config, again=session.options.resume) as (run, progress):
        fresh = bool(session.options.overwrite and not session.options.resume)
        with run.timed("study"), going_on_by("the same command with --resume goes on where this one stopped"):
            made = sim_lines(config, output_dir=run.path, progress=progress, overwrite=fresh, origins=origins)
        inputs = {"scan": {"file": SCAN}, **({"probe": made.scenario.probe_file} if made.scenario.probe_file else {})}
        seed = made.scenario.value("sim_seed")
        write_products(run, made.recon, made.scan, made.evaluation, inputs, seed)
        lines = console_lines(made.metadata)
        for line in lines:
            run.note(line)
        run.finish(made.evaluation.as_json(), inputs, seed, made.metadata.as_json())
    result = {**result_record(run, made.evaluation), "scenario": config.scenario, "verdict": made.diagnosis.verdict}
    result["forward_pass_diagnostics"] = made.metadata.forward_pass_diagnostics
    session.tell(result, [*headline(made.evaluation), *lines, f"results in {run.path}"])


def origins_of(config: SimLinesConfig, command: Sequence[str], files: Sequence[Path] = ()) -> dict[str, str]:
    """Where every given parameter comes from: `flag` where it stands on the command line, else `config file`.

    Args:
        config: The options, as they hold.
        command: The command line.
        files: Configuration files that it names.
    """
    flags = {word[2:].split("=")[0].replace("-", "_") for word in command if word.startswith("--")}
    flags |= {"probe_file"} if "probe" in flags else set()
    written = {name for file in files for name in yaml.safe_load(file.read_text(encoding="utf-8")) or ()}
    names = [*config.given(), *(name for name in ABOUT_THE_RUN if name in flags | written)]
    return {name: "flag" if name in flags else "config file" for name in names}
