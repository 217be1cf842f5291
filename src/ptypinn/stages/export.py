"""The `export` stage: a patch network of `train` as an ONNX file, for computers that have no PyTorch."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptypinn._version import __version__
from ptypinn.errors import InputError
from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.group_canvas import canvas_edge
from ptypinn.models.model_file import PatchModel, Weights
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.models.real_network import RealPatchNetwork
from ptypinn.physics.optics import probe_photons
from ptypinn.stages.reconstruct import load_model
from ptypinn.utils.atomic_files import atomic_path

PACKAGES = ("onnx", "onnxscript")
"""Packages of the extra `onnx` that write files."""
COUNTS, MASK, OFFSETS, OBJECT = "counts", "mask", "offsets", "object"
"""Names of the inputs and of the output."""
GROUPS = "groups"
"""Name of the axis of any length."""


@dataclass(frozen=True)
class Export:
    """An exported network."""

    path: Path
    """The ONNX file."""
    inputs: dict[str, str]
    """Inputs by name: shape, unit, order."""
    outputs: dict[str, str]
    """Outputs by name."""
    spread_px: int
    """Largest distance along an axis between patterns of a group, pixels; 0 where groups are single patterns."""


def export(
    model: str | Path | PatchModel, path: str | Path, *, spread_px: int | None = None, overwrite: bool = False
) -> Export:
    """Write a network of `train` as ONNX: counts in, object patches in transmission units out.

    Probe, input scale and the factor to transmission are inside the file; its metadata document inputs and outputs.

    Args:
        model: A model of `train`, its file, or its run folder.
        path: File to write, `.onnx`, atomically.
        spread_px: Largest distance along an axis between patterns of a group, pixels; half a pattern by default.
        overwrite: Replace an existing file.

    Raises:
        InputError: Where the model is of another kind, a package of the extra `onnx` is missing, or the file exists.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise InputError(str(path), "suffix", repr(path.suffix), "'.onnx'")
    if path.exists() and not overwrite:
        raise InputError(str(path), "", "a file that exists", "a new one, or --overwrite as well")
    bundle = _load(model)
    spread = _choose_spread(bundle, spread_px)
    _require_packages()
    predictor = _require_exportable(bundle)
    network = RealPatchNetwork(predictor, canvas_edge(bundle.header.size, spread)).eval()
    spread = network.edge - network.size
    inputs, outputs = _describe(bundle, spread)
    program = _convert(network, bundle)
    _document(program, bundle, inputs, outputs, spread)
    with atomic_path(path) as temporary, _quiet():
        program.save(str(temporary), external_data=False)
    return Export(path, inputs, outputs, spread)


def _load(model: str | Path | PatchModel) -> PatchModel:
    loaded = load_model(model)
    if isinstance(loaded, Weights):
        raise InputError(loaded.source, "", "weights of the unrolled solver", "a model of `ptypinn train`")
    return loaded


def _choose_spread(bundle: PatchModel, spread_px: int | None) -> int:
    size, gridsize = bundle.header.size, bundle.header.gridsize
    if spread_px is None:
        return size // 2 if gridsize > 1 else 0
    if gridsize == 1:
        raise InputError("--spread-px", "", str(spread_px), f"none: {bundle.source} takes single patterns")
    if not 0 < spread_px <= size:
        raise InputError("--spread-px", "", str(spread_px), f"a distance up to the edge of a pattern, {size}")
    return spread_px


def _require_packages() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError("ptypinn export", "", f"no package {' and no '.join(missing)}", "pip install 'ptypinn[onnx]'")


def _require_exportable(bundle: PatchModel) -> PatchPredictor:
    """Return the predictor of a model with its own probe; raise `InputError` for networks of other packages."""
    size = bundle.header.size
    predictor = bundle.predictor(bundle.probe, torch.ones((size, size), dtype=torch.bool))
    if not isinstance(predictor.network, PtychoCNN):
        raise InputError(bundle.source, "model", repr(bundle.header.model), "'cnn', the network that can be exported")
    return predictor


def _describe(bundle: PatchModel, spread_px: int) -> tuple[dict[str, str], dict[str, str]]:
    """Describe inputs and outputs for the metadata of the file."""
    size, channels = bundle.header.size, bundle.header.gridsize**2
    shape = f"({GROUPS}, {channels}, {size}, {size}"
    inputs = {
        COUNTS: f"float32 {shape}): detector counts, photons per pixel, zero frequency at [{size // 2}, {size // 2}]"
    }
    inputs[MASK] = f"float32 ({size}, {size}): 1 for good pixels of the detector, 0 for others"
    if channels > 1:
        inputs[OFFSETS] = (
            f"float32 ({GROUPS}, {channels}, 2): positions (y, x) of the patterns of a group, from any origin, object "
            f"pixels; at most {spread_px} apart along an axis"
        )
    patches = "object patches, dimensionless transmission, real and imaginary part, in the frame of the probe: pixel "
    return inputs, {OBJECT: f"float32 {shape}, 2): {patches}[0, 0] lies at the position of the pattern"}


def _convert(network: RealPatchNetwork, bundle: PatchModel) -> Any:
    """Trace a network with groups of any number."""
    size, channels = bundle.header.size, bundle.header.gridsize**2
    arguments: dict[str, Tensor] = {COUNTS: torch.ones((2, channels, size, size)), MASK: torch.ones((size, size))}
    axes: dict[str, Any] = {COUNTS: {0: torch.export.Dim(GROUPS)}, MASK: None}
    if channels > 1:
        arguments[OFFSETS] = torch.arange(channels * 4.0).view(2, channels, 2)
        axes[OFFSETS] = axes[COUNTS]
    with _quiet(), torch.no_grad():
        return torch.onnx.export(
            network,
            tuple(arguments.values()),
            dynamo=True,
            dynamic_shapes=tuple(axes.values()),
            input_names=list(arguments),
            output_names=[OBJECT],
            verbose=False,
        )


def _document(
    program: Any, bundle: PatchModel, inputs: dict[str, str], outputs: dict[str, str], spread_px: int
) -> None:
    """Write into the file what it takes and gives, and where it comes from."""
    model, header = program.model, bundle.header
    model.producer_name, model.producer_version = "ptypinn", __version__
    model.doc_string = "From diffraction counts to object patches in transmission units, by one sweep of a network."
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.doc_string = (inputs | outputs)[value.name]
    facts = {
        "size": header.size,
        "gridsize": header.gridsize,
        "spread_px": spread_px,
        "probe_photons": float(probe_photons(bundle.probe)),
        "inputs": inputs,
        "outputs": outputs,
        "provenance": dict(header.provenance),
    }
    model.metadata_props.update({f"ptypinn.{name}": json.dumps(value) for name, value in facts.items()})


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of packages and of names that do not matter here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
