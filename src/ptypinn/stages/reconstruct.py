"""The `reconstruct` stage: a scan in, its object out, by the learned solver or by a network trained on such scans."""

from __future__ import annotations

from pathlib import Path

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.shared import TilingConfig
from ptypinn.data.near_field import require_far_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import Bundle, Weights, is_weights, load_bundle, load_weights
from ptypinn.solvers.patch_network.reconstruct import reconstruct_patches
from ptypinn.solvers.unrolled.reconstruct import reconstruct_unrolled
from ptypinn.utils.device import cpu_threads
from ptypinn.utils.progress import Progress, silent
from ptypinn.runs.snapshots import SnapshotCallback

Model = str | Path | Bundle | Weights


def reconstruct(
    scan: ScanData,
    model: Model | None = None,
    config: ReconstructConfig | None = None,
    *,
    windows: TilingConfig | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    watch: SnapshotCallback | None = None,
) -> Reconstruction:
    """Reconstruct a scan.

    Without a model, the learned solver runs with the weights that come with the package: nothing has to be trained.
    Weights of `pretrain` or `finetune` take their place. A bundle of `train` is applied to the patterns in one sweep.

    The object comes out in transmission units: nothing is fitted to a truth or rescaled afterwards, unless the
    configuration asks for it. Canvas pixels that no probe reaches hold 1 (vacuum) and have illumination 0.

    Args:
        scan: The scan.
        model: Weights, a bundle, or the file of either; None for the weights that come with the package.
        config: How to reconstruct.
        windows: Memory that the learned solver may take; larger scans are solved in windows that overlap.
        folder: Where finished windows are kept until all are done, so that an interrupted call goes on; on a cluster, a
            folder that all its machines see. None for a temporary one.
        progress: Called as `progress("reconstruct", done, total)`, in rounds, windows or patterns.
        watch: Called after every round or window of the learned solver with a function that gives the reconstruction so
            far; 1 and without light where no window is done.

    Raises:
        InputError: Where scan and model do not fit each other.
    """
    config, report = config or ReconstructConfig(), progress or silent
    require_far_field(scan)
    found = _read(model)
    with cpu_threads(config.threads):
        if isinstance(found, Bundle):
            return reconstruct_patches(scan, found, config, report)
        place = None if folder is None else Path(folder)
        return reconstruct_unrolled(scan, found, config, report, tiling=windows, folder=place, watch=watch)


def _read(model: Model | None) -> Bundle | Weights:
    if isinstance(model, Bundle | Weights):
        return model
    if model is None or is_weights(model):
        return load_weights(model)
    return load_bundle(model)
