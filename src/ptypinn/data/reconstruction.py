"""`Reconstruction`: what every solver and network returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Complex64, Float32, Float64, Int64

from ptypinn.data.scan import TERMS, ScanData
from ptypinn.data.validation import patches_lie_inside
from ptypinn.errors import InputError
from ptypinn.physics.optics import WELL_ILLUMINATED_FRACTION, illumination_mask
from ptypinn.utils.plain_values import to_plain

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

    from ptypinn.data.tensors import ReconstructionTensors


COST = "cost"
"""Name of the record of time, memory and energy in the provenance."""

PerPattern = Float64[np.ndarray, " patterns"]


@dataclass(frozen=True)
class DataFit:
    """Agreement of predicted with measured counts over the good pixels of a scan; see `metrics.compute_data_fit`."""

    amplitude_residual: float
    """`sum (sqrt I - sqrt I_pred)^2 / sum I`."""
    flux_closure: float
    """`sum I_pred / sum I`: 1 if as many photons are predicted as measured."""
    expected_residual: float
    """Amplitude residual that counting statistics alone would leave, if the prediction were the truth."""
    per_pattern_residual: PerPattern
    """Amplitude residual of each pattern; a pattern without a photon counts as one photon."""
    per_pattern_expected: PerPattern
    """`per_pattern_residual` that counting statistics alone would leave, if the prediction were the truth."""
    per_pattern_photons: PerPattern
    """Measured photons of each pattern; a pattern without a photon counts as one photon."""
    per_pattern_closure: PerPattern
    """Flux closure of each pattern; a pattern without a photon counts as one photon."""
    measured_map: Float64[np.ndarray, "y x"]
    """Counts of every pixel, bad ones included, summed over the patterns, zero frequency at N//2."""
    predicted_map: Float64[np.ndarray, "y x"]
    """Predicted counts of every pixel, likewise."""

    @property
    def misfit(self) -> float:
        """Amplitude residual over the one that counting noise explains."""
        return self.amplitude_residual / self.expected_residual if self.expected_residual > 0 else float("inf")

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the whole scan by their public names."""
        return {
            "amplitude_residual": self.amplitude_residual,
            "expected_residual": self.expected_residual,
            "flux_closure": self.flux_closure,
        }


@dataclass(frozen=True)
class MeasuredFit:
    """A data fit and the arrays that it was measured on, so that it is not used for others."""

    fit: DataFit
    arrays: tuple[Any, ...]


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed object with everything needed to trust and reuse it."""

    object: Complex64[np.ndarray, "height width"]
    """Transmission, dimensionless; of all slices together where the sample is thick."""
    illumination: Float32[np.ndarray, "height width"]
    """Sum of `abs(probe)**2` over positions and modes, photons per object pixel."""
    probe: Complex64[np.ndarray, "mode y x"]
    """Probe modes used or refined, sqrt(photons)."""
    positions_px: Float64[np.ndarray, "patterns 2"]
    """Coordinates (y, x) of the probe array's pixel (0, 0) on `object`, pixels."""
    origin_px: tuple[int, int] = (0, 0)
    """Position of `object[0, 0]` in the coordinates of the scan file's positions, pixels."""
    pixel_size_m: float | None = None
    """Object pixel, metres, where known."""
    patterns: Int64[np.ndarray, " patterns"] | None = None
    """Indices of its patterns in the scan file, one per position; None for all."""
    unscaled: Complex64[np.ndarray, "height width"] | None = None
    """The object before prediction scaling; None where none was asked for."""
    flux: Float64[np.ndarray, " patterns"] | None = None
    """Flux of every frame relative to that of the probe, mean 1; None where it is taken to be the same in all."""
    background: Float32[np.ndarray, "y x"] | None = None
    """Counts per pixel that every frame has beside the diffraction, zero frequency at N//2; None for none."""
    beam_px: Float64[np.ndarray, "patterns 2"] | None = None
    """Displacement (y, x) of every pattern on the detector, detector pixels; None where the beam stands still."""
    point_spread_px: float | None = None
    """Gaussian point spread of the detector: standard deviation, detector pixels; None for none."""
    mtf: Float64[np.ndarray, "frequency 2"] | None = None
    """Measured modulation transfer function of the detector: frequencies over Nyquist's, and values; None for none."""
    probe_variation: Complex64[np.ndarray, "order mode y x"] | None = None
    """Images that every frame adds to the modes of the probe, each by its weight, sqrt(photons); None for none."""
    probe_weights: Float64[np.ndarray, "patterns order"] | None = None
    """Weight of these images in every frame, mean 0, mean square 1, orthogonal over the frames."""
    fresnel_number: float | None = None
    """Fresnel number of an object pixel, from the sample to the detector of a near-field scan; None for the far
    field."""
    slices: Complex64[np.ndarray, "slice height width"] | None = None
    """Transmission of the slices of a thick sample in the order of the beam, whose product is `object`; None for a thin
    one."""
    gap_fresnel_numbers: Float64[np.ndarray, " gap"] | None = None
    """Fresnel number of an object pixel over every gap between them; None for a thin sample."""
    sample_tilt: Float64[np.ndarray, " 2"] | None = None
    """Direction (y, x) of the axis along which they follow each other, against the beam: sine of the angle over the
    wavelength, cycles per object pixel; None for along the beam."""
    uncertainty: Float32[np.ndarray, "height width"] | None = None
    """Expected standard deviation of the complex transmission, per pixel; None where none was estimated."""
    prediction_scale: Mapping[str, Any] = field(default_factory=dict)
    """Prediction scaling: source, factor, and derivation."""
    scale: list[dict[str, Any]] = field(default_factory=list)
    """Scale ledger: one entry per stage, with expected and measured factor."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures of merit by their public names."""
    history: Mapping[str, list[float]] = field(default_factory=dict)
    """Per-iteration figures, such as `loss` and `held_out_loss`."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Configuration, versions, input hash, seed; JSON-able."""
    measured_fit: MeasuredFit | None = field(default=None, repr=False, compare=False)
    """Data fit that the solver measured last; not written to files. Read it with `fit_to`."""

    def save(self, path: str | Path) -> Path:
        """Write HDF5 that opens as a default plot in NeXus viewers, atomically."""
        import ptypinn

        return ptypinn.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Reconstruction:
        """Read what `save` wrote, or a reconstruction of another program.

        Raises:
            InputError: Where the file is missing, truncated or not a reconstruction.
        """
        import ptypinn

        return ptypinn.load_reconstruction(path)

    def scan_part(self, scan: ScanData) -> ScanData:
        """Return the patterns of a scan that this reconstruction was computed from.

        Args:
            scan: The whole scan, or the part itself.

        Raises:
            InputError: Where the scan has other patterns.
        """
        if scan.n_patterns == len(self.positions_px):
            return self._with_terms(scan)
        if self.patterns is None or self.patterns.max() >= scan.n_patterns:
            actual = f"{len(self.positions_px)} positions for {scan.n_patterns} patterns"
            raise InputError(scan.source, "reconstruction", actual, "one position per pattern; is it of this scan?")
        return self._with_terms(scan.subset(self.patterns))

    def scale_probe(self, factor: float) -> Reconstruction:
        """Return the reconstruction with its probe times a factor and its object over it: the same counts.

        Slices of a thick sample have even shares; pixels without light stay as they are.
        """
        lit, slices, images = self.illumination > 0, self.slices, self.probe_variation
        if slices is not None:
            slices = np.where(lit, slices / np.float32(factor ** (1 / len(slices))), slices)
        return replace(
            self,
            object=np.where(lit, self.object / np.float32(factor), self.object),
            slices=slices,
            illumination=self.illumination * np.float32(factor**2),
            probe=self.probe * np.float32(factor),
            probe_variation=None if images is None else images * np.float32(factor),
        )

    @property
    def sample(self) -> Complex64[np.ndarray, "*slice height width"]:
        """The object as the forward model takes it: the slices of a thick sample, or a thin object."""
        return self.object if self.slices is None else self.slices

    def has_solved(self, term: str) -> bool:
        """Return True if a term of the experiment, such as the positions, was solved for as the counts demanded."""
        record = self.provenance.get("experiment")
        finding = record.get(term) if isinstance(record, Mapping) else None
        return isinstance(finding, Mapping) and bool(finding.get("corrected"))

    def _with_terms(self, scan: ScanData) -> ScanData:
        """Return a scan with the terms of the experiment that were solved for; without a truth that positions leave."""
        terms = {name: term for name in TERMS if (term := getattr(self, name)) is not None}
        if self.fresnel_number is not None and scan.fresnel_number is None and self.pixel_size_m is not None:
            scan = scan.rescale_pixel(self.pixel_size_m)
        changed = {name: term for name, term in terms.items() if getattr(scan, name) is not term}
        if self.has_solved("positions") or self.has_solved("probe_variation"):
            positions = self.positions_px + np.asarray(self.origin_px, float)
            inside = scan.truth is not None and patches_lie_inside(positions, scan.size, scan.truth.shape)
            changed |= {"positions_px": positions, "truth": scan.truth if inside else None}
        return scan.replace(**changed) if changed else scan

    def with_fit(self, fit: DataFit, scan: ScanData) -> Reconstruction:
        """Return the reconstruction with its agreement with the counts, and the metrics of that.

        Args:
            fit: Agreement of this reconstruction with the patterns of the scan that it was made from.
            scan: The whole scan.
        """
        return replace(self, metrics=fit.metrics(), measured_fit=MeasuredFit(fit, self._fitted_arrays(scan)))

    def with_cost(self, record: Mapping[str, Any]) -> Reconstruction:
        """Return the reconstruction with the record of time, memory and energy of its solve in the provenance."""
        return replace(self, provenance={**self.provenance, COST: dict(record)})

    def fit_to(self, scan: ScanData) -> DataFit | None:
        """Return the data fit of the run if neither this reconstruction nor the counts have changed since, else None.

        Args:
            scan: The whole scan.
        """
        measured = self.measured_fit
        if measured is None:
            return None
        same = all(a is b for a, b in zip(measured.arrays, self._fitted_arrays(scan), strict=True))
        return measured.fit if same else None

    def _fitted_arrays(self, scan: ScanData) -> tuple[Any, ...]:
        terms = (getattr(self, name) for name in TERMS)
        return self.sample, self.probe, self.positions_px, *terms, scan.counts, scan.mask

    @property
    def scale_note(self) -> str:
        """A few words on prediction scaling for titles and tables; empty where none was asked for."""
        source, factor = self.prediction_scale.get("source", "none"), self.prediction_scale.get("factor", 1.0)
        return "" if source == "none" else f"amplitude scaled by {factor:.4g} ({str(source).replace('_', ' ')})"

    def well_illuminated(self, fraction: float = WELL_ILLUMINATED_FRACTION) -> np.ndarray:
        """Return the pixels, used by metrics, whose illumination exceeds `fraction` of its 95th percentile."""
        return illumination_mask(self.illumination, fraction)

    def plot(self, title: str = "") -> Figure:
        """Draw amplitude and phase of the illuminated part, with colour bars and scale bars in metres or in pixels.

        Args:
            title: Text above both.
        """
        import ptypinn

        return ptypinn.object_figure(self, title)

    def __repr__(self) -> str:
        from ptypinn.data.repr_text import describe_reconstruction

        return describe_reconstruction(self)

    def _repr_html_(self) -> str:
        import ptypinn

        return ptypinn.html_card(self)

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> np.ndarray:
        """Return the object, so that numpy functions accept a reconstruction."""
        return np.array(self.object, dtype, copy=copy)

    def to_xarray(self) -> xarray.Dataset:
        """Return object, illumination, uncertainty, probe and positions with their axes and units, without copying.

        Raises:
            InputError: Where the package xarray is not installed.
        """
        from ptypinn.data.xarray_export import recon_dataset

        return recon_dataset(self)

    def to_torch(self) -> ReconstructionTensors:
        """Return the arrays as tensors on the CPU, in the same number types, sharing memory where that is possible."""
        from ptypinn.data.tensors import recon_tensors

        return recon_tensors(self)


