"""Quantitative ptychography with a physics-informed network.

Every public name is imported when it is first used, so that `import ptypinn` is quick.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ptypinn.config.diagnose import DiagnoseConfig as DiagnoseConfig
    from ptypinn.config.evaluate import EvaluateConfig as EvaluateConfig
    from ptypinn.config.finetune import FinetuneConfig as FinetuneConfig
    from ptypinn.config.load import LoadConfig as LoadConfig
    from ptypinn.config.pretrain import PretrainConfig as PretrainConfig
    from ptypinn.config.reconstruct import ReconstructConfig as ReconstructConfig
    from ptypinn.config.refine import RefineConfig as RefineConfig
    from ptypinn.config.simulate import SimulateConfig as SimulateConfig
    from ptypinn.config.train import TrainConfig as TrainConfig
    from ptypinn.convert import convert as convert
    from ptypinn.data.formats import load as load
    from ptypinn.data.formats import save as save
    from ptypinn.data.reconstruction import Reconstruction as Reconstruction
    from ptypinn.data.scan import ScanData as ScanData
    from ptypinn.diagnose import Diagnosis as Diagnosis
    from ptypinn.diagnose import diagnose as diagnose
    from ptypinn.errors import InputError as InputError
    from ptypinn.evaluate import Evaluation as Evaluation
    from ptypinn.evaluate import evaluate as evaluate
    from ptypinn.evaluate import split_half as split_half
    from ptypinn.finetune import finetune as finetune
    from ptypinn.info import info as info
    from ptypinn.pretrain import pretrain as pretrain
    from ptypinn.reconstruct import reconstruct as reconstruct
    from ptypinn.refine import refine as refine
    from ptypinn.simulate import simulate as simulate
    from ptypinn.training import train as train

_HOMES = {
    "load": "data.formats",
    "save": "data.formats",
    "simulate": "simulate",
    "info": "info",
    "convert": "convert",
    "refine": "refine",
    "train": "training",
    "pretrain": "pretrain",
    "finetune": "finetune",
    "reconstruct": "reconstruct",
    "evaluate": "evaluate",
    "split_half": "evaluate",
    "diagnose": "diagnose",
    "ScanData": "data.scan",
    "Reconstruction": "data.reconstruction",
    "Evaluation": "evaluate",
    "Diagnosis": "diagnose",
    "InputError": "errors",
    "LoadConfig": "config.load",
    "SimulateConfig": "config.simulate",
    "RefineConfig": "config.refine",
    "TrainConfig": "config.train",
    "PretrainConfig": "config.pretrain",
    "FinetuneConfig": "config.finetune",
    "ReconstructConfig": "config.reconstruct",
    "EvaluateConfig": "config.evaluate",
    "DiagnoseConfig": "config.diagnose",
}
"""Modules that the public names live in."""

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ptypinn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ptypinn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package, in which a stage function stands before the module of the same name.

    Importing `ptypinn.refine` would otherwise replace the function `ptypinn.refine` by the module.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
