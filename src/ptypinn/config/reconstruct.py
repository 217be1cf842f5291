"""Configurations of reconstruction: by the unrolled solver, or by a patch network of `train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ptypinn.config.probe import ProbeStartConfig
from ptypinn.config.shared import (
    MAX_TILT_MRAD,
    BatchConfig,
    DeviceConfig,
    GroupingConfig,
    LossConfig,
    PrecisionConfig,
    PredictionScaleConfig,
    ProbeConfig,
    SeedConfig,
    ThreadsConfig,
    TilingConfig,
    require,
    require_min,
)
from ptypinn.errors import InputError

CHEAP_TERMS = ("flux", "background")
"""Terms of the experiment that are looked for after any number of rounds."""


@dataclass(frozen=True)
class ReconstructConfig(
    TilingConfig,
    SeedConfig,
    ThreadsConfig,
    DeviceConfig,
    BatchConfig,
    PredictionScaleConfig,
    PrecisionConfig,
    LossConfig,
    ProbeConfig,
    ProbeStartConfig,
):
    """Options of the unrolled solver.

    >>> ReconstructConfig(rounds=8, refine_probe=False).rounds
    8
    >>> ReconstructConfig(probe_rounds=12, refine_probe=False)
    Traceback (most recent call last):
        ...
    ptypinn.errors.InputError: --probe-rounds: found 12, expected --refine-probe as well, which reads it
    """

    rounds: int | None = None
    """Rounds that solve for the object, each two passes over the data and one correction by the network; by default 6
    to 20, more for higher dose, and twice as many with several modes or a point spread. With more than the default, one
    pixel in fifty is held out to select the best round."""
    probe_rounds: int | None = None
    """Rounds that solve for the probe before those for the object, with --refine-probe. By default 36,
    fewer where they stagnate far above counting noise and terms of the experiment are looked for next."""
    polish: int | None = None
    """Maximum number of iterations of the iterative solver after the rounds; it stops before noise is fitted. By
    default 45 where terms of the experiment were taken in, else none."""
    refine_positions: bool = False
    """Solve for the scan positions too, while polishing."""
    assume: Literal["measured", "ideal"] = "measured"
    """Assumption about the experiment: terms beside the ideal one are taken in where the counts demand them, or the
    experiment is taken to be ideal whatever they say."""
    flux: Literal["auto", "solve", "constant"] = "auto"
    """Flux of the frames: solved for where the counts demand it, always, or the same in all."""
    background: Literal["auto", "solve", "none"] = "auto"
    """Background of the frames, beside a measured one of --dark: solved for where the counts demand it, always, or
    never."""
    positions: Literal["auto", "solve", "recorded"] = "auto"
    """Scan positions: solved for where the counts demand it after the default numbers of rounds, always, or as
    recorded."""
    beam: Literal["auto", "solve", "still"] = "auto"
    """Beam on the detector: its slow motion over the scan is solved for where the counts demand it after the default
    numbers of rounds, always, or never."""
    point_spread: Literal["auto", "solve", "none"] = "auto"
    """Point spread of the detector: searched for where the counts demand it after the default numbers of rounds,
    always, or none."""
    probe_variation: Literal["auto", "solve", "none"] = "auto"
    """Slow changes of the probe over the scan: solved for where the counts demand it after the default numbers of
    rounds, always, or never."""
    slices: int | Literal["auto"] = 1
    """Slices of the sample along the beam: 1 for a thin one, the number of those of a thick one, or auto for as many as
    held-out pixels show."""
    slice_spacing_m: float | tuple[float, ...] | list[float] | None = None
    """Distance between the slices of a thick sample, metres, or one for every gap in the order of the beam; searched
    for where it is not given."""
    slice_transmission: Literal["auto", "complex", "phase"] = "auto"
    """Transmission of the slices of a thick sample: complex, or of phase alone, as that of atoms for electrons is; auto
    for phase in electron scans, complex in others."""
    depth_variation: float | Literal["auto"] = "auto"
    """Standard deviation of changes along depth over that of the phases, which slices of phase alone are expected to
    have: 0 for equal slices; auto for what held-out pixels show."""
    sample_tilt_mrad: tuple[float, float] | list[float] | Literal["auto"] = "auto"
    """Tilt (y, x) of a thick sample, milliradians: direction against the beam of the axis along which its slices follow
    each other, as that of columns of atoms; auto for what the counts show with slices of phase alone, and none with
    complex ones."""
    precision: Literal["32", "bf16", "16"] = "32"
    """Arithmetic of the network: float32, or bfloat16, which is faster where the processor has it and changes errors by
    about a percent at 1e8 photons per pattern, less below. The physics is in float32 in any case."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "rounds", "probe_rounds")
        require_min(self, 0, "polish")
        require(self, "precision", self.precision != "16", "32 or bf16")
        self._check_slices()
        if self.refine_positions and not self.polish:
            raise InputError("--refine-positions", "", "without --polish", "polishing, which solves for positions")
        if self.prediction_scale == "recorded":
            expected = "none, flux or least_squares: only a model of `train` records a scale"
            raise InputError("--prediction-scale", "", "recorded", expected)

    @property
    def spacings_m(self) -> tuple[float, ...] | None:
        """Distances between slices: one for all gaps, or one each; None where they are to be found."""
        spacing = self.slice_spacing_m
        if spacing is None:
            return None
        return (float(spacing),) if isinstance(spacing, int | float) else tuple(float(value) for value in spacing)

    def _check_slices(self) -> None:
        require(self, "slices", self.slices == "auto" or self.slices >= 1, "auto, or at least 1")
        changes = self.depth_variation
        require(self, "depth_variation", changes == "auto" or 0 <= changes < float("inf"), "auto, or at least 0")
        tilt, limits = self.sample_tilt_mrad, f"auto, or two numbers within {MAX_TILT_MRAD:g}"
        is_pair = len(tilt) == 2 and all(isinstance(value, int | float) for value in tilt)
        is_small = is_pair and all(abs(float(value)) <= MAX_TILT_MRAD for value in tilt)
        require(self, "sample_tilt_mrad", tilt == "auto" or is_small, limits)
        spacing = self.spacings_m
        if spacing is None:
            return
        gaps = 1 if self.slices == "auto" else self.slices - 1
        positive = bool(spacing) and all(0 < value < float("inf") for value in spacing)
        require(self, "slice_spacing_m", positive, "positive numbers")
        require(self, "slice_spacing_m", len(spacing) in (1, gaps), f"one number, or one for each of {gaps} gaps")

    def solved_terms(self) -> tuple[str, ...]:
        """Return the names of the terms of the experiment that may be solved for."""
        names = "beam", "flux", "background", "positions", "point_spread"
        choices = {name: getattr(self, name) for name in names}
        if self.refine_probe:
            choices["probe_variation"] = self.probe_variation
            if self.probe_modes is None:
                choices["modes"] = "auto"
        asked = {"solve"} if self.assume == "ideal" else {"solve", "auto"}
        if self.rounds or self.probe_rounds:  # what few rounds leave unexplained is no evidence
            choices = {name: choice for name, choice in choices.items() if choice != "auto" or name in CHEAP_TERMS}
        return tuple(name for name, choice in choices.items() if choice in asked)

    def forced_terms(self) -> tuple[str, ...]:
        """Return the names of those that are solved for whatever the counts demand."""
        return replace(self, assume="ideal").solved_terms()

    def unread(self) -> Mapping[str, str]:
        """Return the fields that nothing reads with a fixed probe."""
        names = () if self.refine_probe else ("probe_rounds", "probe_modes", "probe_variation")
        probe = dict.fromkeys(names, "--refine-probe")
        thick = ("slice_spacing_m", "slice_transmission", "depth_variation", "sample_tilt_mrad")
        thin = dict.fromkeys(thick, "--slices") if self.slices == 1 else {}
        if self.slice_transmission == "complex":
            thin["depth_variation"] = "--slice-transmission phase"
        return {**super().unread(), **probe, **thin}


@dataclass(frozen=True)
class PatchNetworkConfig(SeedConfig, ThreadsConfig, DeviceConfig, BatchConfig, PredictionScaleConfig, GroupingConfig):
    """Options of applying a patch network, a model of `train`, to a scan."""

    subset: Literal["all", "train", "held_out"] = "all"
    """Patterns to reconstruct: all, or one of the two parts that the training split the scan into."""
    probe_source: Literal["auto", "scan", "model"] = "auto"
    """Probe to reconstruct with: the scan's, or the model's; auto takes the scan's, in the shape that the model has
    learned if it has learned one."""
    groups_per_pattern: int = 1
    """Groups that every pattern leads, for gridsize above 1: more of them average more estimates of each patch."""
    seed: int = 0
    """Seed of the groups."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "groups_per_pattern")
