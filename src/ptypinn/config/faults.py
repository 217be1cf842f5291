"""Faults of a simulated experiment: kinds and sizes, as `--faults` names them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from ptypinn.errors import InputError

SizeValue = float | int | tuple[float, ...]
FaultList = Sequence[str] | Mapping[str, Any]
"""Faults as they are given: a list of `NAME:SIZE`, or sizes (a number, or several) by name."""
MAX_PIXELS = 1000
"""Maximum displacement, pixels."""


@dataclass(frozen=True)
class Faults:
    """Sizes of the faults of a simulated experiment; a fault that is not named is absent.

    Positions: a fault moves the recorded positions; the sample is scanned as it would be without it.

    >>> parse_faults(["drift:14", "beam-offset:3:-1.5"]).listed()
    {'drift': 14.0, 'beam_offset': (3.0, -1.5)}
    """

    positions: float = 0.0
    """Independent errors of the recorded positions: standard deviation per axis, object pixels."""
    affine: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    """Recorded over true distances along y and along x, turn of the recorded scan in degrees, and its shear."""
    rotation: float = 0.0
    """Turn of the recorded scan against the detector, degrees."""
    drift: float = 0.0
    """Slow drift that the record lacks, a smooth curve in time: maximum distance from its start, object pixels."""
    motion: float = 0.0
    """Continuous motion along the scan: distance during the exposure of a frame, object pixels."""
    flux: float = 0.0
    """Flux that varies from frame to frame: relative standard deviation of independent factors."""
    flux_drift: float = 0.0
    """Flux that varies slowly: relative standard deviation of a smooth curve in time."""
    probe_variation: float = 0.0
    """Defocus and tilt of the probe that vary slowly: maximum of their phases at the rim of the pupil, radians."""
    probe_guess: float = 0.0
    """Relative error of the recorded zone-plate probe's defocus; its astigmatism is not recorded."""
    coherence: tuple[float, ...] = ()
    """Fraction of the power in every mode of a partially coherent beam, recorded as a single mode."""
    background: float = 0.0
    """Broad, smooth background: photons over those behind the sample."""
    point_spread: float = 0.0
    """Gaussian point spread of the detector: standard deviation, detector pixels."""
    beam_offset: tuple[float, float] = (0.0, 0.0)
    """Direct beam beside the centre of the patterns (y, x), detector pixels."""
    descan: float = 0.0
    """Direct beam that moves slowly over the scan: maximum distance from its start, detector pixels."""
    descan_linear: float = 0.0
    """Direct beam that moves with the scan position, linearly: largest distance between two frames, detector pixels."""
    ramp: tuple[float, float] = (0.0, 0.0)
    """Wedge of the sample: deflection of the beam (y, x), detector pixels."""
    saturation: float = 0.0
    """Maximum counts that a pixel can record, which the file does not state."""
    hot_pixels: int = 0
    """Number of bright pixels that are not masked."""
    cosmic_rays: int = 0
    """Number of tracks of cosmic rays, one to four pixels each, over the scan."""
    empty_frames: float = 0.0
    """Fraction of the frames without a photon."""
    repeated_frames: float = 0.0
    """Fraction of the frames that hold the counts of the frame before."""

    def listed(self) -> dict[str, SizeValue]:
        """Return the sizes of the faults that are present, by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}


BOUNDS: Mapping[str, tuple[float, float]] = {
    "positions": (0, MAX_PIXELS),
    "rotation": (-180, 180),
    "drift": (0, MAX_PIXELS),
    "motion": (0, MAX_PIXELS),
    "flux": (0, 1),
    "flux_drift": (0, 1),
    "probe_variation": (0, 20),
    "probe_guess": (-10, 10),
    "coherence": (1e-6, 1e6),
    "background": (0, 100),
    "point_spread": (0, 20),
    "beam_offset": (-MAX_PIXELS, MAX_PIXELS),
    "descan": (0, MAX_PIXELS),
    "descan_linear": (0, MAX_PIXELS),
    "ramp": (-MAX_PIXELS, MAX_PIXELS),
    "saturation": (1, math.inf),
    "hot_pixels": (0, math.inf),
    "cosmic_rays": (0, 10**6),
    "empty_frames": (0, 0.9),
    "repeated_frames": (0, 0.9),
}
"""Smallest and largest size of every fault but `affine`, which has a unit per number."""
AFFINE_BOUNDS = ((0.1, 10.0), (0.1, 10.0), (-180.0, 180.0), (-3.0, 3.0))


def parse_faults(entries: Sequence[str]) -> Faults:
    """Return the faults that a list names.

    Args:
        entries: One `NAME:SIZE` per fault; sizes of several numbers are `NAME:SIZE:SIZE`. Dashes and underscores in
            names are the same.

    Raises:
        InputError: Where a name is unknown or repeated, or a size is missing, no number or out of bounds.
    """
    hints, sizes = get_type_hints(Faults), dict[str, SizeValue]()
    for entry in entries:
        name, *words = entry.split(":")
        key = name.strip().replace("-", "_")
        if key not in hints:
            raise InputError("--faults", "", repr(entry), f"one of {', '.join(map(_spell, hints))}")
        if key in sizes:
            raise InputError("--faults", "", f"{_spell(key)} twice", "every fault once")
        sizes[key] = _parse_size(entry, key, words, hints[key])
    return Faults(**sizes)  # type: ignore[arg-type]


def list_faults(faults: FaultList) -> tuple[str, ...]:
    """Return faults as a list of `NAME:SIZE`.

    >>> list_faults({"drift": 14, "beam-offset": [3, -1.5]})
    ('drift:14', 'beam-offset:3:-1.5')
    """
    if isinstance(faults, str):
        return (faults,)
    if not isinstance(faults, Mapping):
        return tuple(faults)
    sizes = {name: size if isinstance(size, list | tuple) else (size,) for name, size in faults.items()}
    return tuple(":".join([str(name), *map(str, size)]) for name, size in sizes.items())


def format_fault(name: str, size: SizeValue) -> str:
    """Return a fault as `--faults` takes it.

    >>> format_fault("beam_offset", (3.0, 0.0))
    'beam-offset:3:0'
    """
    numbers = size if isinstance(size, tuple) else (size,)
    return ":".join([_spell(name), *(f"{number:.12g}" for number in numbers)])


def _parse_size(entry: str, name: str, words: list[str], kind: Any) -> SizeValue:
    """Return the size of a fault in the type of its field."""
    several = get_args(kind)
    expected = len(several) if several and several[-1] is not ... else None if several else 1
    numbers = _numbers(words)
    if numbers is None or (expected is not None and len(numbers) != expected) or not numbers:
        form = f"{_spell(name)}:{':'.join(['SIZE'] * (expected or 2))}"
        raise InputError("--faults", "", repr(entry), f"{form}, each a number")
    bounds = AFFINE_BOUNDS if name == "affine" else (BOUNDS[name],) * len(numbers)
    for number, (low, high) in zip(numbers, bounds, strict=True):
        if not low <= number <= high:
            limits = f"at least {low:g}" if math.isinf(high) else f"sizes from {low:g} to {high:g}"
            raise InputError("--faults", "", repr(entry), limits)
    if several:
        return tuple(numbers)
    if kind is int and not numbers[0].is_integer():
        raise InputError("--faults", "", repr(entry), "a whole number")
    return int(numbers[0]) if kind is int else numbers[0]


def _numbers(words: Sequence[str]) -> list[float] | None:
    """Return finite numbers; None where a word is none."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _spell(name: str) -> str:
    return name.replace("_", "-")
