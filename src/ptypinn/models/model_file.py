"""Trained networks as one file each: tensors as safetensors, everything else as its JSON header.

A `PatchModel` is what `train` writes, network and probe of one experiment. `Weights` are those of the unrolled solver.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import save as serialise
from torch import Tensor

from ptypinn.errors import InputError
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.models.registry import find_model
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.physics.optics import probe_photons
from ptypinn.scale import IntensityScaler
from ptypinn.utils.atomic_files import atomic_path

PATCH_MODEL_FORMAT = "ptypinn-bundle-2"
EARLIER_FORMATS = {"ptypinn-bundle-1": "a network of an earlier version, which knew no places within a group"}


@dataclass(frozen=True)
class PatchModelHeader:
    """Names, scale and provenance of a patch network."""

    model: str
    """Name in the registry of networks."""
    hyperparameters: Mapping[str, Any]
    """All arguments of the network, `size` and `gridsize` among them."""
    mean_pattern_energy: float
    """E of the training split, photons."""
    input_scale: float
    """Initial factor s of the intensity scaler, sqrt(photons)."""
    log_scale: float
    """Learned logarithm of the factor; `log(input_scale)` where it was not trained."""
    probe_gauge: str = "calibrated"
    """Gauge of the probe that the network was trained with."""
    trained_probe: bool = False
    """True if the probe was trained with the network."""
    gauge: float | None = None
    """Amplitude factor from the network's object to transmission, by the photons of the training patterns."""
    scale: list[dict[str, Any]] = field(default_factory=list)
    """Scale ledger of the training, measured over the epoch whose weights these are."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Configuration, training scan, split, versions; JSON-able."""

    @property
    def size(self) -> int:
        """Edge N of the patterns, pixels."""
        return int(self.hyperparameters["size"])

    @property
    def gridsize(self) -> int:
        """Groups hold `gridsize**2` patterns."""
        return int(self.hyperparameters["gridsize"])

    def require_types(self) -> None:
        """Raise TypeError for a field of another type than it is written with, else KeyError or ValueError."""
        for value, kind in ((self.model, str), (self.hyperparameters, dict), (self.provenance, dict)):
            if not isinstance(value, kind):
                raise TypeError(f"{value!r} for a {kind.__name__}")
        sizes = self.hyperparameters["size"], self.hyperparameters["gridsize"]
        gauge = () if self.gauge is None else (self.gauge,)
        for number in (*sizes, *gauge, self.mean_pattern_energy, self.input_scale, self.log_scale):
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise TypeError(f"{number!r} for a number")
        if self.input_scale <= 0:
            raise ValueError(f"{self.input_scale!r} for a positive scale")


