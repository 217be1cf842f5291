"""Simulation of a scan: sample, probe, positions, forward model, detector."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Complex128, UInt
from torch import Tensor

from ptypinn._version import __version__
from ptypinn.config.shared import option_name, require
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.depth import DEPTH_OF_FIELD
from ptypinn.data.faults import FaultyExperiment, bright_generator, plan_experiment
from ptypinn.data.monitor import with_monitor
from ptypinn.data.near_field import GEOMETRY, Projection
from ptypinn.data.scan import ScanData
from ptypinn.data.true_experiment import TrueExperiment
from ptypinn.errors import InputError
from ptypinn.physics.detector import draw_dead_pixels, sample_counts, saturate, zero_dead_pixels
from ptypinn.physics.experiment import expose_frames
from ptypinn.physics.forward import ForwardModel, forward_model
from ptypinn.physics.lens import Lens, lens_probe
from ptypinn.physics.objects import NATURAL_IMAGES, TEXTURES, compose_object
from ptypinn.physics.optics import (
    compute_fresnel_number,
    compute_pixel_size,
    compute_wavelength,
    equivalent_diameter,
    power_at_edge,
    probe_photons,
    tilt_to_frequency,
)
from ptypinn.physics.patches import split_positions
from ptypinn.physics.probes import (
    ZonePlate,
    add_curvature,
    defocus_to_distance,
    disk_probe,
    gaussian_probe,
    incoherent_modes,
    scale_to_photons,
    zone_plate_probe,
)
from ptypinn.physics.propagation import to_centred, to_fft_order
from ptypinn.physics.scan_patterns import SCANS, jitter, positions_by_number, typical_step
from ptypinn.types import Mask, Object, Probe
from ptypinn.utils.progress import Progress

BATCH_PIXELS = 2**21
"""Detector pixels that are simulated at a time: bounds the memory however long the scan is."""

MAX_PATTERNS = 10**7
"""Scans beyond this are refused: an overlap too close to 1, or a step in a wrong unit."""

_OBJECT, _SCAN, _POSITION_ERROR, _DEAD, _NOISE = range(5)
_SLICES = 1000


def simulate_scan(config: SimulateConfig, field: Probe | None = None, *, progress: Progress | None = None) -> ScanData:
    """Simulate a ptychography scan.

    Args:
        config: Sample, probe, scan and detector.
        field: Probe in any scale, where the configuration names a file (`probe="file"`).
        progress: Called as `progress("simulate", patterns_done, patterns)`.

    Returns:
        Counts with the true object in `truth`, the calibrated probe that made them, and in `provenance` the
        configuration and what was measured. Positions are the recorded ones (see `draw_positions`). With faults,
        positions and probe are what the experiment records, and `experiment` has the true values, as it has the slices
        of a thick sample.
    """
    geometry, slices = _geometry(config), draw_slices(config)
    plan, projection = _plan(config, field, slices), geometry.projection
    mask = draw_dead_pixels(config.size, config.dead_pixels, _torch_generator(config.seed, _DEAD))
    counts, figures = _expose(config, plan, slices, mask, geometry.model, progress)
    probe = _recorded_probe(config, plan.truth.probe, field)
    scan = ScanData(
        counts=counts,
        positions_px=plan.recorded.numpy(),
        probe=probe.numpy(),
        mask=mask.numpy(),
        pixel_size_m=geometry.pixel_m,
        energy_eV=config.energy_eV,
        particle=config.particle,
        detector_distance_m=config.detector_distance_m,
        detector_pixel_m=config.detector_pixel_m,
        probe_gauge="calibrated",
        truth=plan.canvas.numpy(),
        experiment=_true_experiment(config, plan, slices, geometry),
        fresnel_number=None if projection is None else projection.fresnel_number,
        provenance={
            **_provenance(config, probe, len(counts), figures),
            **_optics(config, geometry),
            **({} if projection is None else {GEOMETRY: projection.to_record()}),
        },
    )
    return with_monitor(scan, plan.truth.flux, "simulated") if config.monitor and plan.truth.flux is not None else scan


def draw_slices(config: SimulateConfig) -> Complex64[Tensor, "slice height width"]:
    """Return the slices of the sample that a configuration describes, one where it is thin, transmission."""
    seed = config.seed if config.object_seed is None else config.object_seed
    others = [_generator(seed, _SLICES + number) for number in range(config.slices - 1)]
    return torch.stack([draw_object(config), *(draw_object(config, generator) for generator in others)])


def draw_object(config: SimulateConfig, generator: np.random.Generator | None = None) -> Object:
    """Return a sample, or a slice of one, that a configuration describes, (height, width), transmission.

    Args:
        config: The configuration.
        generator: Source of randomness; that of the configuration where None.
    """
    if generator is None:
        generator = _generator(config.seed if config.object_seed is None else config.object_seed, _OBJECT)
    draw, arguments = TEXTURES[config.object], [] if config.feature_px is None else [config.feature_px]
    texture = draw(*config.object_size, generator, *arguments, **_photograph(config, "image"))
    other = texture
    if config.phase_texture == "independent":
        other = draw(*config.object_size, generator, *arguments, **_photograph(config, "phase_image"))
    return compose_object(texture, other, config.amplitude_range, config.phase_range, config.amplitude_mean)


def _photograph(config: SimulateConfig, field: str) -> dict[str, str]:
    """Return the photograph of an object that is a photograph, as an argument."""
    if config.object != "natural":
        return {}
    name = str(getattr(config, field))
    if name not in ("random", *NATURAL_IMAGES):
        raise InputError(option_name(field), "", name, "random or one of " + ", ".join(NATURAL_IMAGES))
    return {"name": name}


def draw_probe(config: SimulateConfig, field: Probe | None = None) -> Probe:
    """Return the probe that a configuration describes, (modes, N, N), with exactly its photons.

    Args:
        config: The configuration.
        field: Probe in any scale, for `probe="file"`.

    >>> probe = draw_probe(SimulateConfig(size=32, probe="disk", photons=1e4))
    >>> round(float(probe_photons(probe)))
    10000
    """
    if config.probe == "zone_plate":
        names = ("pupil_radius", "central_stop", "defocus_waves", "astigmatism_waves", "osa_radius")
        optics = ZonePlate(**{name: getattr(config, name) for name in names})
        probe = zone_plate_probe(config.size, optics, config.photons)
    elif config.probe == "disk":
        probe = disk_probe(config.size, config.probe_diameter_px / 2, config.photons)
    elif config.probe == "gaussian":
        probe = gaussian_probe(config.size, config.probe_diameter_px, config.photons)
    elif config.probe == "lens":
        probe = _draw_lens_probe(config)
    else:
        if field is None:
            raise ValueError(f"the probe of {config.probe_file} has to be read first")
        probe = scale_to_photons(field, config.photons)
    if config.curvature_rad:
        probe = add_curvature(probe, config.probe_diameter_px / 2, config.curvature_rad)
    return incoherent_modes(probe[:1], config.mode_fractions) if len(config.mode_fractions) > 1 else probe


def _draw_lens_probe(config: SimulateConfig) -> Probe:
    """Return the probe of a lens; raise `InputError` where its cone is wider than the detector."""
    limit_mrad = 1e3 * config.size / 2 * config.detector_pixel_m / config.detector_distance_m
    expected = f"less than {limit_mrad:.3g}, the detector's half-width; a shorter --detector-distance-m widens it"
    require(config, "convergence_mrad", config.convergence_mrad < limit_mrad, expected)
    wavelength = compute_wavelength(config.energy_eV, config.particle)
    pixel = compute_pixel_size(wavelength, config.detector_distance_m, config.size, config.detector_pixel_m)
    aberrations = config.defocus_m, config.astigmatism_m, config.spherical_m
    return lens_probe(
        config.size, Lens(1e-3 * config.convergence_mrad, *aberrations), pixel, wavelength, config.photons
    )


def draw_positions(config: SimulateConfig, probe: Probe | None = None) -> tuple[Tensor, Tensor]:
    """Return the positions of a simulated scan, (M, 2) each, pixels of the object.

    Args:
        config: The configuration.
        probe: Its probe, which sets the step for a given overlap; drawn where None.

    Returns:
        The true positions, and those that the scan records, which differ by `position_error_px`.
    """
    room = (float(config.room_px[0]), float(config.room_px[1]))
    generator = _generator(config.seed, _SCAN)
    if config.n_patterns is not None:
        positions = positions_by_number(config.scan, room, config.n_patterns, generator)
    else:
        step = _step(config, probe)
        if (number := (room[0] / step + 1) * (room[1] / step + 1)) > MAX_PATTERNS:
            raise InputError("--overlap", "", f"about {number:.2g} patterns, {step:.2g} pixels apart", "a wider step")
        positions = SCANS[config.scan](room, step, generator)
    default = 0.3 * typical_step(room, len(positions)) if config.scan == "jittered_raster" else 0.0
    positions = jitter(positions, default if config.jitter_px is None else config.jitter_px, room, generator)
    positions = positions + config.margin_px
    positions = positions.round() if config.integer_positions else positions
    error = torch.from_numpy(_generator(config.seed, _POSITION_ERROR).standard_normal(tuple(positions.shape)))
    return positions, positions + config.position_error_px * error.clamp(-4, 4)


def _step(config: SimulateConfig, probe: Probe | None) -> float:
    if config.step_px is not None:
        return config.step_px
    diameter = equivalent_diameter(draw_probe(config) if probe is None else probe)
    return (1 - (0.65 if config.overlap is None else config.overlap)) * diameter


def _plan(
    config: SimulateConfig, field: Probe | None, slices: Complex64[Tensor, "slice height width"]
) -> FaultyExperiment:
    """Return the true experiment: the configuration's, with its faults."""
    probe = draw_probe(config, field)
    return plan_experiment(config.fault_sizes, config.seed, slices.prod(0), probe, *draw_positions(config, probe))


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """Lengths of an experiment, and the forward model that follows from them."""

    wavelength_m: float
    """Wavelength, metres."""
    pixel_m: float
    """Object pixel, metres."""
    spacing_m: float
    """Distance between the slices of a thick sample, metres."""
    projection: Projection | None
    """Geometry of near-field images; None for the far field."""
    model: ForwardModel
    """Forward model."""


