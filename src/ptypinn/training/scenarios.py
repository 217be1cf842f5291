"""Random scans to learn from: wide in samples, probes, overlap, dose and detector defects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import power
from ptypinn.physics.objects import NATURAL_IMAGES
from ptypinn.physics.probes import equivalent_diameter
from ptypinn.stages.simulate import draw_probe, simulate

SIZES = {48: 128, 64: 144, 96: 160}
"""Edge of the canvas for every edge of the patterns, pixels."""
SIZE_SHARES = (0.4, 0.45, 0.15)
MOST_PATTERNS = 200
"""Scans with more overlap than so many patterns allow get less: bounds the time that a scan takes."""
LEAST_OVERLAP_UNKNOWN = 0.5
"""Less overlap does not determine object and probe together."""
HELD_OUT_IMAGES = ("camera", "coins", "chelsea")
"""Photographs that are never trained on: benchmarks use them."""
IMAGES = tuple(name for name in NATURAL_IMAGES if name not in HELD_OUT_IMAGES)
KINDS = {"lines": 0.22, "dead_leaves": 0.3, "grf": 0.16, "siemens": 0.08, "natural": 0.24}
"""Samples, and how often each is drawn."""
SCALES_PX = {"lines": (0.7, 2.5), "dead_leaves": (2.0, 5.0), "grf": (3.0, 60.0), "siemens": (1.5, 4.0)}
"""Between which the sample's features are drawn, evenly in the logarithm."""
AMPLITUDE, PHASE_RAD = (0.15, 0.95), (0.1, 2.5)
"""Least amplitude of a sample, and range of its phase, either sign; some samples have phase or amplitude alone."""
PROBES = {"zone_plate": 0.5, "disk": 0.35, "gaussian": 0.15}
DIAMETER_SHARE = (0.16, 0.44)
"""Diameter of disks, and full width at half maximum of Gaussians, as a share of the patterns' edge."""
CURVATURE_RAD = 4.0
"""Largest quadratic phase of disks and Gaussians at half the diameter, either sign."""
PUPIL, STOP, DEFOCUS_WAVES, ASTIGMATISM_WAVES = (0.2, 0.45), (0.0, 0.5), (0.2, 2.0), (0.0, 0.15)
"""Of zone plates, as `SimulateConfig` names them; the defocus has either sign."""
MODES = (0.8, 0.2)
"""Shares of the modes of a probe that has more than one."""
GUESS_OFF = 0.25
"""By which share width, defocus and astigmatism of a guessed probe are off at most."""
SCANS = {"jittered_raster": 0.5, "fermat": 0.3, "raster": 0.1, "uniform": 0.1}
OVERLAP = (0.3, 0.85)
MOST_DEAD_PIXELS = 59


@dataclass(frozen=True)
class Scenario:
    """One scan to learn from."""

    config: SimulateConfig
    """The scan as it is simulated."""
    guess: SimulateConfig | None
    """The probe that the solver is given; None where it is given the true one."""

    def scan(self) -> ScanData:
        """Simulate; the probe is the guess, where there is one, at the true photons."""
        scan = simulate(self.config)
        if self.guess is None:
            return scan
        probe = draw_probe(self.guess)
        probe = probe * torch.sqrt(self.config.photons / power(probe)).float()
        return scan.replace(probe=probe.numpy(), probe_gauge="calibrated")


def draw_scenario(seed: tuple[int, ...], config: PretrainConfig) -> Scenario:
    """The scenario of a seed: a pure function of it.

    Args:
        seed: Any non-negative numbers.
        config: Dose range and share of guessed probes.
    """
    rng = np.random.default_rng(seed)
    size = int(rng.choice(list(SIZES), p=SIZE_SHARES))
    sample, probe = _sample(rng), _probe(rng, size)
    drawn = SimulateConfig(
        **sample,
        **probe,
        size=size,
        object_size=(SIZES[size], SIZES[size]),
        photons=float(10 ** rng.uniform(*config.photons_log10)),
        scan=_choice(rng, SCANS),
        overlap=float(rng.uniform(*OVERLAP)),
        integer_positions=bool(rng.random() < 0.7),
        dead_pixels=int(rng.integers(1, MOST_DEAD_PIXELS + 1)) if rng.random() < 0.2 else 0,
        mode_fractions=MODES if rng.random() < 0.1 else (1.0,),
        seed=int(rng.integers(2**31)),
    )
    guess = _guess(rng, drawn) if rng.random() < config.unknown_share else None
    if guess is not None:
        drawn = replace(drawn, overlap=float(rng.uniform(LEAST_OVERLAP_UNKNOWN, OVERLAP[1])))
    drawn = replace(drawn, phase_image=str(rng.choice(IMAGES)))
    return Scenario(replace(drawn, overlap=_affordable(drawn)), guess)


def _choice(rng: Generator, shares: dict[str, float]) -> Any:
    return str(rng.choice(list(shares), p=list(shares.values())))


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
    return {
        "probe": kind,
        "probe_diameter_px": float(rng.uniform(*DIAMETER_SHARE) * size),
        "curvature_rad": 0.0 if kind == "zone_plate" else float(rng.uniform(-CURVATURE_RAD, CURVATURE_RAD)),
        "pupil_radius": float(rng.uniform(*PUPIL)),
        "central_stop": float(rng.uniform(*STOP)),
        "defocus_waves": float(rng.uniform(*DEFOCUS_WAVES) * rng.choice([-1, 1])),
        "astigmatism_waves": float(rng.uniform(*ASTIGMATISM_WAVES)),
    }


def _guess(rng: Generator, drawn: SimulateConfig) -> SimulateConfig:
    """The same kind of probe with width, defocus and astigmatism off by up to a quarter."""
    off = rng.uniform(1 - GUESS_OFF, 1 + GUESS_OFF, 3)
    return replace(
        drawn,
        probe_diameter_px=min(drawn.probe_diameter_px * off[0], 0.5 * drawn.size),
        curvature_rad=drawn.curvature_rad * off[1],
        pupil_radius=float(np.clip(drawn.pupil_radius / off[0], 0.1, 0.6)),
        defocus_waves=drawn.defocus_waves * off[1],
        astigmatism_waves=drawn.astigmatism_waves * off[2],
        mode_fractions=drawn.mode_fractions if rng.random() < 0.5 else (1.0,),
    )


def _affordable(drawn: SimulateConfig) -> float:
    """The overlap, lowered to where the scan has at most `MOST_PATTERNS`."""
    assert drawn.overlap is not None
    room = drawn.room_px[0]
    finest = room / (MOST_PATTERNS**0.5 - 1)
    return min(drawn.overlap, max(0.0, 1 - finest / equivalent_diameter(draw_probe(drawn))))