@dataclass(frozen=True)
class PatchModel:
    """A trained network with its scale and its probe."""

    header: PatchModelHeader
    """Names, scale and provenance."""
    weights: Mapping[str, Tensor]
    """State of the network."""
    probe: Tensor
    """Probe modes of the training, sqrt(photons), (mode, N, N)."""
    source: str = "model"
    """Name of the model in messages: its file."""

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically."""
        tensors = {f"network.{name}": value.detach().cpu().contiguous() for name, value in self.weights.items()}
        tensors["probe"] = torch.view_as_real(self.probe.detach().cpu()).contiguous()
        header = {"format": PATCH_MODEL_FORMAT, "header": json.dumps(asdict(self.header), allow_nan=False)}
        return _write(Path(path), tensors, header)

    def predictor(self, probe: Tensor, mask: Tensor) -> PatchPredictor:
        """Return the network ready to reconstruct with a probe, sqrt(photons), and a mask in FFT order.

        The input scale follows the probe's power, so that the network's input is the same at every exposure of the same
        experiment.

        Raises:
            InputError: If the weights do not fit the network that the header names.
        """
        header = self.header
        amplitude = float(probe_photons(probe) / probe_photons(self.probe)) ** 0.5
        scaler = IntensityScaler(header.input_scale * amplitude)
        with torch.no_grad():
            scaler.log_scale.add_(header.log_scale - math.log(header.input_scale))
        network = self._network()
        return PatchPredictor(network, scaler, probe, mask).eval().requires_grad_(False)

    def _network(self) -> torch.nn.Module:
        """Return the network; without memory at first, as the header may declare any size."""
        network_class, values = find_model(self.header.model, self.source, "model"), self.header.hyperparameters
        if large := [name for name, value in values.items() if isinstance(value, int) and abs(value) > MAX_NUMBER]:
            raise InputError(self.source, large[0], str(values[large[0]]), f"a number up to {MAX_NUMBER}")
        return _build(lambda: network_class(**values), dict(self.weights), self.source)


def load_patch_model(path: str | Path) -> PatchModel:
    """Read what `Bundle.save` wrote; nothing in the file is executed.

    Raises:
        InputError: If the file is missing, damaged, or something else.
    """
    source = str(path)
    if not Path(path).is_file():
        raise InputError(source, "", "no such file", "a model written by `ptypinn train`")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(source, "", f"an unreadable file ({error})", "a model written by `ptypinn train`") from None
    if metadata.get("format") != PATCH_MODEL_FORMAT:
        name = metadata.get("format", "a file without a model header")
        if name in EARLIER_FORMATS:
            raise InputError(source, "format", EARLIER_FORMATS[name], "one of this version; `ptypinn train` again")
        raise InputError(source, "format", repr(name), repr(PATCH_MODEL_FORMAT))
    if "probe" not in tensors:
        raise InputError(source, "probe", "none", "the probe that the network was trained with")
    try:
        header = PatchModelHeader(**json.loads(metadata["header"]))
        header.require_types()
        probe = torch.view_as_complex(tensors["probe"])
        if not 0 < float(probe_photons(probe)) < math.inf:
            raise ValueError("a probe without photons")
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError, OverflowError) as error:
        raise InputError(source, "header", str(error), "the fields of a model header") from None
    prefix = "network."
    weights = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return PatchModel(header, weights, probe, source)


Network = TypeVar("Network", bound=torch.nn.Module)
MAX_NUMBER = 4096
"""Largest number that a header may declare: more than any network has of channels or layers."""
WEIGHTS_FORMAT = "ptypinn-unrolled-1"
SHIPPED_WEIGHTS = "unrolled.safetensors"
"""File name of the weights inside `ptypinn.models.weights`."""


@dataclass(frozen=True)
class Weights:
    """Weights of the unrolled solver's network, with their model card."""

    network: UnrolledCorrection
    """In evaluation mode, without gradients."""
    card: Mapping[str, Any]
    """Model card: training data, recipe and measured errors; JSON-able."""
    source: str
    """Their file, for messages and provenance."""
    digest: str
    """SHA-256 of the weights, independent of the file around them."""

    def record(self) -> dict[str, Any]:
        """Return the record of these weights in the cards of weights that were trained further from them."""
        return {"file": Path(self.source).name, "sha256": self.digest, "card": dict(self.card)}

    def shorten_card(self) -> dict[str, Any]:
        """Return the card with earlier weights by file and digest alone: for the provenance of reconstructions."""
        start = self.card.get("start")
        if not isinstance(start, Mapping):
            return dict(self.card)
        return {**self.card, "start": {name: value for name, value in start.items() if name != "card"}}


def load_weights(path: str | Path | None = None) -> Weights:
    """Read weights; nothing in the file is executed.

    Args:
        path: A file that `save_weights` wrote; None for the weights that ship with the package.

    Raises:
        InputError: If the file is missing, damaged, or holds something else.
    """
    if path is None:
        with as_file(files("ptypinn.models.weights") / SHIPPED_WEIGHTS) as file:
            return _read(file, "shipped weights")
    if not Path(path).is_file():
        raise InputError(str(path), "", "no such file", "weights written by `ptypinn pretrain` or `ptypinn finetune`")
    return _read(Path(path), str(path))


def is_weights_file(path: str | Path) -> bool:
    """Return True if the header of a file declares weights of the unrolled solver."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == WEIGHTS_FORMAT
    except (safetensors.SafetensorError, OSError):
        return False


def save_weights(network: UnrolledCorrection, card: Mapping[str, Any], path: str | Path) -> Path:
    """Write one safetensors file with the model card in its header, atomically."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header = {
        "format": WEIGHTS_FORMAT,
        "widths": json.dumps(network.widths),
        "card": json.dumps(dict(card), allow_nan=False),
    }
    return _write(Path(path), tensors, header)


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> Path:
    content = serialise(dict(tensors), metadata)
    with atomic_path(path, len(content)) as temporary:
        temporary.write_bytes(content)
    return path


def compute_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous().float()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, source: str) -> Weights:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(source, "", f"an unreadable file ({error})", "a safetensors file") from None
    if metadata.get("format") != WEIGHTS_FORMAT:
        raise InputError(source, "format", repr(metadata.get("format", "another file")), repr(WEIGHTS_FORMAT))
    try:
        widths, card = tuple(int(width) for width in json.loads(metadata["widths"])), json.loads(metadata["card"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(source, "header", str(error), "the widths of the network and its card") from None
    network = _build(lambda: UnrolledCorrection(CHANNELS, widths=widths), tensors, source)
    return Weights(network.eval().requires_grad_(False), card, source, compute_digest(tensors))


def _build(build_network: Callable[[], Network], weights: Mapping[str, Tensor], source: str) -> Network:
    """Return a network with its weights; it is built without memory first, as a header may declare any size."""
    try:
        with torch.device("meta"):
            build_network().load_state_dict(weights, assign=True)
        network = build_network()
        network.load_state_dict(weights)
    except Exception as error:  # a header may declare anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(source, "network", reason, "weights that fit the network named in the header") from None
    return network
