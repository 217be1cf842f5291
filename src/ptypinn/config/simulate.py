"""Configuration of simulated scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ptypinn.config.faults import FaultList, Faults, list_faults, parse_faults
from ptypinn.config.shared import (
    MAX_TILT_MRAD,
    DeviceConfig,
    SeedConfig,
    option_name,
    require,
    require_fraction,
    require_min,
    require_positive,
)
from ptypinn.errors import InputError

PROBE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "zone_plate": ("pupil_radius", "central_stop", "defocus_waves", "astigmatism_waves", "osa_radius"),
    "disk": ("probe_diameter_px", "curvature_rad"),
    "gaussian": ("probe_diameter_px", "curvature_rad"),
    "lens": ("convergence_mrad", "defocus_m", "astigmatism_m", "spherical_m"),
    "file": ("probe_file",),
}
"""Fields that each kind of probe reads."""
MAX_PHOTONS = 1e12
"""Maximum number of photons per pattern."""


@dataclass(frozen=True)
class SimulateConfig(SeedConfig):
    """Options of a simulated scan: sample, probe, positions, detector.

    >>> SimulateConfig(object_size=(200, 160), buffer_px=4).room_px
    (128, 88)
    """

    object: Literal["lines", "dead_leaves", "grf", "siemens", "natural"] = "lines"
    """Kind of sample: random lines, dead leaves, Gaussian random field, Siemens star, or a photograph."""
    object_size: tuple[int, int] = (256, 256)
    """Height and width of the object, pixels."""
    feature_px: float | None = None
    """Scale of the sample's features, pixels: rms line width, smallest leaf, correlation length, finest spoke."""
    image: str = "random"
    """Photograph for `--object natural`, such as camera or coins; random chooses one by the seed."""
    phase_image: str = "random"
    """Photograph that the phase follows, for `--object natural --phase-texture independent`."""
    amplitude_range: tuple[float, float] = (1.0, 0.7)
    """Amplitude where the texture is 0 and where it is 1; the first may be the larger."""
    phase_range: tuple[float, float] = (0.0, 1.0)
    """Phase where the texture is 0 and where it is 1, radians; 0 and 0 for an amplitude-only sample."""
    amplitude_mean: float | None = None
    """Rescale the amplitude to this mean, which may exceed 1."""
    phase_texture: Literal["same", "independent"] = "same"
    """Texture of the phase: the same as that of the amplitude, or an independent one."""
    probe: Literal["zone_plate", "disk", "gaussian", "lens", "file"] = "zone_plate"
    """Kind of probe; lens is the round one of an electron microscope."""
    size: int = 64
    """Edge N of patterns and probe, pixels."""
    photons: float = 1e6
    """Photons per pattern through vacuum: the power of the probe over all modes."""
    mode_fractions: tuple[float, ...] = (1.0,)
    """Fraction of the power in every incoherent probe mode."""
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
    convergence_mrad: float = 9.0
    """Lens: semi-convergence angle, milliradians."""
    defocus_m: float = 0.0
    """Lens: distance of the sample from the focus, metres, positive where the sample is downstream (C10)."""
    astigmatism_m: float = 0.0
    """Lens: astigmatism along the axes, metres (C12)."""
    spherical_m: float = 0.0
    """Lens: spherical aberration, metres (C30)."""
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
    """Maximum random displacement of every position, pixels; 0.3 steps for a jittered raster, otherwise 0."""
    position_error_px: float = 0.0
    """Standard deviation of the unknown error of the recorded positions, pixels."""
    integer_positions: bool = False
    """Round the positions to whole pixels."""
    buffer_px: int = 0
    """Margin between the probe array and the edge of the object, pixels."""
    dead_pixels: int = 0
    """Number of detector pixels that read zero and are masked."""
    saturation: float | None = None
    """Maximum counts that a pixel can record."""
    particle: Literal["photon", "electron"] = "photon"
    """Diffracted particle, which gives the wavelength at an energy."""
    energy_eV: float = 8800.0
    """Photon energy, or accelerating voltage, electron volts."""
    detector_distance_m: float = 1.0
    """Sample to detector, metres."""
    detector_pixel_m: float = 75e-6
    """Detector pixel, metres."""
    focus_distance_m: float | None = None
    """Near-field images in a beam that diverges from a focus so far before the sample, metres; a very distant focus is
    a parallel beam. By default the detector is in the far field."""
    slices: int = 1
    """Slices of the sample along the beam, each an object of its own kind: 1 for a thin sample."""
    slice_spacing_m: float | None = None
    """Distance between the slices of a thick sample, metres; the depth of field by default."""
    sample_tilt_mrad: tuple[float, float] = (0.0, 0.0)
    """Tilt (y, x) of a thick sample: direction against the beam of the axis along which its slices follow each other,
    milliradians."""
    faults: FaultList = ()
    """Faults of the experiment that the file does not state, each NAME:SIZE or NAME:SIZE:SIZE, such as drift:14
    flux:0.15 beam-offset:3:0; their true values are stored beside the truth."""
    monitor: bool = False
    """Record the flux of every frame, as a beam monitor does; for the faults flux and flux-drift."""
    object_seed: int | None = None
    """Seed of the sample, if it is to differ from `--seed`."""
    noise_seed: int | None = None
    """Seed of the shot noise, if it is to differ from `--seed`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "faults", list_faults(self.faults))
        self._check_object()
        self._check_probe()
        self._check_scan()
        self._check_detector()
        self._check_faults()

    def unread(self) -> Mapping[str, str]:
        """Return the fields that nothing reads with this kind of object and of probe."""
        readers: dict[str, list[str]] = {}
        for kind, names in PROBE_FIELDS.items():
            for name in names:
                readers.setdefault(name, []).append(kind)
        unread = {name: f"--probe {kinds[0]}" for name, kinds in readers.items() if self.probe not in kinds}
        if self.slices == 1:
            unread |= dict.fromkeys(("slice_spacing_m", "sample_tilt_mrad"), "--slices")
        if self.object != "natural":
            unread |= dict.fromkeys(("image", "phase_image"), "--object natural")
        elif self.phase_texture == "same":
            unread["phase_image"] = "--phase-texture independent"
        return {**super().unread(), **unread}

    def _check_object(self) -> None:
        smallest = min(self.object_size)
        require(self, "object_size", smallest >= self.size, f"at least --size ({self.size}) both ways")
        require(self, "amplitude_range", min(self.amplitude_range) >= 0, "amplitudes of at least 0")
        scalable = self.amplitude_mean is None or (self.amplitude_mean > 0 and max(self.amplitude_range) > 0)
        require(self, "amplitude_mean", scalable, "more than 0, of an amplitude above 0")
        expected = "more than 0, and no photograph as the object"
        featured = self.feature_px is None or (self.feature_px > 0 and self.object != "natural")
        require(self, "feature_px", featured, expected)

    def _check_probe(self) -> None:
        require(self, "size", self.size % 2 == 0 and self.size >= 8, "an even number of at least 8")
        require(self, "photons", 0 < self.photons <= MAX_PHOTONS, f"more than 0, at most {MAX_PHOTONS:g}")
        positive = bool(self.mode_fractions) and min(self.mode_fractions) > 0
        require(self, "mode_fractions", positive, "one positive fraction per mode")
        require(self, "probe_file", self.probe != "file" or self.probe_file, "a file, for --probe file")
        require_fraction(self, "pupil_radius")
        stop = 0 <= self.central_stop < min(1.0, self.osa_radius)
        require(self, "central_stop", stop, "at least 0, below 1 and below --osa-radius")
        require(self, "probe_diameter_px", 0 < self.probe_diameter_px < self.size, "between 0 and --size")

    def _check_scan(self) -> None:
        densities = [name for name in ("overlap", "step_px", "n_patterns") if getattr(self, name) is not None]
        if len(densities) > 1:
            first, second = map(option_name, densities[:2])
            raise InputError(second, "", f"together with {first}", "one of --overlap, --step-px, --n-patterns")
        overlap = self.overlap is None or 0 <= self.overlap < 1
        require(self, "overlap", overlap, "a fraction of at least 0 and below 1")
        require_positive(self, "step_px", "n_patterns")
        require_min(self, 0, "jitter_px", "position_error_px", "buffer_px", "seed", "object_seed", "noise_seed")
        if min(self.room_px) < 0:
            margins = f"{self.object_size} with a buffer of {self.margin_px} pixels"
            raise InputError("--object-size", "", margins, f"room for patterns of {self.size} pixels")

    def _check_detector(self) -> None:
        dead = 0 <= self.dead_pixels < self.size**2
        require(self, "dead_pixels", dead, f"at least 0, below {self.size**2}")
        require_min(self, 1, "saturation")
        require_positive(self, "energy_eV", "detector_distance_m", "detector_pixel_m", "focus_distance_m")
        require_positive(self, "slice_spacing_m", "convergence_mrad")
        require_min(self, 1, "slices")
        is_small = all(abs(angle) <= MAX_TILT_MRAD for angle in self.sample_tilt_mrad)
        require(self, "sample_tilt_mrad", is_small, f"angles within {MAX_TILT_MRAD:g}")
        if self.slices > 1 and self.focus_distance_m is not None:
            raise InputError("--slices", "", "together with --focus-distance-m", "thick samples in the far field")

        if self.probe == "lens" and self.focus_distance_m is not None:
            raise InputError("--probe", "", "lens together with --focus-distance-m", "one of the two")

    def _check_faults(self) -> None:
        sizes, named = self.fault_sizes, f"--faults {' '.join(list_faults(self.faults))}"
        if self.faults and self.slices > 1:
            raise InputError("--slices", "", f"together with {named}", "faults of experiments with thin samples")
        if self.faults and self.focus_distance_m is not None:
            raise InputError("--focus-distance-m", "", f"together with {named}", "faults in the far field alone")
        has_flux = sizes.flux or sizes.flux_drift
        require(self, "monitor", has_flux or not self.monitor, "--faults with flux or flux-drift as well")
        if sizes.probe_guess and self.probe != "zone_plate":
            raise InputError("--faults", "", f"probe-guess with --probe {self.probe}", "--probe zone_plate as well")
        pairs = {
            "position_error_px": (sizes.positions, self.position_error_px),
            "mode_fractions": (sizes.coherence, len(self.mode_fractions) > 1),
            "saturation": (sizes.saturation, self.saturation),
        }
        for name, (fault, option) in pairs.items():
            if fault and option:
                raise InputError(option_name(name), "", f"together with {named}", "one of them")
        if sizes.hot_pixels >= self.size**2:
            raise InputError("--faults", "", f"hot-pixels:{sizes.hot_pixels}", f"fewer than {self.size**2} pixels")

    @property
    def fault_sizes(self) -> Faults:
        """Sizes of the faults that `faults` names."""
        return parse_faults(list_faults(self.faults))

    @property
    def margin_px(self) -> int:
        """Buffer plus the room that wrong positions need (four standard deviations), pixels."""
        return self.buffer_px + int(-(-4 * self.position_error_px // 1))

    @property
    def room_px(self) -> tuple[int, int]:
        """Height and width of the rectangle in which the probe array's corner may move, pixels."""
        occupied = self.size + 2 * self.margin_px
        return self.object_size[0] - occupied, self.object_size[1] - occupied


@dataclass(frozen=True)
class DemoConfig(SeedConfig, DeviceConfig):
    """Options of the demonstration: size of the simulated scan, and rounds of the unrolled solver."""

    object_size: int = 256
    """Height and width of the simulated object, pixels."""
    size: int = 64
    """Edge N of patterns and probe, pixels."""
    photons: float = 1e6
    """Photons per pattern through vacuum."""
    overlap: float = 0.7
    """Linear overlap of neighbouring positions."""
    rounds: int | None = None
    """Rounds of the unrolled solver, each two passes over the data and one correction by the network; by default as
    many as for any scan of this dose."""
    threads: int = 1
    """CPU threads; arrays this small gain little from more, and lose much if other programs need the cores."""
    seed: int = 1
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "threads")
        require(self, "object_size", self.object_size >= self.size, f"at least --size ({self.size})")
