"""The `reconstruct` stage: a scan in, its object out, by the unrolled solver or by a patch network of `train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Complex64

from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.shared import default_of, option_name, show_value
from ptypinn.data.depth import SLICES, THIN, compute_tilt, require_thin
from ptypinn.data.detector_mtf import require_sharp
from ptypinn.data.monitor import require_no_monitor
from ptypinn.data.near_field import resolve_geometry
from ptypinn.data.pattern_form import require_far_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.scan_rotation import follow_disk, straighten_scan
from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.models.model_file import PatchModel, Weights, is_weights_file, load_patch_model, load_weights
from ptypinn.solvers.multislice import has_phase_slices, without_slices
from ptypinn.solvers.near_field import reconstruct_near_field
from ptypinn.solvers.patch_network.reconstruct import reconstruct_patches
from ptypinn.solvers.phase_stack import reconstruct_phase_stack
from ptypinn.solvers.unrolled.rank_jobs import require_alone
from ptypinn.solvers.unrolled.reconstruct import reconstruct_unrolled
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, silent
from ptypinn.utils.solve_meter import measure_solve

Model = str | Path | PatchModel | Weights
SolverConfig = ReconstructConfig | PatchNetworkConfig


def reconstruct(
    scan: ScanData,
    model: Model | None = None,
    config: SolverConfig | None = None,
    *,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    watch: SnapshotCallback | None = None,
    solved_probe: Complex64[np.ndarray, "mode y x"] | None = None,
) -> Reconstruction:
    """Reconstruct a scan.

    Without a model, the unrolled solver runs with the weights that come with the package: nothing has to be trained.
    Weights of `pretrain` or `finetune` take their place. A model of `train` (a patch network) is applied to the
    patterns in one sweep.

    The object comes out in transmission units: nothing is fitted to a truth or rescaled afterwards, unless the
    configuration asks for it. Canvas pixels that no probe reaches hold 1 (vacuum) and have illumination 0.

    Args:
        scan: The scan.
        model: Weights, a model of `train`, or the file or run folder of either; None for the weights that come with the
            package.
        config: Options: a `ReconstructConfig` for the unrolled solver, a `PatchNetworkConfig` for a model of `train`.
        folder: Folder for finished tiles until all are done, so that an interrupted call continues; on a cluster, a
            folder that all its machines share. None for a temporary one.
        progress: Called as `progress("reconstruct", done, total)`, in rounds, tiles or patterns.
        watch: Called after every round or tile of the unrolled solver with a function that returns the current
            reconstruction; 1 and without illumination where no tile is done.
        solved_probe: Probe that was solved for on this scan before, as while it was in progress, which the first rounds
            of the unrolled solver hold; None to solve for it.

    Raises:
        InputError: Where scan and model, or model and configuration, do not fit each other.
    """
    report = progress or silent
    refine_focus = scan.fresnel_number is None and scan.option("focus_distance_m", None) is None
    scan = resolve_geometry(scan)
    require_thin(scan)
    network = load_model(model)
    config = config or config_kind(network)()
    with cpu_threads(config.threads), measure_solve(pick_device(config.device)) as meter:
        if isinstance(network, PatchModel):
            recon = _apply_patch_network(scan, network, config, report)
        else:
            _require_kind(config, ReconstructConfig, "the unrolled solver")
            assert isinstance(config, ReconstructConfig)
            if config.flux == "constant" and scan.flux is not None:
                raise InputError("--flux", "", "constant beside a beam monitor", "auto or solve, or --monitor none")
            if scan.fresnel_number is not None:
                require_alone("the solver of near fields")
                recon = reconstruct_near_field(scan, config, report, watch, refines_focus=refine_focus)
            else:
                place = None if folder is None else Path(folder)
                recon = _reconstruct_far_field(scan, network, config, report, watch, place, solved_probe)
        return recon.with_cost(meter.record(scan.n_patterns))


def _apply_patch_network(scan: ScanData, network: PatchModel, config: SolverConfig, report: Progress) -> Reconstruction:
    """Reconstruct a scan by a model of `train`, in one sweep."""
    require_far_field(scan)
    require_sharp(scan, "models of `train`; the solver of `reconstruct` has it")
    require_no_monitor(scan, "models of `train`; the solver of `reconstruct` has it")
    _require_kind(config, PatchNetworkConfig, "a model of `train`")
    assert isinstance(config, PatchNetworkConfig)
    _refuse_grouping(config, network)
    require_alone("a patch network")
    return reconstruct_patches(scan, network, config, report)


def _reconstruct_far_field(
    scan: ScanData,
    network: Weights,
    config: ReconstructConfig,
    progress: Progress,
    watch: SnapshotCallback | None,
    folder: Path | None,
    solved_probe: Complex64[np.ndarray, "mode y x"] | None,
) -> Reconstruction:
    """Reconstruct a far-field scan of a thin or a thick sample, after its positions are turned as its beam shows."""
    is_free, follows = (
        choice == "solve" or (choice == "auto" and config.assume != "ideal")
        for choice in (config.positions, config.beam)
    )
    scan, still = follow_disk(scan) if follows else (scan, None)
    recorded = scan.positions_px
    scan, beam = straighten_scan(scan, still) if is_free else (scan, None)
    probe = solved_probe if scan.positions_px is recorded and scan.beam_px is None else None
    if config.slices != 1:
        require_alone("the solver of thick samples")
    if config.slices != 1 and config.sample_tilt_mrad != "auto":
        scan = scan.replace(sample_tilt=compute_tilt(scan, config.sample_tilt_mrad))
    is_thin = False
    if has_phase_slices(scan, config):
        if (stack := reconstruct_phase_stack(scan, config, progress, watch, beam, folder=folder)) is not None:
            return stack
        is_thin, config = True, without_slices(config)
    recon = reconstruct_unrolled(
        scan, network, config, progress, folder=folder, watch=watch, beam=beam, solved_probe=probe
    )
    recon = replace(recon, provenance={**recon.provenance, SLICES: THIN}) if is_thin else recon
    return replace(recon, sample_tilt=None) if recon.slices is None else recon


def load_model(model: Model | None) -> PatchModel | Weights:
    """Load what `model` names: weights of the unrolled solver, or a model of `train`.

    Raises:
        InputError: Where it is neither.
    """
    if isinstance(model, PatchModel | Weights):
        return model
    if model is not None and Path(model).is_dir():
        model = next(iter(sorted(Path(model).glob("*.safetensors"))), model)
    if model is None or is_weights_file(model):
        return load_weights(model)
    return load_patch_model(model)


def config_kind(network: PatchModel | Weights) -> type[ReconstructConfig] | type[PatchNetworkConfig]:
    """Return the class of the configuration that goes with a model."""
    return PatchNetworkConfig if isinstance(network, PatchModel) else ReconstructConfig


def _require_kind(config: SolverConfig, kind: type, user: str) -> None:
    if not isinstance(config, kind):
        raise InputError("config", "", type(config).__name__, f"{kind.__name__}, the options of {user}")


def _refuse_grouping(config: PatchNetworkConfig, bundle: PatchModel) -> None:
    """Raise `InputError` for options of groups where the network takes single patterns."""
    for name in ("neighbour_count", "groups_per_pattern"):
        if bundle.header.gridsize == 1 and (value := getattr(config, name)) != default_of(PatchNetworkConfig, name):
            expected = f"a model with gridsize above 1 as well, which reads it; {bundle.source} has 1"
            raise InputError(option_name(name), "", show_value(value), expected)
