"""Reconstruct a scan patch by patch with a trained network, and stitch the patches to one object."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.canvas import canvas_frame
from ptypinn.data.grouping import split_parts
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import DataFit
from ptypinn.models.model_file import Bundle
from ptypinn.physics.forward import power, to_fft_order
from ptypinn.scale import LedgerEntry, Tape
from ptypinn.scale_audit.ledger import with_account
from ptypinn.scale_audit.merge_entries import merge_entries
from ptypinn.scale_audit.network_entries import sweep_entries
from ptypinn.solvers.patch_network.aggregate import Sums, rounds_of_groups, sweep
from ptypinn.solvers.postprocess import scale_prediction
from ptypinn.uncertainty import with_trust
from ptypinn.utils.device import pick_device
from ptypinn.utils.progress import Progress
from ptypinn.utils.serialise import to_plain


def reconstruct_patches(
    scan: ScanData, bundle: Bundle, config: ReconstructConfig, progress: Progress
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
    if scan.size != bundle.header.size:
        size = f"patterns of {scan.size} pixels"
        raise InputError(scan.source, "counts", size, f"{bundle.header.size} pixels, as in {bundle.source}")
    given = scan if scan.probe is None else calibrate_probe(scan)
    index = _part(scan, bundle, config)
    part = calibrate_probe(_with_probe(given, bundle, config))
    seen = part if index is None else part.subset(index)
    recon, flow, fit = _swept(seen, index, bundle, config, progress)
    return with_account(with_trust(recon, seen, fit), given, flow, fit, seen)


def _swept(
    scan: ScanData, part: np.ndarray | None, bundle: Bundle, config: ReconstructConfig, progress: Progress
) -> tuple[Reconstruction, list[LedgerEntry], DataFit]:
    """Sweep over a scan, or a part of one: the object, what its run did to amplitudes, and how it fits the counts."""
    device = pick_device(config.device)
    probe = torch.from_numpy(scan.require_probe())
    predictor = bundle.predictor(probe, to_fft_order(torch.from_numpy(scan.good))).to(device)
    origin, shape = canvas_frame(scan)
    positions = scan.positions_px - np.asarray(origin, np.float64)
    sums, tape = Sums.empty(shape, device), Tape()
    with torch.inference_mode():
        rounds = rounds_of_groups(
            positions, bundle.header.gridsize, config.neighbor_count, config.groups_per_pattern, config.seed
        )
        sweep(scan, predictor, positions, sums, rounds, batch=config.batch, progress=progress, tape=tape)
        stitched, response = sums.stitched(predictor.scaler.drift)
    if not bool(torch.isfinite(stitched).all()):
        raise InputError(
            bundle.source, "network", "an object that is not finite", "a model with finite weights; train it again"
        )
    found = Reconstruction(
        object=stitched.cpu().numpy(),
        illumination=sums.illumination[0].cpu().numpy(),
        probe=scan.require_probe(),
        positions_px=positions,
        origin_px=origin,
        pixel_size_m=scan.pixel_size_m,
        patterns=part,
        provenance=to_plain(
            {
                "stage": "reconstruct",
                "config": asdict(config),
                "model": {"file": bundle.source, **asdict(bundle.header)},
                "scan": scan.record,
            }
        ),
    )
    found, fit = scale_prediction(found, scan, config.prediction_scale, bundle.header.gauge, config.batch, device)
    merge = merge_entries(stitched, response, sums.constant[0], sums.weights[0], sums.illumination[0], found.well_lit())
    flow = sweep_entries(tape.read(), predictor, bundle.header, _mean_photons(scan, fit))
    return found, [*flow, *merge], fit


def _mean_photons(scan: ScanData, fit: DataFit) -> float:
    return float(fit.measured_map[scan.good].sum()) / scan.n_patterns


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