def _geometry(config: SimulateConfig) -> _Geometry:
    """Return the geometry of an experiment; slices are the depth of field apart where their spacing is not given.

    Raises:
        InputError: Where patterns do not sample the waves over some distance.
    """
    projection, wavelength = _projection(config), compute_wavelength(config.energy_eV, config.particle)
    pixel = compute_pixel_size(wavelength, config.detector_distance_m, config.size, config.detector_pixel_m)
    pixel, number = (pixel, None) if projection is None else (projection.pixel_size_m, projection.fresnel_number)
    spacing = config.slice_spacing_m or DEPTH_OF_FIELD * pixel**2 / wavelength
    limit = config.size * pixel**2 / wavelength
    require(config, "slice_spacing_m", config.slices == 1 or spacing <= limit, f"at most {limit:.3g} for its sampling")
    gaps = [compute_fresnel_number(pixel, spacing, wavelength)] * (config.slices - 1)
    tilt = tilt_to_frequency(config.sample_tilt_mrad, pixel, wavelength)
    walk = float(np.abs(tilt).max()) * (config.slices - 1) * spacing * wavelength / pixel**2
    expected = f"smaller angles: the wave goes {walk:.3g} pixels aside from the first slice to the last"
    require(config, "sample_tilt_mrad", walk <= config.size / 2, expected)
    model = forward_model(config.size, number, gaps or None, tilt.tolist())
    return _Geometry(wavelength, pixel, spacing, projection, model)


