"""The `reconstruct` stage: apply a trained network to a scan and stitch its patches to one object."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.calibrate import calibrate_probe, pattern_sums
from ptypinn.data.frame import canvas_frame
from ptypinn.data.geometry import require_far_field
from ptypinn.data.grouping import Groups, group_neighbours, split_parts
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.device import cpu_threads, pick_device
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import data_fit
from ptypinn.models.bundle import Bundle, load_bundle
from ptypinn.models.predictor import PatchPredictor
from ptypinn.physics.forward import power
from ptypinn.physics.patches import add_patches, split_positions
from ptypinn.physics.propagate import to_fft_order
from ptypinn.physics.shift import shift_probe
from ptypinn.physics.stitch import align, exit_power, normalise, probe_intensity
from ptypinn.plain import to_plain
from ptypinn.progress import Progress, silent
from ptypinn.scale import LedgerEntry


@dataclass(frozen=True)
class Sums:
    """Running sums of one sweep over a scan."""

    weighted: Tensor
    """Sum of probe intensity times patch, (1, height, width)."""
    weights: Tensor
    """Sum of probe intensity over every patch, (1, height, width)."""
    illumination: Tensor
    """Sum of probe intensity over every position, (1, height, width), photons per object pixel."""
    exit_photons: Tensor
    """Photons behind the sample by the patches as the network gave them, float64."""

    @classmethod
    def empty(cls, shape: tuple[int, int], device: torch.device) -> Sums:
        """Sums of nothing, on a canvas of this shape."""
        canvas = torch.zeros((1, *shape), dtype=torch.complex64, device=device)
        images = torch.zeros((2, 1, *shape), device=device)
        return cls(canvas, images[0], images[1], torch.zeros((), dtype=torch.float64, device=device))

    def add(self, patches: Tensor, intensity: Tensor, corners: Tensor) -> None:
        """Add patches (batch, N, N), aligned to the canvas, with their probe intensities and corners."""
        add_patches(self.weighted, (patches * intensity)[None], corners[None])
        add_patches(self.weights, intensity[None], corners[None])
        self.exit_photons.add_(exit_power(patches, intensity).double().sum())

    def illuminate(self, intensity: Tensor, corners: Tensor) -> None:
        """Add probe intensities of positions that are visited for the first time."""
        add_patches(self.illumination, intensity[None], corners[None])


def reconstruct(
    scan: ScanData,
    model: str | Path | Bundle,
    config: ReconstructConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct a scan with a trained network in one sweep, in memory that does not grow with the scan's length.

    The object comes out in transmission units: nothing is fitted to a truth or rescaled afterwards. Canvas pixels that
    no probe reaches hold 1 (vacuum) and have illumination 0.

    Args:
        scan: The scan; need not be the one that the network was trained on.
        model: A bundle or its file.
        config: Which part, which probe, how much at once.
        progress: Called as `progress("reconstruct", patterns_done, patterns)`.

    Raises:
        InputError: Where scan and bundle do not fit each other.
    """
    config = config or ReconstructConfig()
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    require_far_field(scan)
    if scan.size != bundle.header.size:
        found = f"patterns of {scan.size} pixels"
        raise InputError(scan.source, "counts", found, f"{bundle.header.size} pixels, as in {bundle.source}")
    scan = calibrate_probe(_with_probe(scan, bundle, config))
    part = _part(scan, bundle, config)
    with cpu_threads(config.threads):
        return _reconstruction(scan if part is None else scan.subset(part), part, bundle, config, progress or silent)


def _reconstruction(
    scan: ScanData, part: np.ndarray | None, bundle: Bundle, config: ReconstructConfig, progress: Progress
) -> Reconstruction:
    """Sweep over a scan, or a part of one, and gather the object with its figures of merit and scale ledger."""
    device = pick_device(config.device)
    probe = torch.from_numpy(scan.require_probe())
    predictor = bundle.predictor(probe, to_fft_order(torch.from_numpy(scan.good))).to(device)
    origin, shape = canvas_frame(scan)
    positions = scan.positions_px - np.asarray(origin, np.float64)
    sums = Sums.empty(shape, device)
    with torch.inference_mode():
        sweeps = _sweeps(positions, bundle.header.gridsize, config)
        _sweep(scan, predictor, positions, sums, sweeps, config, progress)
    drift = predictor.scaler.drift
    object_ = normalise(sums.weighted * drift, sums.weights)[0].cpu().numpy()
    illumination = sums.illumination[0].cpu().numpy()
    fit = data_fit(scan, object_, scan.require_probe(), positions, batch=config.batch, device=device)
    patches = math.sqrt(float(sums.exit_photons) / (sum(groups.size for groups in sweeps) * predictor.photons))
    ledger = _ledger(scan, object_, illumination, patches, drift, predictor.vacuum_photons)
    return Reconstruction(
        object=object_,
        illumination=illumination,
        probe=scan.require_probe(),
        positions_px=positions,
        origin_px=origin,
        pixel_size_m=scan.pixel_size_m,
        patterns=part,
        scale=[entry.as_json() for entry in ledger],
        metrics={
            "amplitude_residual": fit.amplitude_residual,
            "expected_residual": fit.expected_residual,
            "flux_closure": fit.flux_closure,
        },
        provenance=to_plain(
            {
                "stage": "reconstruct",
                "config": asdict(config),
                "model": {"file": bundle.source, **asdict(bundle.header)},
                "scan": dict(scan.provenance),
            }
        ),
    )


