"""Random scans for the pre-training: many samples, probes, overlaps, doses and detector defects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.simulate import PROBE_FIELDS, SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import draw_probe, simulate_scan
from ptypinn.physics.objects import NATURAL_IMAGES
from ptypinn.physics.optics import equivalent_diameter, probe_photons

SIZES = {48: 128, 64: 144, 96: 160}
"""Edge of the canvas for every edge of the patterns, pixels."""
SIZE_FRACTIONS = (0.4, 0.45, 0.15)
MAX_PATTERNS = 200
"""The overlap is lowered to at most so many patterns, which bounds the time per scan."""
MIN_OVERLAP_GUESSED = 0.5
"""Minimum overlap that determines object and probe together."""
HELD_OUT_IMAGES = ("camera", "coins", "chelsea")
"""Photographs that are never trained on: benchmarks use them."""
IMAGES = tuple(name for name in NATURAL_IMAGES if name not in HELD_OUT_IMAGES)
KINDS = {"lines": 0.22, "dead_leaves": 0.3, "grf": 0.16, "siemens": 0.08, "natural": 0.24}
"""Samples, with the fraction of each."""
SCALES_PX = {"lines": (0.7, 2.5), "dead_leaves": (2.0, 5.0), "grf": (3.0, 60.0), "siemens": (1.5, 4.0)}
"""Range of the sample's features, drawn evenly in the logarithm."""
AMPLITUDE, PHASE_RAD = (0.15, 0.95), (0.1, 2.5)
"""Ranges of a sample's minimum amplitude and of its phase, either sign; some samples have one of the two alone."""
PROBES = {"zone_plate": 0.5, "disk": 0.35, "gaussian": 0.15}
DIAMETER_FRACTION = (0.16, 0.44)
"""Diameter of disks, and full width at half maximum of Gaussians, as a fraction of the patterns' edge."""
CURVATURE_RAD = 4.0
"""Maximum quadratic phase of disks and Gaussians at half the diameter, either sign."""
PUPIL, STOP, DEFOCUS_WAVES, ASTIGMATISM_WAVES = (0.2, 0.45), (0.0, 0.5), (0.2, 2.0), (0.0, 0.15)
"""Parameters of zone plates, as in `SimulateConfig`; the defocus has either sign."""
MODE_FRACTIONS = (0.8, 0.2)
"""Fractions of the modes of a probe that has more than one."""
MAX_GUESS_ERROR = 0.25
"""Maximum relative error of width, defocus and astigmatism of a guessed probe."""
SCANS = {"jittered_raster": 0.5, "fermat": 0.3, "raster": 0.1, "uniform": 0.1}
OVERLAPS = (0.3, 0.85)
MAX_DEAD_PIXELS = 59


@dataclass(frozen=True)
class RandomScan:
    """One scan of the pre-training."""

    config: SimulateConfig
    """The scan as it is simulated."""
    guess: SimulateConfig | None
    """The guessed probe of the solver; None where it gets the true one."""

    def scan(self) -> ScanData:
        """Simulate the scan; its probe is the guess, where there is one, with the true photons."""
        scan = simulate_scan(self.config)
        if self.guess is None:
            return scan
        probe = draw_probe(self.guess)
        probe = probe * torch.sqrt(self.config.photons / probe_photons(probe)).float()
        return scan.replace(probe=probe.numpy(), probe_gauge="calibrated")


