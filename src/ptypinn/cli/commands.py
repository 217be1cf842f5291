"""The stages that the command line offers: their arguments, configurations and the functions behind them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ptypinn.cli.session import Session


@dataclass(frozen=True)
class Argument:
    """An argument that is no configuration field."""

    name: str
    help: str
    positional: bool = False
    required: bool = False
    switch: bool = False
    several: bool = False

    def add_to(self, parser: ArgumentParser) -> None:
        """Declare the argument."""
        if self.positional:
            parser.add_argument(self.name, type=str, nargs="+" if self.several else None, help=self.help)
        elif self.switch:
            parser.add_argument(f"--{self.name}", action="store_true", help=self.help)
        else:
            kind: Any = str if self.required else str | None
            parser.add_argument(f"--{self.name}", type=kind, required=self.required, help=self.help)


@dataclass(frozen=True)
class Stage:
    """One stage: what it is called with and what runs it; modules are named, and imported when they are needed."""

    summary: str
    arguments: tuple[Argument, ...]
    config_names: tuple[str, ...]
    runner: str

    def configs(self) -> list[type]:
        """Configuration dataclasses whose fields are options of this stage."""
        return [_named(f"ptypinn.config.{name}") for name in self.config_names]

    def run(self, session: Session) -> None:
        """Run the stage with parsed options."""
        runner: Callable[[Session], None] = _named(f"ptypinn.cli.{self.runner}")
        runner(session)


def _named(path: str) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


SCAN = Argument("scan", "Scan file, of any format that `ptypinn convert` reads.", positional=True)
RECON = Argument("recon", "Reconstruction (HDF5), or the run folder that holds one.", positional=True)
OUTPUT_DIR = Argument("output_dir", "Run folder for everything the stage writes.", required=True)
OVERWRITE = Argument("overwrite", "Replace the results of an earlier run.", switch=True)

FAMILIES = {"study": "Studies on simulated scans: where amplitude stays, and where it goes."}
"""First words of the stages that have two."""

STAGES: dict[str, Stage] = {
    "demo": Stage(
        "Simulate a scan, reconstruct it without training anything, and evaluate.",
        (OUTPUT_DIR, OVERWRITE),
        ("simulate.DemoConfig",),
        "solve.run_demo",
    ),
    "simulate": Stage(
        "Simulate a scan and write it with the truth inside.",
        (Argument("output", "Scan file to write (HDF5).", required=True), OVERWRITE),
        ("simulate.SimulateConfig",),
        "data.run_simulate",
    ),
    "info": Stage(
        "Tell what a scan holds, or a reconstruction: geometry, dose, overlap, what is missing.",
        (
            Argument("scan", "Scan or reconstruction of any format, or a run folder.", positional=True),
            Argument("plot", "Picture to draw (PNG): of the scan, or of the orientations with --orient."),
            Argument("orient", "Try which way round patterns and positions belong, and rank them.", switch=True),
        ),
        ("load.LoadConfig", "load.InfoConfig"),
        "data.run_info",
    ),
    "convert": Stage(
        "Bring a scan or a reconstruction into another file format, and say what that cannot hold.",
        (
            Argument("source", "Scan or reconstruction of any format, or a run folder.", positional=True),
            Argument("target", "File to write.", positional=True),
            Argument("to", "Format: native, cxi, ptyd, ptyr, ptychodus, npz, tiff; by the suffix where not given."),
            OVERWRITE,
        ),
        ("load.LoadConfig",),
        "data.run_convert",
    ),
    "refine": Stage(
        "Solve a scan iteratively for object, probe and positions.",
        (
            SCAN,
            OUTPUT_DIR,
            OVERWRITE,
            Argument("start", "Reconstruction to start from (HDF5), or its run folder."),
            Argument("split_half", "Solve two halves of the scan too: their agreement is the resolution.", switch=True),
        ),
        ("load.LoadConfig", "refine.RefineConfig"),
        "solve.run_refine",
    ),
    "train": Stage(
        "Train the physics-informed network on a scan, without any ground truth.",
        (SCAN, OUTPUT_DIR, OVERWRITE, Argument("resume", "Go on where an interrupted run stopped.", switch=True)),
        ("load.LoadConfig", "train.TrainConfig"),
        "train.run_train",
    ),
    "reconstruct": Stage(
        "Reconstruct a scan, by the learned solver or with a network of one's own.",
        (
            SCAN,
            OUTPUT_DIR,
            OVERWRITE,
            Argument("model", "Run folder of a training, or its model; the weights of the package where not given."),
        ),
        ("load.LoadConfig", "reconstruct.ReconstructConfig"),
        "solve.run_reconstruct",
    ),
    "pretrain": Stage(
        "Train the learned solver's network on simulations: what the weights that come with the package are made by.",
        (
            OUTPUT_DIR,
            OVERWRITE,
            Argument(
                "resume",
                "Go on where an interrupted run stopped, or where a finished one is to go further.",
                switch=True,
            ),
            Argument(
                "export", "Train no further; write the weights that the run in --output-dir has reached.", switch=True
            ),
        ),
        ("pretrain.PretrainConfig",),
        "train.run_pretrain",
    ),
    "finetune": Stage(
        "Adapt the learned solver's network to a scan, without any ground truth.",
        (SCAN, OUTPUT_DIR, OVERWRITE, Argument("resume", "Go on where an interrupted run stopped.", switch=True)),
        ("load.LoadConfig", "finetune.FinetuneConfig"),
        "train.run_finetune",
    ),
    "evaluate": Stage(
        "Judge a reconstruction against a truth, a reference or the measured counts.",
        (
            RECON,
            Argument("scan", "Scan file, for the fit to the counts and the truth it may hold."),
            Argument("reference", "Reconstruction to compare with (HDF5), or its run folder."),
            Argument("output_dir", "Run folder for figures and report."),
            OVERWRITE,
        ),
        ("load.LoadConfig", "evaluate.EvaluateConfig"),
        "evaluate.run_evaluate",
    ),
    "view": Stage(
        "Show runs in the browser: zoom, compare, look at single patterns, watch a run in progress.",
        (
            Argument(
                "run_or_folder",
                "Run folders, folders that hold them, or reconstructions.",
                positional=True,
                several=True,
            ),
        ),
        ("view.ViewConfig",),
        "view.run_view",
    ),
    "diagnose": Stage(
        "Follow amplitude from counts to object and name the stage that lost it.",
        (
            Argument(
                "run_or_files",
                "Run folders; or a reconstruction, its scan and its model, in any order.",
                positional=True,
                several=True,
            ),
            Argument("stats", "Show what flowed through the stages: shape, range, mean, deviation.", switch=True),
            Argument("plot", "Picture to draw (PNG)."),
            Argument("output_dir", "Run folder for report.html, diagnosis.json and waterfall.png."),
            OVERWRITE,
        ),
        ("load.LoadConfig", "evaluate.DiagnoseConfig"),
        "evaluate.run_diagnose",
    ),
    "study sim-lines": Stage(
        "Simulate lines, train on one half, reconstruct the other, and account for the amplitude.",
        (
            OUTPUT_DIR,
            OVERWRITE,
            Argument("resume", "Keep what an earlier run of the same parameters has finished.", switch=True),
        ),
        ("studies.SimLinesConfig",),
        "study.run_sim_lines",
    ),
    "study dose": Stage(
        "Change the dose over decades, and see that the object keeps its amplitude; what is finished is kept.",
        (OUTPUT_DIR, OVERWRITE),
        ("studies.DoseConfig", "shared.JobsConfig"),
        "study.run_dose",
    ),
    "study report": Stage(
        "Sum up runs on one page: bias, scale, health, and every run beside its truth.",
        (
            Argument("runs", "Run folders, or folders that hold them.", positional=True, several=True),
            OUTPUT_DIR,
            OVERWRITE,
        ),
        ("studies.StudyReportConfig",),
        "study.run_study_report",
    ),
}
"""Stages by name, in the order of the help."""
