"""Quantitative ptychography with a physics-informed network.

Every public name is imported when it is first used, so that `import ptypinn` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptypinn._version import __version__
from ptypinn.utils.lazy_names import import_lazily

if TYPE_CHECKING:
    from ptypinn.config.evaluate import DiagnoseConfig as DiagnoseConfig
    from ptypinn.config.evaluate import EvaluateConfig as EvaluateConfig
    from ptypinn.config.finetune import FinetuneConfig as FinetuneConfig
    from ptypinn.config.load import LoadConfig as LoadConfig
    from ptypinn.config.pretrain import PretrainConfig as PretrainConfig
    from ptypinn.config.reconstruct import PatchNetworkConfig as PatchNetworkConfig
    from ptypinn.config.reconstruct import ReconstructConfig as ReconstructConfig
    from ptypinn.config.refine import RefineConfig as RefineConfig
    from ptypinn.config.simulate import SimulateConfig as SimulateConfig
    from ptypinn.config.train import TrainConfig as TrainConfig
    from ptypinn.data.reconstruction import Reconstruction as Reconstruction
    from ptypinn.data.scan import ScanData as ScanData
    from ptypinn.errors import InputError as InputError
    from ptypinn.io.load_save import load as load
    from ptypinn.io.load_save import load_reconstruction as load_reconstruction
    from ptypinn.io.load_save import save as save
    from ptypinn.report.figures.object import object_figure as object_figure
    from ptypinn.report.html.cards import html_card as html_card
    from ptypinn.stages.convert import convert as convert
    from ptypinn.stages.diagnose import Diagnosis as Diagnosis
    from ptypinn.stages.diagnose import diagnose as diagnose
    from ptypinn.stages.evaluate import Evaluation as Evaluation
    from ptypinn.stages.evaluate import evaluate as evaluate
    from ptypinn.stages.evaluate import split_half as split_half
    from ptypinn.stages.export import Export as Export
    from ptypinn.stages.export import export as export
    from ptypinn.stages.finetune import finetune as finetune
    from ptypinn.stages.info import info as info
    from ptypinn.stages.pretrain import pretrain as pretrain
    from ptypinn.stages.reconstruct import reconstruct as reconstruct
    from ptypinn.stages.refine import refine as refine
    from ptypinn.stages.simulate import simulate as simulate
    from ptypinn.stages.train import train as train

_HOMES = {
    "load": "io.load_save",
    "save": "io.load_save",
    "load_reconstruction": "io.load_save",
    "object_figure": "report.figures.object",
    "html_card": "report.html.cards",
    "simulate": "stages.simulate",
    "info": "stages.info",
    "convert": "stages.convert",
    "refine": "stages.refine",
    "train": "stages.train",
    "export": "stages.export",
    "pretrain": "stages.pretrain",
    "finetune": "stages.finetune",
    "reconstruct": "stages.reconstruct",
    "evaluate": "stages.evaluate",
    "split_half": "stages.evaluate",
    "diagnose": "stages.diagnose",
    "ScanData": "data.scan",
    "Reconstruction": "data.reconstruction",
    "Evaluation": "stages.evaluate",
    "Diagnosis": "stages.diagnose",
    "Export": "stages.export",
    "InputError": "errors",
    "LoadConfig": "config.load",
    "SimulateConfig": "config.simulate",
    "RefineConfig": "config.refine",
    "TrainConfig": "config.train",
    "PretrainConfig": "config.pretrain",
    "FinetuneConfig": "config.finetune",
    "ReconstructConfig": "config.reconstruct",
    "PatchNetworkConfig": "config.reconstruct",
    "EvaluateConfig": "config.evaluate",
    "DiagnoseConfig": "config.evaluate",
}
"""Modules that the public names live in."""

__all__ = [*_HOMES, "__version__"]


if not TYPE_CHECKING:
    __getattr__ = import_lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