def _with_probe(scan: ScanData, bundle: Bundle, config: ReconstructConfig) -> ScanData:
    from_bundle = config.probe_from == "bundle" or (
        config.probe_from == "auto" and (bundle.header.trained_probe or scan.probe is None)
    )
    if not from_bundle:
        return scan
    factor = 1.0
    if config.probe_from == "auto" and scan.probe is not None:  # the shape was learned, the exposure is the scan's own
        factor = math.sqrt(float(power(torch.from_numpy(calibrate_probe(scan).require_probe())) / power(bundle.probe)))
    return scan.replace(probe=bundle.probe.numpy() * np.float32(factor), probe_gauge="calibrated")


def _part(scan: ScanData, bundle: Bundle, config: ReconstructConfig) -> np.ndarray | None:
    """Patterns of the part that the configuration names; None for all."""
    if config.part == "all":
        return None
    split = bundle.header.provenance.get("config", {})
    if split.get("split_axis", "none") == "none":
        raise InputError("--part", "", repr(config.part), "all: the network was trained on the whole scan")
    arguments = (scan.positions_px, split["split_axis"], split["split_fraction"], split["split_gap_px"])
    train, held_out = split_parts(*arguments)
    return np.sort(train if config.part == "train" else held_out).astype(np.int64)


def _sweep(
    scan: ScanData,
    predictor: PatchPredictor,
    positions: np.ndarray,
    sums: Sums,
    sweeps: list[Groups],
    config: ReconstructConfig,
    progress: Progress,
) -> None:
    """Stream groups of patterns through the network onto one canvas; in each sweep every pattern leads one group."""
    device = predictor.mask.device
    total, done = sum(len(groups) for groups in sweeps), 0
    for number, groups in enumerate(sweeps):
        for batch in np.split(groups, range(step := max(1, config.batch // groups.shape[1]), len(groups), step)):
            counts, shape = _read(scan, batch), batch.shape
            patches = predictor.patches(counts.to(device)).flatten(0, 1)
            corners, fractions = split_positions(torch.from_numpy(positions[batch.reshape(-1)]).to(device))
            intensity = probe_intensity(shift_probe(predictor.probe, fractions))
            sums.add(align(patches[None], fractions)[0], intensity, corners[0])
            if number == 0:
                leaders = slice(None, None, shape[1])
                sums.illuminate(intensity[leaders], corners[0, leaders])
            done += len(batch)
            progress("reconstruct", done, total)


def _read(scan: ScanData, batch: Groups) -> Tensor:
    """Counts of groups in FFT order, (group, channel, N, N); every pattern is read once."""
    patterns, place = np.unique(batch, return_inverse=True)
    counts = to_fft_order(torch.from_numpy(np.asarray(scan.counts[patterns], np.float32)))
    return counts[torch.from_numpy(place.reshape(batch.shape))]


def _sweeps(positions: np.ndarray, gridsize: int, config: ReconstructConfig) -> list[Groups]:
    """Groups of every sweep, in the order of their leaders, so that a lazy scan is read front to back."""
    count = config.groups_per_pattern if gridsize > 1 else 1
    sweeps = (
        group_neighbours(positions, gridsize, config.neighbor_count, None, config.seed + number)
        for number in range(count)
    )
    return [groups[groups[:, 0].argsort()] for groups in sweeps]


def _ledger(
    scan: ScanData, object_: np.ndarray, illumination: np.ndarray, patch_factor: float, drift: float, photons: float
) -> list[LedgerEntry]:
    """Amplitude from counts to object, as rms transmission weighted by probe intensity.

    `patch_factor` is the rms transmission of the patches as the network gave them.
    """
    counted = math.sqrt(float(pattern_sums(scan).mean()) / photons)
    light = illumination.astype(np.float64)

    def rms(image: np.ndarray) -> float:
        return math.sqrt(float((light * np.abs(image) ** 2).sum() / light.sum()))

    truth = counted if scan.truth is None else rms(scan.truth)
    source = "no truth: as counted" if scan.truth is None else "truth"
    final = rms(object_)
    return [
        LedgerEntry("transmission", truth, counted, f"rms transmission by counts over vacuum photons; {source}"),
        LedgerEntry("network", 1.0, patch_factor / counted, "rms of patches over rms by counts"),
        LedgerEntry("stitching", 1.0, final / drift / patch_factor, "rms of the stitched object over rms of patches"),
        LedgerEntry("intensity scaler", 1.0, drift, "learned over initial intensity scale"),
        LedgerEntry("total", truth, final, f"rms of the object; {source}"),
    ]
