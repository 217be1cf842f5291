"""Solves that one process and two do alike, and the two processes."""

import socket
from dataclasses import replace

import numpy as np
import torch
from torch import multiprocessing

from ptypinn.config.simulate import SimulateConfig
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.solver import follow, solve_scan
from ptypinn.stages.simulate import simulate
from ptypinn.utils.rank_start import RankStart
from ptypinn.utils.ranks import join_ranks

KNOWN = UnrolledOptions(refine_probe=False)
CASES = {
    "known probe": (KNOWN, 8),
    "no network": (KNOWN, 3),
    "probe modes": (UnrolledOptions(probe_modes=2, probe_rounds=5), 2),
    "flux": (replace(KNOWN, solve_flux=True), 3),
    "background": (replace(KNOWN, solve_background=True), 5),
    "beam": (replace(KNOWN, solve_beam=True), 3),
    "beam with the probe": (UnrolledOptions(solve_beam=True, probe_rounds=3), 2),
    "varying probe": (UnrolledOptions(probe_rounds=3), 2),
    "held-out pixels": (replace(KNOWN, hold_out=True, final_rounds=1), 7),
    "stagnant": (UnrolledOptions(end_stagnant=True, probe_rounds=45), 2),
}


def solve_case(name, watch=None):
    """Solve a small scan, on the present ranks; return arrays of the result."""
    options, rounds = CASES[name]
    scan = case_scan(name)
    result = solve_scan(
        scan, None if name == "no network" else random_network(), options, rounds, torch.device("cpu"), watch=watch
    )
    fields = ("object", "illumination", "probe", "positions_px", "flux", "background", "beam_px", "probe_variation")
    arrays = {field: getattr(result, field) for field in fields if getattr(result, field) is not None}
    return {**arrays, **{f"history {key}": np.array(values) for key, values in result.history.items()}}


def case_scan(name):
    """A scan of 40 rows of patterns or more on a canvas of odd size, sub-pixel positions and a bad pixel."""
    scan = simulate(
        SimulateConfig(
            size=32,
            object_size=(101, 75),
            overlap=0.6,
            photons=2e5,
            probe="disk",
            probe_diameter_px=12.0,
            curvature_rad=2.0,
            seed=3,
        )
    )
    rng = np.random.default_rng(0)
    good = np.ones((32, 32), bool)
    good[3, 5] = False
    order = rng.permutation(scan.n_patterns)
    scan = scan.subset(order).replace(mask=good, positions_px=scan.positions_px[order] + rng.uniform(-0.3, 0.3))
    if name == "varying probe":
        images = (0.05 * scan.probe[None] * np.linspace(-1, 1, 32)).astype(np.complex64)
        weights = np.linspace(-1.7, 1.7, scan.n_patterns)[:, None]
        return scan.replace(probe_variation=images, probe_weights=weights)
    if name == "stagnant":
        return scan.replace(truth=None, positions_px=scan.positions_px + rng.uniform(-2, 2, scan.positions_px.shape))
    return scan


def random_network():
    torch.manual_seed(0)
    network = UnrolledCorrection(CHANNELS, widths=(8, 8, 8, 8)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def solve_together(names, folder, count=2):
    """Solve cases with several processes; the first one writes their results."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{place.getsockname()[1]}"
    multiprocessing.spawn(be_rank, (count, address, list(names), str(folder)), nprocs=count)


def be_rank(rank, count, address, names, folder):
    """Be one of the processes."""
    torch.set_num_threads(1)
    with join_ranks(RankStart(rank, count, rank, address)) as ranks:
        if rank:
            follow(ranks)
            return
        for name in names:
            np.savez(f"{folder}/{name}.npz", **solve_case(name))
        snapshots = []
        solve_case("known probe", watch=lambda make: snapshots.append(make().object) if len(snapshots) < 2 else None)
        np.savez(f"{folder}/snapshots.npz", *snapshots)
        ranks.dismiss()
