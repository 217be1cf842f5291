"""Solves of the patterns around the middle of a scan, with one term of the experiment or another.

They take a fraction of the time of the whole scan, and tell terms apart that explain much of each other's misfit, where
the counts of these patterns suffice. Object and probe imitate most of what is not part of a prediction, so that every
term is solved for anew.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex64

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import measure_misfit, sum_deviance
from ptypinn.solvers.joint_solve import align_probe
from ptypinn.solvers.position_geometry import select_middle

if TYPE_CHECKING:
    from ptypinn.solvers.term import Solver

MIN_SIGNIFICANCE = 4.0
"""Gain of log-likelihood over its standard error from which a term is not due to chance."""
CORE_PATTERNS, ITERATIONS = 64, 40
"""Patterns around the middle that are solved, and iterations for their object and probe."""
WIDE_PIXELS = 320 * 64**2
"""Pixels of all patterns of trials on more of the scan, where the counts of the middle do not suffice."""
HELD_OUT_PERIOD = 16
"""One pixel in this many is held out of the iterations."""
CORE_MODES = 3
"""Incoherent modes that are tried."""
MIN_CORE_MISFIT, MAX_FAINT_MISFIT = 1.1, 2.0
"""Amplitude residual over that of counting noise from which they tell terms apart, and up to which iterations may have
ended in noise: what is wrong with the model beyond that is fitted at the expense of held-out pixels too."""
MIN_MODES_GAIN = 0.6
"""Fraction of the misfit above counting noise that modes explain: 0.64 or more with several modes, motion, a point
spread or a background, up to 0.54 with other terms."""

Modes = Complex64[np.ndarray, "_ y x"]
"""Modes of a probe, of any number."""


class CoreFit(NamedTuple):
    """Agreement of a solve with the counts."""

    misfit: float
    """Amplitude residual over that of counting noise."""
    deviance: float
    """Half the Poisson deviance, summed: the log-likelihood that is missing to a perfect fit."""
    held_out: float = 0.0
    """Least loss of the held-out pixels over the iterations: the same of these."""


class CoreGain(NamedTuple):
    """What a term explains of the misfit of a solve without it."""

    fraction: float
    """Of the misfit above counting noise."""
    deviance: float
    """Fall of half the Poisson deviance."""
    held_out: float = 0.0
    """Gain of log-likelihood on pixels that no iteration has fitted."""

    @property
    def is_significant(self) -> bool:
        """True if chance does not explain the gain on held-out pixels.

        A ratio of likelihoods whose expected logarithm is small has a variance of twice as much.
        """
        return self.held_out >= 2 * MIN_SIGNIFICANCE**2

    @classmethod
    def between(cls, before: CoreFit, after: CoreFit) -> CoreGain:
        """Return the gain from one solve to another.

        >>> CoreGain.between(CoreFit(2.0, 50.0), CoreFit(1.25, 20.0))
        CoreGain(fraction=0.75, deviance=30.0, held_out=0.0)
        """
        fraction = (before.misfit - after.misfit) / max(before.misfit - 1, 1e-9)
        return cls(fraction, before.deviance - after.deviance, before.held_out - after.held_out)


class CoreTrials:
    """Solves of the patterns around the middle of a scan; each is done once, when it is asked for.

    Args:
        scan: Scan with a calibrated probe, and the terms that are given.
        solver: Solver of scans.
        probe: Probe of the whole scan without further modes, (mode, y, x), sqrt(photons); None for that of the scan.
        patterns: Number of patterns that are solved.
    """

    def __init__(
        self, scan: ScanData, solver: Solver, probe: Modes | None = None, patterns: int = CORE_PATTERNS
    ) -> None:
        self._probe = scan.require_probe() if probe is None else probe
        self._core = scan.subset(select_middle(scan.positions_px, patterns)).replace(truth=None)
        self._solver, self._spreads = solver, dict[float, CoreFit]()

    @property
    def is_conclusive(self) -> bool:
        """True if these patterns show that something is unexplained."""
        return self.plain.misfit >= MIN_CORE_MISFIT

    @cached_property
    def reaches_noise(self) -> bool:
        """True if the iterations without a further term end in noise, so that held-out pixels tell terms apart.

        Where counts are plenty, they end before: terms that speed them up gain on these pixels as well.
        """
        losses = self._plain.history.get("held_out_loss", [0.0])
        return self.plain.misfit < MAX_FAINT_MISFIT and losses[-1] - min(losses) >= MIN_SIGNIFICANCE

    def weigh(self, gain: CoreGain) -> float:
        """Return the gain of log-likelihood that terms are compared by: on held-out pixels where these tell them apart.

        Where counts are plenty, on all pixels: the noise that terms fit is little of it.

        Args:
            gain: What a term explains.
        """
        return gain.held_out if self.reaches_noise else gain.deviance

    @cached_property
    def plain(self) -> CoreFit:
        """Fit without a further term."""
        return self._fit(self._plain)

    @cached_property
    def _plain(self) -> Reconstruction:
        return self._solve(self._core)

    @cached_property
    def modes(self) -> CoreGain:
        """What further incoherent modes explain."""
        return CoreGain.between(self.plain, self._fit(self._modes))

    @property
    def has_modes(self) -> bool:
        """True if modes explain as much as where there are several, motion, or what they imitate well."""
        return self.is_conclusive and self.modes.fraction >= MIN_MODES_GAIN

    @cached_property
    def background(self) -> CoreGain:
        """Gain by a background, from iterations for object and probe."""
        return CoreGain.between(self.plain, self._iterate(self._core, background=True))

    @cached_property
    def variation(self) -> CoreGain:
        """Gain by a probe that varies over the patterns."""
        from ptypinn.solvers.probe_variation import with_variation

        return CoreGain.between(self.plain, self._iterate(with_variation(self._core, len(self._core.require_probe()))))

    @cached_property
    def settled_background(self) -> CoreGain:
        """The same by rounds, which settle between a background and what the object imitates of it."""
        before, after = (self._solver.solve(self._core, unknown) for unknown in ("", "background"))
        return CoreGain.between(self._fit(before), self._fit(after))

    @cached_property
    def settled_modes(self) -> CoreGain:
        """Gain by modes after twice the iterations: they gain their power slowly."""
        return CoreGain.between(self.plain, self._fit(self._settled_modes))

    @cached_property
    def mode_probe(self) -> Modes:
        """Modes of the probe of the whole scan, to start with, found for little time."""
        still = self._core.replace(probe=self._settled_modes.probe, probe_variation=None, probe_weights=None)
        return align_probe(still, self._probe).require_probe()

    def spread(self, spread_px: float) -> CoreGain:
        """Return what a point spread explains.

        Args:
            spread_px: Its standard deviation, detector pixels.
        """
        if spread_px not in self._spreads:
            self._spreads[spread_px] = self._iterate(self._core.replace(point_spread_px=float(spread_px)))
        return CoreGain.between(self.plain, self._spreads[spread_px])

    @cached_property
    def _modes(self) -> Reconstruction:
        return self._solve(self._core, CORE_MODES)

    @cached_property
    def _settled_modes(self) -> Reconstruction:
        first = self._modes
        core = self._core.replace(probe=first.probe, probe_variation=first.probe_variation)
        return self._solve(core, CORE_MODES, start=first)

    def _iterate(self, core: ScanData, *, background: bool = False) -> CoreFit:
        return self._fit(self._solve(core, background=background))

    def _solve(
        self,
        core: ScanData,
        modes: int | None = None,
        *,
        background: bool = False,
        start: Reconstruction | None = None,
    ) -> Reconstruction:
        from ptypinn.solvers.quasi_newton.phases import solve_problem
        from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
        from ptypinn.utils.progress import rename_stage

        refine, progress = self._solver.refines_probe, rename_stage(self._solver.progress, "middle of the scan")
        options = QuasiNewtonOptions(ITERATIONS, modes, refine_probe=refine, solve_background=background)
        with torch.no_grad():
            problem = QuasiNewtonProblem(core, options, self._solver.device, start, held_out_period=HELD_OUT_PERIOD)
            return solve_problem(problem, progress).reconstruction(core, {})

    def _fit(self, recon: Reconstruction) -> CoreFit:
        part, batch, device = recon.scan_part(self._core), self._solver.batch, self._solver.device
        arrays = recon.sample, recon.probe, recon.positions_px
        misfit = measure_misfit(part, recon, batch=batch, device=device)
        held_out = min(recon.history.get("held_out_loss", [0.0]))
        return CoreFit(misfit, sum_deviance(part, *arrays, batch=batch, device=device), held_out)
