"""Weights of the learned solver's network: those that come with the package, or a file of the user's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from ptypinn.data.atomic import atomic_path
from ptypinn.errors import InputError
from ptypinn.models.canvas_maps import CHANNELS
from ptypinn.models.unrolled import UnrolledCorrection

WEIGHTS_FORMAT = "ptypinn-unrolled-1"
SHIPPED = "unrolled.safetensors"
"""File name of the weights inside `ptypinn.weights`."""


@dataclass(frozen=True)
class Weights:
    """A trained network and what is known about it."""

    network: UnrolledCorrection
    """In evaluation mode, without gradients."""
    card: Mapping[str, Any]
    """What it was trained on, how, and what it reached; JSON-able."""
    source: str
    """Where it comes from, for messages and provenance."""
    digest: str
    """SHA-256 of the weights, independent of the file around them."""

    def record(self) -> dict[str, Any]:
        """What cards of weights that went on from these say of them."""
        return {"file": Path(self.source).name, "sha256": self.digest, "card": dict(self.card)}

    def card_without_ancestors(self) -> dict[str, Any]:
        """The card, with the weights that these went on from by file and digest alone: what reconstructions keep."""
        start = self.card.get("start")
        if not isinstance(start, Mapping):
            return dict(self.card)
        return {**self.card, "start": {name: value for name, value in start.items() if name != "card"}}


def load_weights(path: str | Path | None = None) -> Weights:
    """Read weights; nothing in the file is executed.

    Args:
        path: A file that `save_weights` wrote; None for the weights that come with the package.

    Raises:
        InputError: Where the file is missing, damaged, or holds something else.
    """
    if path is None:
        with as_file(files("ptypinn.weights") / SHIPPED) as place:
            return _read(place, "shipped weights")
    if not Path(path).is_file():
        raise InputError(str(path), "", "no such file", "weights written by `ptypinn pretrain` or `ptypinn finetune`")
    return _read(Path(path), str(path))


def is_weights(path: str | Path) -> bool:
    """Whether a file says of itself that it holds weights of the learned solver."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == WEIGHTS_FORMAT
    except (safetensors.SafetensorError, OSError):
        return False


def save_weights(network: UnrolledCorrection, card: Mapping[str, Any], path: str | Path) -> Path:
    """Write one safetensors file with the model card in its header, atomically."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header = {"format": WEIGHTS_FORMAT, "widths": json.dumps(network.widths), "card": json.dumps(dict(card), allow_nan=False)}
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=header)
    return Path(path)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous().float()
        found.update(f"{name}{tuple(value.shape)}".encode())
        found.update(value.numpy().tobytes())
    return found.hexdigest()


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
        widths, card = json.loads(metadata["widths"]), json.loads(metadata["card"])
        network = UnrolledCorrection(CHANNELS, widths=tuple(int(width) for width in widths))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(source, "network", reason, "weights that fit the network named in the header") from None
    return Weights(network.eval().requires_grad_(False), card, source, digest_of(tensors))