@dataclass(frozen=True)
class SolverResult:
    """Result of a solver, on the host."""

    object: Complex64[np.ndarray, "height width"]
    """Transmission; 1 or the initial object outside the illumination."""
    illumination: Float32[np.ndarray, "height width"]
    """Photons on every object pixel over the scan."""
    probe: Complex64[np.ndarray, "mode y x"]
    """Modes, sqrt(photons), strongest first."""
    positions_px: Float64[np.ndarray, "patterns 2"]
    """Canvas coordinates of the probe array's pixel (0, 0)."""
    origin_px: tuple[int, int]
    """Origin of the canvas in the coordinates of the scan's positions."""
    history: dict[str, list[float]] = field(default_factory=dict)
    """Losses on the way; empty where they are not at hand."""
    flux: Float64[np.ndarray, " patterns"] | None = None
    """Flux of every frame, mean 1; None where it is not solved for."""
    background: Float32[np.ndarray, "y x"] | None = None
    """Counts of every frame beside the diffraction, zero frequency at N//2; None where it is not solved for."""
    beam_px: Float64[np.ndarray, "patterns 2"] | None = None
    """Displacement (y, x) of every pattern, detector pixels; None where it is not solved for."""
    point_spread_px: float | None = None
    """Standard deviation of the point spread, detector pixels; None where it is not solved for."""
    mtf: Float64[np.ndarray, "frequency 2"] | None = None
    """Measured modulation transfer function of the detector; None for that of the scan."""
    probe_variation: Complex64[np.ndarray, "order mode y x"] | None = None
    """Images that every frame adds to the modes of the probe, sqrt(photons); None where they are not solved for."""
    probe_weights: Float64[np.ndarray, "patterns order"] | None = None
    """Weight of these images in every frame."""
    fresnel_number: float | None = None
    """Fresnel number of an object pixel; None for that of the scan."""
    slices: Complex64[np.ndarray, "slice height width"] | None = None
    """Transmission of the slices of a thick sample; None for a thin one."""
    gap_fresnel_numbers: Float64[np.ndarray, " gap"] | None = None
    """Fresnel number of an object pixel over the gaps between slices; None for those of the scan."""
    sample_tilt: Float64[np.ndarray, " 2"] | None = None
    """Direction of the axis along which slices follow each other, cycles per object pixel; None for that of the
    scan."""

    def reconstruction(
        self, scan: ScanData, provenance: Mapping[str, Any], patterns: Int64[np.ndarray, " patterns"] | None = None
    ) -> Reconstruction:
        """Return the reconstruction of a scan.

        Args:
            scan: The scan.
            provenance: Record of its origin; that of the scan is added.
            patterns: Indices of its patterns in the scan; None for all.
        """
        return Reconstruction(
            object=self.object,
            illumination=self.illumination,
            probe=self.probe,
            positions_px=self.positions_px,
            origin_px=self.origin_px,
            slices=self.slices,
            pixel_size_m=scan.pixel_size_m,
            patterns=patterns,
            **{name: getattr(scan if getattr(self, name) is None else self, name) for name in TERMS},
            history=self.history,
            provenance=to_plain({**provenance, "scan": scan.record}),
        )