def draw_random_scan(seed: tuple[int, ...], config: PretrainConfig) -> RandomScan:
    """Draw the scan of a seed: a pure function of it.

    Args:
        seed: Non-negative numbers.
        config: Dose range and fraction of guessed probes.
    """
    rng = np.random.default_rng(seed)
    size = int(rng.choice(list(SIZES), p=SIZE_FRACTIONS))
    sample, probe = _sample(rng), _probe(rng, size)
    drawn = SimulateConfig(
        **sample,
        **probe,
        size=size,
        object_size=(SIZES[size], SIZES[size]),
        photons=float(10 ** rng.uniform(*config.photons_log10)),
        scan=_choice(rng, SCANS),
        overlap=float(rng.uniform(*OVERLAPS)),
        integer_positions=bool(rng.random() < 0.7),
        dead_pixels=int(rng.integers(1, MAX_DEAD_PIXELS + 1)) if rng.random() < 0.2 else 0,
        mode_fractions=MODE_FRACTIONS if rng.random() < 0.1 else (1.0,),
        seed=int(rng.integers(2**31)),
    )
    guess = _guess(rng, drawn) if rng.random() < config.guessed_probe_fraction else None
    if guess is not None:
        drawn = replace(drawn, overlap=float(rng.uniform(MIN_OVERLAP_GUESSED, OVERLAPS[1])))
    photograph = str(rng.choice(IMAGES))
    if "phase_image" not in drawn.unread():
        drawn = replace(drawn, phase_image=photograph)
    return RandomScan(replace(drawn, overlap=_affordable(drawn)), guess)


def _choice(rng: Generator, fractions: dict[str, float]) -> Any:
    return str(rng.choice(list(fractions), p=list(fractions.values())))


def _sample(rng: Generator) -> dict[str, Any]:
    kind = _choice(rng, KINDS)
    amplitude, phase = rng.uniform(*AMPLITUDE), rng.uniform(*PHASE_RAD) * rng.choice([-1, 1])
    sort = rng.random()
    return {
        "object": kind,
        "image": str(rng.choice(IMAGES)) if kind == "natural" else "random",
        "feature_px": float(np.exp(rng.uniform(*np.log(SCALES_PX[kind])))) if kind in SCALES_PX else None,
        "amplitude_range": (1.0, 1.0 if sort < 0.15 else float(amplitude)),
        "phase_range": (0.0, 0.0 if sort > 0.9 else float(phase)),
        "phase_texture": "same" if rng.random() < 0.6 else "independent",
    }


def _probe(rng: Generator, size: int) -> dict[str, Any]:
    kind = _choice(rng, PROBES)
    values: dict[str, Any] = {
        "probe_diameter_px": float(rng.uniform(*DIAMETER_FRACTION) * size),
        "curvature_rad": 0.0 if kind == "zone_plate" else float(rng.uniform(-CURVATURE_RAD, CURVATURE_RAD)),
        "pupil_radius": float(rng.uniform(*PUPIL)),
        "central_stop": float(rng.uniform(*STOP)),
        "defocus_waves": float(rng.uniform(*DEFOCUS_WAVES) * rng.choice([-1, 1])),
        "astigmatism_waves": float(rng.uniform(*ASTIGMATISM_WAVES)),
    }
    return {"probe": kind, **_read_by(kind, values)}


def _read_by(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a kind of probe reads; all are drawn, so that later draws do not depend on the kind."""
    return {name: value for name, value in values.items() if name in PROBE_FIELDS[kind]}


def _guess(rng: Generator, drawn: SimulateConfig) -> SimulateConfig:
    """Return the same kind of probe with errors of width, defocus and astigmatism of up to a quarter."""
    off = rng.uniform(1 - MAX_GUESS_ERROR, 1 + MAX_GUESS_ERROR, 3)
    values = {
        "probe_diameter_px": min(drawn.probe_diameter_px * off[0], 0.5 * drawn.size),
        "curvature_rad": drawn.curvature_rad * off[1],
        "pupil_radius": float(np.clip(drawn.pupil_radius / off[0], 0.1, 0.6)),
        "defocus_waves": drawn.defocus_waves * off[1],
        "astigmatism_waves": drawn.astigmatism_waves * off[2],
    }
    modes = drawn.mode_fractions if rng.random() < 0.5 else (1.0,)
    return replace(drawn, **_read_by(drawn.probe, values), mode_fractions=modes)


def _affordable(drawn: SimulateConfig) -> float:
    """Return the overlap, lowered to where the scan has at most `MAX_PATTERNS`."""
    assert drawn.overlap is not None
    room = drawn.room_px[0]
    finest = room / (MAX_PATTERNS**0.5 - 1)
    return min(drawn.overlap, max(0.0, 1 - finest / equivalent_diameter(draw_probe(drawn))))