def _true_experiment(
    config: SimulateConfig,
    plan: FaultyExperiment,
    slices: Complex64[Tensor, "slice height width"],
    geometry: _Geometry,
) -> TrueExperiment | None:
    """Return the true values of an experiment with faults, or with a thick sample; None for any other."""
    if len(slices) == 1:
        return plan.truth if config.faults else None
    spacing = np.full(len(slices) - 1, geometry.spacing_m)
    tilt = np.array(config.sample_tilt_mrad) if any(config.sample_tilt_mrad) else None
    return dataclasses.replace(plan.truth, slices=slices.numpy(), slice_spacing_m=spacing, sample_tilt_mrad=tilt)


def _recorded_probe(config: SimulateConfig, true: np.ndarray, field: Probe | None) -> Probe:
    """Return the probe that the scan records: the true one, unless a fault says otherwise."""
    sizes = config.fault_sizes
    if sizes.probe_guess:
        guess = config.defocus_waves * (1 + sizes.probe_guess)
        return draw_probe(dataclasses.replace(config, defocus_waves=guess, astigmatism_waves=0.0))
    return draw_probe(config, field) if sizes.coherence else torch.from_numpy(true)


def _expose(
    config: SimulateConfig,
    plan: FaultyExperiment,
    slices: Complex64[Tensor, "slice height width"],
    mask: Mask,
    model: ForwardModel,
    progress: Progress | None,
) -> tuple[UInt[np.ndarray, "patterns y x"], dict[str, float]]:
    """Return the centred counts in the smallest unsigned type that holds them, and their statistics."""
    generator = _torch_generator(config.seed if config.noise_seed is None else config.noise_seed, _NOISE)
    number, of_bright = len(plan.positions), bright_generator(config.seed)
    counts = np.empty((number, config.size, config.size), np.uint16)
    limit = config.saturation or config.fault_sizes.saturation
    expected_sum, saturated, done = 0.0, 0, 0
    canvases = slices if len(slices) > 1 else plan.canvas[None]
    for expected in _expected_batches(plan, canvases.to(torch.complex128), model):
        drawn = sample_counts(to_centred(expected), generator)
        if plan.bright is not None:
            drawn = plan.bright.add(drawn, done, of_bright)
        if limit:
            saturated += int((drawn > limit).sum())
            drawn = saturate(drawn, float(int(limit)))
        drawn = zero_dead_pixels(drawn, mask)
        counts = _with_room_for(counts, float(drawn.max()))
        counts[done : done + len(drawn)] = drawn.numpy()
        expected_sum, done = expected_sum + float(expected.sum()), done + len(drawn)
        if progress is not None:
            progress("simulate", done, number)
    plan.spoil_frames(counts)
    return counts, {
        "photons_expected": expected_sum / number,
        "photons_measured": float(counts.sum((1, 2), dtype=np.float64).mean()),
        "brightest_pixel": float(counts.max()),
        "saturated_fraction": saturated / counts.size,
    }


