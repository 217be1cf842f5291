"""`ScanData`: the one container that crosses stages, validated when built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Complex64, Float32, Float64, Num

from ptypinn.data.true_experiment import TrueExperiment
from ptypinn.errors import InputError
from ptypinn.physics.optics import Particle, compute_wavelength

if TYPE_CHECKING:
    import xarray

    from ptypinn.data.tensors import ScanTensors

ProbeGauge = Literal["calibrated", "relative"]
FRAME_TERMS = ("flux", "beam_px", "probe_weights")
"""Terms of the experiment with one entry per frame."""
DEPTH_TERMS = ("gap_fresnel_numbers", "sample_tilt")
"""Terms of a thick sample."""
TERMS = (
    *FRAME_TERMS,
    "background",
    "point_spread_px",
    "mtf",
    "probe_variation",
    "fresnel_number",
    *DEPTH_TERMS,
)
"""Terms of the experiment beside the ideal one that a scan and its reconstruction carry."""


@runtime_checkable
class Counts(Protocol):
    """Interface of `ScanData.counts`: an array in memory, or a lazy dataset that reads slices on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by sorted index array."""


@dataclass(frozen=True)
class ScanData:
    """One ptychography scan in the conventions of the package.

    >>> scan = ScanData(counts=np.ones((3, 8, 8), np.uint16), positions_px=np.zeros((3, 2)))
    >>> scan.n_patterns, scan.size, scan.replace(energy_eV=6200.0).wavelength_m is None
    (3, 8, False)

    Raises:
        InputError: When built from arrays that contradict each other or the conventions.
    """

    counts: Counts
    """Detector counts (photons per pixel), (M, N, N), zero frequency at N//2."""
    positions_px: Float64[np.ndarray, "patterns 2"]
    """Coordinates (y, x) of the probe array's pixel (0, 0), object pixels; those of `truth` where there is one."""
    probe: Complex64[np.ndarray, "mode probe_y probe_x"] | None = None
    """Incoherent probe modes in sqrt(photons); None where the file has none."""
    mask: Bool[np.ndarray, "y x"] | None = None
    """True = good pixel, zero frequency at N//2; None means that all are good."""
    pixel_size_m: float | None = None
    """Object pixel, metres; None where unknown."""
    energy_eV: float | None = None
    """Energy of the photons, kinetic energy of the electrons, electron volts."""
    detector_distance_m: float | None = None
    """Sample to detector, metres."""
    detector_pixel_m: float | None = None
    """Detector pixel, metres."""
    probe_gauge: ProbeGauge = "relative"
    """`calibrated`: the probe is in sqrt(photons); `relative`: its scale is arbitrary until `calibrate_probe`."""
    truth: Complex64[np.ndarray, "height width"] | None = None
    """True object for simulated scans, transmission."""
    experiment: TrueExperiment | None = None
    """True values of a simulated experiment with faults, one per pattern; None for other scans."""
    particle: Particle = "photon"
    """Diffracted particle."""
    flux: Float64[np.ndarray, " patterns"] | None = None
    """Flux of every frame relative to that of the probe, mean 1; None where it is taken to be the same in all."""
    background: Float32[np.ndarray, "background_y background_x"] | None = None
    """Counts per pixel that every frame has beside the diffraction, zero frequency at N//2; None for none."""
    beam_px: Float64[np.ndarray, "patterns 2"] | None = None
    """Displacement (y, x) of every pattern on the detector, detector pixels; None where the beam stands still."""
    point_spread_px: float | None = None
    """Gaussian point spread of the detector: standard deviation, detector pixels; None for none."""
    mtf: Float64[np.ndarray, "frequency 2"] | None = None
    """Measured modulation transfer function of the detector: frequencies from 0 on, in units of Nyquist's, and values;
    None where none is known. It is part of every prediction, and not solved for."""
    probe_variation: Complex64[np.ndarray, "order solved_mode probe_y probe_x"] | None = None
    """Images that every frame adds to the modes of the probe that was solved for with them, which may have more than
    `probe`, each by its weight, sqrt(photons); None for none."""
    probe_weights: Float64[np.ndarray, "patterns order"] | None = None
    """Weight of these images in every frame, mean 0, mean square 1, orthogonal over the frames."""
    fresnel_number: float | None = None
    """Fresnel number of an object pixel, from the sample to the detector of a near-field scan; None for the far
    field."""
    gap_fresnel_numbers: Float64[np.ndarray, " gap"] | None = None
    """Fresnel number of an object pixel over every gap between the slices of a thick sample, in the order of the beam;
    None for a thin one."""
    sample_tilt: Float64[np.ndarray, " 2"] | None = None
    """Direction (y, x) of the axis along which the slices follow each other, against the beam: sine of the angle over
    the wavelength, cycles per object pixel; None for along the beam."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the data: file, reader, options, calibration; JSON-able."""

    def __post_init__(self) -> None:
        from ptypinn.data.validation import check_shape, validate_scan

        check_shape(self.source, tuple(self.counts.shape))
        if self.mask is None:
            object.__setattr__(self, "mask", np.ones(self.counts.shape[-2:], bool))
        validate_scan(self)
        if self.experiment is not None and len(self.experiment.positions_px) != self.n_patterns:
            object.__setattr__(self, "experiment", None)

    @property
    def source(self) -> str:
        """Name of the data in messages: the file it was read from, or `scan`."""
        return str(self.provenance.get("file", "scan"))

    def option(self, name: str, default: Any) -> Any:
        """Return an option that the scan was read with, or `default` where it was not set."""
        return self.provenance.get("options", {}).get(name, default)

    @property
    def n_patterns(self) -> int:
        """Number of diffraction patterns."""
        return int(self.counts.shape[0])

    @property
    def size(self) -> int:
        """Edge N of a pattern, pixels."""
        return int(self.counts.shape[-1])

    @property
    def good(self) -> Bool[np.ndarray, "y x"]:
        """The mask, never None: True = good pixel."""
        assert self.mask is not None
        return self.mask

    @property
    def wavelength_m(self) -> float | None:
        """Wavelength, metres, from the energy."""
        return None if self.energy_eV is None else compute_wavelength(self.energy_eV, self.particle)

    @property
    def record(self) -> dict[str, Any]:
        """Origin of the data, and the optics as far as they are known, for the provenance of results."""
        names = ("energy_eV", "detector_distance_m", "detector_pixel_m")
        optics = {name: value for name in names if (value := getattr(self, name)) is not None}
        optics |= {"particle": self.particle} if self.particle != "photon" else {}
        return {**self.provenance, **optics}

    def require_probe(self) -> Complex64[np.ndarray, "mode y x"]:
        """Return the probe; raise `InputError`, naming the option that supplies one, if there is none."""
        if self.probe is None:
            expected = "a probe in the file or one given with --probe, such as a reconstruction, which finds one"
            raise InputError(self.source, "probe", "none", expected)
        return self.probe

    def batches(self, size: int) -> Iterator[tuple[slice, Num[np.ndarray, "patterns y x"]]]:
        """Read the counts in order, `size` patterns at a time."""
        for start in range(0, self.n_patterns, size):
            part = slice(start, min(start + size, self.n_patterns))
            yield part, self.counts[part]

    def rescale_pixel(self, pixel_size_m: float) -> ScanData:
        """Return the scan on other object pixels, metres, its positions along; the same where it has none."""
        if self.pixel_size_m is None:
            return self
        positions = self.positions_px * (self.pixel_size_m / pixel_size_m)
        return self.replace(positions_px=positions, pixel_size_m=pixel_size_m, truth=None)

    def subset(self, index: np.ndarray) -> ScanData:
        """Return the scan restricted to the patterns in `index` (sorted integers), read into memory."""
        index = np.asarray(index)
        provenance = {**self.provenance, "subset": f"{len(index)} of {self.n_patterns} patterns"}
        return self.replace(
            counts=self.counts[index],
            positions_px=self.positions_px[index],
            experiment=None if self.experiment is None else self.experiment.subset(index),
            provenance=provenance,
            **self.take_frame_terms(index),
        )

    def take_frame_terms(self, index: np.ndarray) -> dict[str, Any]:
        """Return the terms of the experiment that have one entry per frame, restricted to the frames in `index`."""
        return {name: None if (term := getattr(self, name)) is None else term[index] for name in FRAME_TERMS}

    def replace(self, **changes: Any) -> ScanData:
        """Return a copy with some fields changed, validated again."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        from ptypinn.data.repr_text import describe_scan

        return describe_scan(self)

    def _repr_html_(self) -> str:
        import ptypinn

        return ptypinn.html_card(self)

    def to_xarray(self) -> xarray.Dataset:
        """Return counts, positions, mask, probe and truth with axes and units; counts on disk stay there until used.

        Raises:
            InputError: Where the package xarray is not installed.
        """
        from ptypinn.data.xarray_export import scan_dataset

        return scan_dataset(self)

    def to_torch(self) -> ScanTensors:
        """Return the arrays as tensors on the CPU, in the same number types, sharing memory where that is possible.

        Counts on disk are read as a whole; `subset` chooses some first.
        """
        from ptypinn.data.tensors import scan_tensors

        return scan_tensors(self)
