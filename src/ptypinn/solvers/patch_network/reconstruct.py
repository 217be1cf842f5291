"""Reconstruct a scan patch by patch with a trained network, merge the patches to one object, and finalise it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.grouping import split_parts
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.models.model_file import PatchModel
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.propagation import to_fft_order
from ptypinn.scale import LedgerEntry, StatsRecorder
from ptypinn.scale_audit.merge_entries import build_merge_entries
from ptypinn.scale_audit.network_entries import build_network_entries
from ptypinn.solvers.patch_network.aggregate import PatchAggregator, draw_groups, run_network
from ptypinn.solvers.postprocess import finalise
from ptypinn.utils.device import pick_device
from ptypinn.utils.plain_values import to_plain
from ptypinn.utils.progress import Progress


def reconstruct_patches(
    scan: ScanData, bundle: PatchModel, config: PatchNetworkConfig, progress: Progress
) -> Reconstruction:
    """Apply a bundle to a scan in one sweep, in memory that does not grow with the scan's length.

    Args:
        scan: The scan; need not be the one that the network was trained on.
        bundle: The trained network.
        config: Which part, which probe, how much at once.
        progress: Called as `progress("reconstruct", patterns_done, patterns)`.

    Raises:
        InputError: Where scan and bundle do not fit each other.
    """
    require_size(scan.size, bundle, scan.source)
    scan = scan if scan.probe is None else calibrate_probe(scan)
    index = _part(scan, bundle, config)
    part = calibrate_probe(choose_probe(scan, bundle, config))
    part = part if index is None else part.subset(index)
    merged = _run_network(part, bundle, config, progress)
    reconstruction = _to_reconstruction(merged, part, index, bundle, config)
    return finalise(
        reconstruction,
        part,
        device=merged.device,
        batch=config.batch_size,
        prediction_scale=config.prediction_scale,
        recorded_gauge=bundle.header.gauge,
        run_entries=lambda fit: merged.ledger_entries(bundle, part, reconstruction.well_illuminated(), fit),
        whole_scan=scan,
    )


@dataclass(frozen=True)
class _MergedPatches:
    """Result of one sweep of the network over a scan, on the device."""

    object: Tensor
    """Merged object, (height, width)."""
    constant_response: Tensor
    """Result of the same merge for patches that are 1 everywhere, (height, width)."""
    aggregator: PatchAggregator
    predictor: PatchPredictor
    recorder: StatsRecorder
    device: torch.device

    def ledger_entries(
        self, bundle: PatchModel, scan: ScanData, well_illuminated: np.ndarray, fit: DataFit
    ) -> list[LedgerEntry]:
        """Return the ledger entries that only this run could measure: of the network, and of the merge."""
        sums = self.aggregator
        photons = float(fit.measured_map[scan.good].sum()) / scan.n_patterns
        merge = build_merge_entries(
            self.object,
            self.constant_response,
            sums.constant[0],
            sums.weights[0],
            sums.illumination[0],
            well_illuminated,
        )
        return [*build_network_entries(self.recorder.collect(), self.predictor, bundle.header, photons), *merge]


def _run_network(scan: ScanData, bundle: PatchModel, config: PatchNetworkConfig, progress: Progress) -> _MergedPatches:
    """Run the network over a scan, or a part of one, and merge its patches."""
    device = pick_device(config.device)
    predictor = make_predictor(scan, bundle, device)
    (_, shape), positions = canvas_frame(scan), canvas_positions(scan)
    aggregator, recorder = PatchAggregator.empty(shape, device), StatsRecorder()
    with torch.inference_mode():
        rounds = draw_groups(
            positions, scan.size, bundle.header.gridsize, config.neighbour_count, config.groups_per_pattern, config.seed
        )
        run_network(
            scan,
            predictor,
            positions,
            aggregator,
            rounds,
            batch=config.batch_size,
            progress=progress,
            recorder=recorder,
        )
        merged, response = aggregator.merge(predictor.scaler.drift)
    require_finite(merged, bundle)
    return _MergedPatches(merged, response, aggregator, predictor, recorder, device)


def _to_reconstruction(
    merged: _MergedPatches, scan: ScanData, index: np.ndarray | None, bundle: PatchModel, config: PatchNetworkConfig
) -> Reconstruction:
    record = {
        "stage": "reconstruct",
        "config": asdict(config),
        "model": {"file": bundle.source, **asdict(bundle.header)},
        "scan": scan.record,
    }
    return Reconstruction(
        object=merged.object.cpu().numpy(),
        illumination=merged.aggregator.illumination[0].cpu().numpy(),
        probe=scan.require_probe(),
        positions_px=canvas_positions(scan),
        origin_px=canvas_frame(scan)[0],
        pixel_size_m=scan.pixel_size_m,
        patterns=index,
        background=scan.background,
        provenance=to_plain(record),
    )


def require_size(size: int, bundle: PatchModel, source: str) -> None:
    """Raise `InputError` for patterns of another size than a network takes.

    Args:
        size: Edge of the patterns, pixels.
        bundle: The trained network.
        source: Name of the scan in the message.
    """
    if size != bundle.header.size:
        actual = f"patterns of {size} pixels"
        raise InputError(source, "counts", actual, f"{bundle.header.size} pixels, as in {bundle.source}")


def require_finite(merged: Tensor, bundle: PatchModel) -> None:
    """Raise `InputError` for an object with values that are not finite."""
    if not bool(torch.isfinite(merged).all()):
        raise InputError(
            bundle.source, "network", "an object that is not finite", "a model with finite weights; train it again"
        )


def make_predictor(scan: ScanData, bundle: PatchModel, device: torch.device) -> PatchPredictor:
    """Return the network for patterns with the mask of a scan and its probe, sqrt(photons)."""
    probe = torch.from_numpy(scan.require_probe())
    return bundle.predictor(probe, to_fft_order(torch.from_numpy(scan.good))).to(device)


def choose_probe(scan: ScanData, bundle: PatchModel, config: PatchNetworkConfig) -> ScanData:
    """Return a scan with the probe that a network is applied with: its own, or that of the model."""
    from_bundle = config.probe_source == "model" or (
        config.probe_source == "auto" and (bundle.header.trained_probe or scan.probe is None)
    )
    if not from_bundle:
        return scan
    factor = 1.0
    if config.probe_source == "auto" and scan.probe is not None:  # shape of the model, photons of the scan
        factor = math.sqrt(
            float(probe_photons(torch.from_numpy(calibrate_probe(scan).require_probe())) / probe_photons(bundle.probe))
        )
    return scan.replace(probe=bundle.probe.numpy() * np.float32(factor), probe_gauge="calibrated")


def _part(scan: ScanData, bundle: PatchModel, config: PatchNetworkConfig) -> np.ndarray | None:
    """Patterns of the part that the configuration names; None for all."""
    if config.subset == "all":
        return None
    split = bundle.header.provenance.get("config", {})
    if split.get("split_axis", "none") == "none":
        raise InputError("--subset", "", repr(config.subset), "all: the network was trained on the whole scan")
    arguments = (scan.positions_px, split["split_axis"], split["split_fraction"], split["split_gap_px"])
    train, held_out = split_parts(*arguments)
    return np.sort(train if config.subset == "train" else held_out).astype(np.int64)
