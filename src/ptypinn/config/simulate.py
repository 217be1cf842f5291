"""Configuration of simulated scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class SimulateConfig:
    """Which sample is scanned, with which probe, how, and by which detector."""

    object: Literal["lines", "dead_leaves", "grf", "siemens", "natural"] = "lines"
    """Kind of sample: random lines, dead leaves, Gaussian random field, Siemens star, or a photograph."""
    object_size: tuple[int, int] = (256, 256)
    """Height and width of the object, pixels."""
    feature_px: float | None = None
    """Scale of the sample's features, pixels: rms line width, smallest leaf, correlation length, finest spoke."""
    image: str = "random"
    """Photograph for `--object natural`, such as camera or coins; random chooses one by the seed."""
    phase_image: str = "random"
    """Photograph that the phase follows, for `--object natural --phase_texture independent`."""
    amplitude_range: tuple[float, float] = (1.0, 0.7)
    """Amplitude where the texture is 0 and where it is 1; the first may be the larger."""
    phase_range: tuple[float, float] = (0.0, 1.0)
    """Phase where the texture is 0 and where it is 1, radians; 0 and 0 for an amplitude-only sample."""
    amplitude_mean: float | None = None
    """Rescale the amplitude to this mean, which may exceed 1."""
    phase_texture: Literal["same", "independent"] = "same"
    """True if the phase follows the texture of the amplitude or one of its own."""
    probe: Literal["zone_plate", "disk", "gaussian", "file"] = "zone_plate"
    """Kind of probe."""
    size: int = 64
    """Edge N of patterns and probe, pixels."""
    photons: float = 1e6
    """Photons per pattern through vacuum: the power of the probe over all modes."""
    mode_fractions: tuple[float, ...] = (1.0,)
    """Share of the power in every incoherent probe mode."""
    probe_diameter_px: float = 20.0
    """Diameter of the disk, or full width at half maximum of the Gaussian, pixels."""
    curvature_rad: float = 0.0
    """Disk and Gaussian: quadratic phase at half the diameter, radians; a probe out of focus."""
    pupil_radius: float = 0.35
    """Zone plate: radius of its cone on the detector, as a fraction of the detector's half-width."""
    central_stop: float = 0.4
    """Zone plate: diameter of the central stop over that of the zone plate."""
    defocus_waves: float = 1.0
    """Zone plate: defocus at the rim of the pupil, waves."""
    astigmatism_waves: float = 0.05
    """Zone plate: astigmatism at the rim of the pupil, waves."""
    osa_radius: float = 1.25
    """Zone plate: radius of the order-sorting aperture over that of the cone in its plane; below 1 it cuts the cone."""
    probe_file: str = ""
    """File with the probe, for `--probe file`: .npy, .npz, a scan or a reconstruction."""
    scan: Literal["raster", "jittered_raster", "fermat", "uniform"] = "jittered_raster"
    """Pattern of positions."""
    overlap: float | None = None
    """Linear overlap of neighbouring positions, relative to the probe's equivalent diameter; 0.65 by default."""
    step_px: float | None = None
    """Distance of neighbouring positions (square root of the area per position), pixels, instead of an overlap."""
    n_patterns: int | None = None
    """Number of patterns, instead of an overlap or a step."""
    jitter_px: float | None = None
    """Random displacement of every position, up to so many pixels; 0.3 steps for a jittered raster, otherwise 0."""
    position_error_px: float = 0.0
    """Standard deviation of the unknown error of the recorded positions, pixels."""
    integer_positions: bool = False
    """Round the positions to whole pixels."""
    buffer_px: int = 0
    """Margin between the probe array and the edge of the object, pixels."""
    dead_pixels: int = 0
    """Number of detector pixels that read zero and are masked."""
    saturation: float | None = None
    """Most counts that a pixel can record."""
    energy_eV: float = 8800.0
    """Photon energy, electron volts."""
    detector_distance_m: float = 1.0
    """Sample to detector, metres."""
    detector_pixel_m: float = 75e-6
    """Detector pixel, metres."""
    seed: int = 0
    """Seed of everything random."""
    object_seed: int | None = None
    """Seed of the sample, where it is to differ from `--seed`."""
    noise_seed: int | None = None
    """Seed of the shot noise, where it is to differ from `--seed`."""

    def __post_init__(self) -> None:
        self._check_object()
        self._check_probe()
        self._check_scan()
        self._check_detector()

    def _check_object(self) -> None:
        if min(self.object_size) < self.size:
            raise InputError("--object_size", "", str(self.object_size), f"at least --size ({self.size}) both ways")
        if min(self.amplitude_range) < 0:
            raise InputError("--amplitude_range", "", str(self.amplitude_range), "amplitudes of at least 0")
        if self.amplitude_mean is not None and (self.amplitude_mean <= 0 or max(self.amplitude_range) == 0):
            raise InputError("--amplitude_mean", "", str(self.amplitude_mean), "more than 0, of an amplitude above 0")
        if self.feature_px is not None and (self.feature_px <= 0 or self.object == "natural"):
            expected = "more than 0, and no photograph as the object"
            raise InputError("--feature_px", "", str(self.feature_px), expected)

    def _check_probe(self) -> None:
        if self.size % 2 or self.size < 8:
            raise InputError("--size", "", str(self.size), "an even number of at least 8")
        if not 0 < self.photons <= 1e12:
            raise InputError("--photons", "", str(self.photons), "more than 0, at most 1e12")
        if not self.mode_fractions or min(self.mode_fractions) <= 0:
            raise InputError("--mode_fractions", "", str(self.mode_fractions), "one positive share per mode")
        if (self.probe == "file") != bool(self.probe_file):
            raise InputError(
                "--probe_file", "", repr(self.probe_file), "a file together with --probe file, and only then"
            )
        if self.curvature_rad and self.probe not in ("disk", "gaussian"):
            raise InputError("--curvature_rad", "", f"with --probe {self.probe}", "--probe disk or gaussian")
        if not 0 < self.pupil_radius < 1:
            raise InputError("--pupil_radius", "", str(self.pupil_radius), "a fraction between 0 and 1")
        if not 0 <= self.central_stop < min(1.0, self.osa_radius):
            raise InputError("--central_stop", "", str(self.central_stop), "at least 0, below 1 and below --osa_radius")
        if not 0 < self.probe_diameter_px < self.size:
            raise InputError("--probe_diameter_px", "", str(self.probe_diameter_px), "between 0 and --size")

    def _check_scan(self) -> None:
        given = [name for name in ("overlap", "step_px", "n_patterns") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(
                "--" + given[1], "", f"together with --{given[0]}", "one of --overlap, --step_px, --n_patterns"
            )
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise InputError("--overlap", "", str(self.overlap), "a fraction of at least 0 and below 1")
        for name in ("step_px", "n_patterns"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError("--" + name, "", str(value), "more than 0")
        for name in ("jitter_px", "position_error_px", "buffer_px", "seed", "object_seed", "noise_seed"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise InputError("--" + name, "", str(value), "at least 0")
        if min(self.room_px) < 0:
            found = f"{self.object_size} with a buffer of {self.margin_px} pixels"
            raise InputError("--object_size", "", found, f"room for patterns of {self.size} pixels")

    def _check_detector(self) -> None:
        if not 0 <= self.dead_pixels < self.size**2:
            raise InputError("--dead_pixels", "", str(self.dead_pixels), f"at least 0, below {self.size**2}")
        if self.saturation is not None and self.saturation < 1:
            raise InputError("--saturation", "", str(self.saturation), "at least 1")
        for name in ("energy_eV", "detector_distance_m", "detector_pixel_m"):
            if not getattr(self, name) > 0:
                raise InputError("--" + name, "", str(getattr(self, name)), "more than 0")

    @property
    def margin_px(self) -> int:
        """Buffer plus the room that wrong positions need (four standard deviations), pixels."""
        return self.buffer_px + int(-(-4 * self.position_error_px // 1))

    @property
    def room_px(self) -> tuple[int, int]:
        """Height and width of the rectangle in which the probe array's corner may move, pixels."""
        taken = self.size + 2 * self.margin_px
        return self.object_size[0] - taken, self.object_size[1] - taken


@dataclass(frozen=True)
class DemoConfig:
    """How large a scan the demonstration simulates, and how long the learned solver works on it."""

    object_size: int = 256
    """Height and width of the simulated object, pixels."""
    size: int = 64
    """Edge N of patterns and probe, pixels."""
    photons: float = 1e6
    """Photons per pattern through vacuum."""
    overlap: float = 0.7
    """Linear overlap of neighbouring positions."""
    rounds: int | None = None
    """Rounds of the learned solver, each two passes over the data and one correction by the network; as many as usual
    for the light where not given."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int = 1
    """CPU threads; arrays this small gain little from more, and lose much where other programs need the cores."""
    seed: int = 1
    """Seed of everything random."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError("--threads", "", str(self.threads), "at least 1")
        if self.object_size < self.size:
            raise InputError("--object_size", "", str(self.object_size), f"at least --size ({self.size})")
