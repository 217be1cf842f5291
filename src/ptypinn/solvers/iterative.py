"""Quasi-Newton solves of scans that the network was not trained for: near fields, and thick samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.shared import option_name, show_value
from ptypinn.data.depth import flat_stack
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.solvers.probe_variation import with_variation
from ptypinn.solvers.quasi_newton.phases import solve_problem
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem, QuasiNewtonResult
from ptypinn.utils.progress import Progress, map_callback

MODES = 3
"""Modes of the probe where further ones are solved for."""
DRAFT_ITERATIONS = 40
"""Iterations of a solve from the start of a scan."""
MAX_NOISE_MISFIT = 1.5
"""Misfit up to which iterations expect the spectrum of the object that the counts show: above, it is not counting noise
that is to be kept out."""
TOLERANCE = 3e-5
"""Gain of the loss over five iterations below which a solve has converged."""

ToReconstruction = Callable[[ScanData, QuasiNewtonResult], Reconstruction]


@dataclass(frozen=True)
class IterativeSolver:
    """The quasi-Newton solver with the options of one call of `reconstruct`."""

    config: ReconstructConfig
    device: torch.device
    progress: Progress
    watch: SnapshotCallback | None
    to_reconstruction: ToReconstruction
    """Makes a reconstruction of a scan of the result of a solve."""
    depth_precision: float | None = None
    """Slices are of phase alone, with this precision of their changes along depth; None for complex ones."""

    @property
    def batch(self) -> int:
        """Patterns in memory at once."""
        return self.config.batch_size

    @property
    def refines_probe(self) -> bool:
        """True if the probe is solved for as well."""
        return self.config.refine_probe

    def iterate(
        self,
        scan: ScanData,
        iterations: int,
        initial: Reconstruction | None = None,
        *,
        unknowns: Collection[str] = (),
        hold_probe: bool = False,
        prior: bool = False,
        held_out_period: int | None = None,
    ) -> Reconstruction:
        """Solve a scan from its start, or from a reconstruction.

        Args:
            scan: The scan, with a calibrated probe and its terms.
            iterations: Maximum number of iterations.
            initial: Reconstruction to start from.
            unknowns: Names of terms of the experiment to solve for too.
            hold_probe: Take the probe as it is.
            prior: Expect the spectrum of the object that the counts show.
            held_out_period: One pixel in this many is held out; none where None.
        """
        options = replace(self._options(unknowns, hold_probe), iterations=iterations, prior=prior)
        if "probe_variation" in unknowns and scan.probe_variation is None:
            scan = with_variation(scan, options.probe_modes or len(scan.require_probe()))
        finish = partial(self.to_reconstruction, scan)
        with torch.no_grad():
            problem = QuasiNewtonProblem(scan, options, self.device, initial, held_out_period=held_out_period)
            return finish(solve_problem(problem, self.progress, map_callback(self.watch, finish)))

    def solve(
        self, scan: ScanData, unknown: str = "", *, hold_probe: bool = False, is_draft: bool = False
    ) -> Reconstruction:
        """Solve a scan from its start, as `term.Solver` has it."""
        initial = None if scan.gap_fresnel_numbers is None else flat_stack(scan)
        unknowns = (unknown,) if unknown else ()
        return self.iterate(scan, DRAFT_ITERATIONS, initial, unknowns=unknowns, hold_probe=hold_probe)

    def _options(self, unknowns: Collection[str], hold_probe: bool) -> QuasiNewtonOptions:
        """Return the options of a solve, without its length."""
        return QuasiNewtonOptions(
            iterations=0,
            probe_modes=MODES if "modes" in unknowns else self.config.probe_modes,
            refine_probe=self.config.refine_probe and not hold_probe,
            refine_positions="positions" in unknowns,
            solve_flux="flux" in unknowns,
            solve_background="background" in unknowns,
            solve_beam="beam" in unknowns,
            loss=self.config.loss,
            tolerance=TOLERANCE,
            depth_precision=self.depth_precision,
        )

    def measure_misfit(self, scan: ScanData, recon: Reconstruction) -> float:
        """Return the amplitude residual over the one that counting noise explains."""
        arrays = recon.sample, recon.probe, recon.positions_px
        return compute_data_fit(recon.scan_part(scan), *arrays, batch=self.config.batch_size, device=self.device).misfit


def refuse_options(config: ReconstructConfig, names: Sequence[str], terms: Sequence[str], expected: str) -> None:
    """Raise `InputError` for options that nothing reads.

    Args:
        config: The options.
        names: Names of those that must have their defaults.
        terms: Names of terms of the experiment that must not be asked for.
        expected: Description of what reads them.
    """
    values = {name: getattr(config, name) for name in names}
    values |= {name: value for name in terms if (value := getattr(config, name)) == "solve"}
    for name, value in values.items():
        if value:
            raise InputError(option_name(name), "", show_value(value), expected)
