"""Faults of experiments that the solvers have to find and correct, and the simulated scans that have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ptypinn as pp
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import draw_probe
from ptypinn.physics.optics import equivalent_diameter
from ptypinn.stages.simulate import simulate

FIRST_SEED = 7000
"""Seed of the scans: this plus the seed of the case; the pre-training draws from other streams."""
GUESS = "probe-guess:0.15"
"""Scans record a probe with 15 % wrong defocus and no astigmatism; those behind an aperture the true one."""
OVERLAP = 0.75


@dataclass(frozen=True)
class Fault:
    """One row of the comparison."""

    title: str
    """Title for tables and figures."""
    entries: tuple[str, ...] = ()
    """Faults and their sizes, as `simulate --faults` takes them."""
    limit: float = 1.5
    """Maximum error over that of the same scan without the fault."""
    size: int = 64
    """Edge of the patterns, pixels."""
    base: str = "none"
    """Row of the same scan without the fault."""
    beam: str = "zone plate"
    """Key of `BEAMS`."""
    has_probe: bool = True
    """False if the solver gets no probe."""


NEAR_DEGENERATE = 3.0
"""Limit where the counts hardly fix the fault's effect on the object. With a free probe, flux that is exponential in
the position is an amplitude `exp(a r)` of the sample, and a beam that moves in proportion to it a quadratic phase."""
TOGETHER = (
    *("positions:1", "drift:4", "affine:1.01:1.005:0.7:0.005", "flux:0.05", "probe-variation:0.3", "background:0.02"),
    *("beam-offset:1:-1", "point-spread:0.3", "hot-pixels:4", "cosmic-rays:10", "empty-frames:0.005"),
)
FAULTS: dict[str, Fault] = {
    "none": Fault("none", limit=1.0),
    "positions": Fault("positions: independent, 2 px", ("positions:2",)),
    "positions-wide": Fault("positions: independent, 6 px", ("positions:6",)),
    "affine": Fault("positions: 4 % / 2 % too wide, 3°, shear 2 %", ("affine:1.04:1.02:3:0.02",), NEAR_DEGENERATE),
    "rotation": Fault("scan turned by 20°", ("rotation:20",)),
    "drift": Fault("drift by 14 px in all", ("drift:14",), NEAR_DEGENERATE),
    "motion": Fault("motion, 5 px per frame", ("motion:5",)),
    "flux": Fault("flux: 15 %, independent", ("flux:0.15",)),
    "flux-drift": Fault("flux: 15 %, slow", ("flux-drift:0.15",), NEAR_DEGENERATE),
    "varying-probe": Fault("probe varies by 1 rad", ("probe-variation:1",), NEAR_DEGENERATE),
    "coherence": Fault("partially coherent, 70 / 20 / 10 %", ("coherence:0.7:0.2:0.1",)),
    "background": Fault("background, 10 % of the photons", ("background:0.1",), NEAR_DEGENERATE),
    "point-spread": Fault("point spread, 0.6 px", ("point-spread:0.6",)),
    "beam-offset": Fault("beam 3 px beside the centre", ("beam-offset:3:0",)),
    "wedge": Fault("wedge, 8 px", ("ramp:8:0",)),
    "descan": Fault("beam drifts by 4 px", ("descan:4",), NEAR_DEGENERATE),
    "saturation": Fault("counters saturate at 2,000", ("saturation:2000",)),
    "bright-pixels": Fault("12 hot pixels, 30 cosmic rays", ("hot-pixels:12", "cosmic-rays:30")),
    "bad-frames": Fault("2 % empty, 1 % repeated frames", ("empty-frames:0.02", "repeated-frames:0.01")),
    "together": Fault("all together, smaller", TOGETHER, 4.0),
    "no-probe": Fault("no probe in the file", limit=1.3, has_probe=False),
    "none-electron": Fault("none, electron lens", limit=1.0, base="none-electron", beam="electron lens"),
    "no-probe-electron": Fault(
        "no probe in the file, electron lens", limit=1.3, base="none-electron", beam="electron lens", has_probe=False
    ),
    "none-microscope": Fault(
        "none, electron microscope", limit=1.0, base="none-microscope", beam="electron microscope"
    ),
    "descan-linear": Fault(
        "descan by 3 px, electron microscope",
        ("descan-linear:3",),
        NEAR_DEGENERATE,
        base="none-microscope",
        beam="electron microscope",
    ),
    "none-aperture": Fault("none, aperture", limit=1.0, base="none-aperture", beam="aperture"),
    "no-probe-aperture": Fault(
        "no probe in the file, aperture", limit=1.3, base="none-aperture", beam="aperture", has_probe=False
    ),
    "none-128": Fault("none, N=128", limit=1.0, size=128, base="none-128"),
    "together-128": Fault("all together, smaller, N=128", TOGETHER, 4.0, size=128, base="none-128"),
}
"""Rows of the comparison by name."""

LENSES: tuple[dict[str, float], ...] = (
    {"pupil_radius": 0.36, "defocus_waves": 1.1, "astigmatism_waves": 0.08},
    {"pupil_radius": 0.32, "defocus_waves": 1.3, "astigmatism_waves": -0.06},
    {"pupil_radius": 0.4, "defocus_waves": 0.9, "astigmatism_waves": 0.1},
)
ELECTRON_LENSES: tuple[dict[str, Any], ...] = tuple(
    {**lens, "central_stop": 0.0, "osa_radius": 4.0, "pupil_radius": 0.5, "defocus_waves": waves}
    for lens, waves in zip(LENSES, (1.6, -1.9, 2.4), strict=True)
)
MICROSCOPE = {"particle": "electron", "energy_eV": 300e3, "detector_distance_m": 0.1}
BEAMS: dict[str, tuple[dict[str, Any], ...]] = {
    "zone plate": LENSES,
    "electron lens": ELECTRON_LENSES,
    "electron microscope": tuple({**lens, **MICROSCOPE} for lens in ELECTRON_LENSES),
    "aperture": tuple(
        {"probe": "disk", "probe_diameter_px": diameter, "curvature_rad": turn}
        for diameter, turn in ((20.0, 0.0), (26.0, 1.5), (17.0, -3.0))
    ),
}
"""Parameters of the probe by kind and seed; an electron lens has no stop and may be downstream of the sample. Scans of
the microscope are of the same lens and state that electrons were counted: their bright-field disk is looked at."""
SAMPLES: tuple[dict[str, Any], ...] = (
    {"object": "natural", "image": "chelsea"},
    {"object": "dead_leaves"},
    {"object": "natural", "image": "coins"},
)
"""Sample by seed: photographs that the pre-training excludes."""
READING = pp.LoadConfig(memory_budget_gib=16.0)
"""All counts in memory, as the file does not last."""
SEEDS = range(len(SAMPLES))
DOSES = (1e6, 1e5)


@dataclass(frozen=True)
class Case:
    """One scan of the comparison."""

    fault: str
    """Key of `FAULTS`."""
    photons: float
    """Photons per pattern through vacuum."""
    seed: int
    """Seed of sample, probe, positions, faults and noise."""
    full: bool = False
    """1,002 patterns instead of 300; a quarter of both for N=128."""

    @property
    def key(self) -> str:
        """Name in stored results."""
        return f"{self.fault} {self.photons:.0e} seed {self.seed}{' full' if self.full else ''}"

    @property
    def base(self) -> Case:
        """The same scan without the fault."""
        return Case(FAULTS[self.fault].base, self.photons, self.seed, self.full)

    def config(self) -> SimulateConfig:
        """Return the configuration of the simulation: the object is as large as the patterns need at the overlap."""
        fault = FAULTS[self.fault]
        number = round((1002 if self.full else 300) * (64 / fault.size) ** 2)
        choice = self.seed % len(SAMPLES)
        optics = {**SAMPLES[choice], **BEAMS[fault.beam][choice]}
        smallest = SimulateConfig(**optics, size=fault.size, object_size=(fault.size,) * 2)
        step = (1 - OVERLAP) * equivalent_diameter(draw_probe(smallest))
        edge = fault.size + round(step * number**0.5)
        return SimulateConfig(
            **optics,
            amplitude_range=(1.0, 0.6),
            phase_range=(0.0, 1.2),
            size=fault.size,
            object_size=(edge, edge),
            n_patterns=number,
            photons=self.photons,
            faults=(*([] if fault.beam == "aperture" else [GUESS]), *fault.entries),
            seed=FIRST_SEED + self.seed,
        )

    def simulate(self) -> ScanData:
        """Return the scan with its truth, as it is simulated."""
        return simulate(self.config())

    def read(self, simulated: ScanData) -> ScanData:
        """Return the scan as it is read from a file, without what is no measurement."""
        with TemporaryDirectory() as folder:
            return pp.load(pp.save(simulated, Path(folder) / "scan.h5"), READING)

    def measured_scan(self, scan: ScanData) -> ScanData:
        """Return the scan as the experiment leaves it: recorded values only."""
        provenance = {name: value for name, value in scan.provenance.items() if name not in ("config", "faults")}
        probe = {} if FAULTS[self.fault].has_probe else {"probe": None, "probe_gauge": "relative"}
        return scan.replace(truth=None, experiment=None, provenance=provenance, **probe)