def _projection(config: SimulateConfig) -> Projection | None:
    """Return the geometry of near-field images; None for the far field."""
    if config.focus_distance_m is None:
        return None
    optics = config.detector_distance_m, config.detector_pixel_m, compute_wavelength(config.energy_eV, config.particle)
    projection = Projection(config.focus_distance_m, *optics)
    projection.require_sampling(config.size, "simulate")
    return projection


def _expected_batches(
    plan: FaultyExperiment, canvases: Complex128[Tensor, "slice height width"], model: ForwardModel
) -> Iterator[Tensor]:
    """Yield the expected counts, FFT order, a batch of patterns at a time."""
    modes = torch.from_numpy(plan.truth.probe).to(torch.complex128)
    positions, exposure = plan.positions, plan.exposure
    corners, fractions = split_positions(positions)
    rest = None if not fractions.any() else (positions - positions.round())
    size = max(1, BATCH_PIXELS // (modes.numel() * exposure.steps * model.slices))
    for start in range(0, len(positions), size):
        part = slice(start, start + size)
        if plan.ideal_exposure:
            yield model.predict_scan(canvases, modes, corners[:, part], None if rest is None else rest[part])
        else:
            yield to_fft_order(expose_frames(canvases[0], modes, positions[part], exposure.take(part)))


def _with_room_for(counts: np.ndarray, largest: float) -> np.ndarray:
    for kind in (np.uint16, np.uint32, np.uint64):
        if largest <= np.iinfo(kind).max:
            return counts.astype(np.promote_types(counts.dtype, kind), copy=False)
    raise OverflowError(f"{largest} counts in a pixel")


def _provenance(config: SimulateConfig, probe: Probe, n_patterns: int, figures: dict[str, float]) -> dict[str, Any]:
    diameter = equivalent_diameter(probe)
    step = typical_step((float(config.room_px[0]), float(config.room_px[1])), n_patterns)
    return {
        "source": "simulation",
        "ptypinn_version": __version__,
        "config": dataclasses.asdict(config),
        **({"faults": config.fault_sizes.listed()} if config.faults else {}),
        "seed": config.seed,
        "photons_requested": config.photons,
        "photons_probe": float(probe_photons(probe)),
        **figures,
        "probe_equivalent_diameter_px": diameter,
        "probe_power_at_edge": power_at_edge(probe),
        "step_px": step,
        "overlap": 1 - step / diameter,
    }


def _optics(config: SimulateConfig, geometry: _Geometry) -> dict[str, Any]:
    """Return the zone plate in metres; nothing for other probes."""
    if config.probe != "zone_plate":
        return {}
    zone = geometry.pixel_m / config.pupil_radius
    defocus = defocus_to_distance(config.defocus_waves, geometry.wavelength_m, zone)
    return {"zone_plate": {"outermost_zone_m": zone, "defocus_m": defocus}}


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])


def _torch_generator(seed: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(_generator(seed, stream).integers(2**62)))
