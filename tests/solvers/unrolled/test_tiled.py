"""Tiles give the result of the whole canvas, cover everything, resume after a stop, and keep to their memory."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import ptypinn as pp
from ptypinn.config.shared import JobsConfig, TilingConfig
from ptypinn.errors import InputError
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.solvers.unrolled import tile_jobs, tiled
from ptypinn.solvers.unrolled.loop import PASSES
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.solver import solve_scan
from ptypinn.solvers.unrolled.tiled import solve_tiled

CPU, KNOWN = torch.device("cpu"), UnrolledOptions(refine_probe=False)
BORDER = 32
"""Pixels at the edge of the canvas that are not compared: a probe array."""


def simulated(**changes):
    config = pp.SimulateConfig(
        object_size=(160, 176), size=32, probe="disk", probe_diameter_px=14.0, curvature_rad=3.0, overlap=0.55, seed=3
    )
    return pp.simulate(dataclasses.replace(config, **changes))


@pytest.fixture(scope="module")
def scan():
    return simulated()


@pytest.fixture(scope="module")
def network():
    """A network whose corrections are those of no training: small, but everywhere and at every scale."""
    torch.manual_seed(0)
    network = UnrolledCorrection(widths=(8, 12, 16, 24)).eval().requires_grad_(False)
    for name, values in network.named_parameters():
        if name.startswith("head.weight"):
            values.copy_(0.03 * torch.randn(values.shape))
        elif name.endswith("second.weight"):
            values.copy_(torch.randn(values.shape) / values[0].numel() ** 0.5)
    return network


def difference(result, wanted, where=(slice(BORDER, -BORDER), slice(BORDER, -BORDER))):
    """Relative difference after one global phase."""
    a, b = result[where].ravel(), wanted[where].ravel()
    overlap = np.vdot(a, b)
    return np.linalg.norm(a * overlap / abs(overlap) - b) / np.linalg.norm(b)


def both(scan, network, rounds=3, options=KNOWN, **tiling):
    options_of_tiles = {"tile_px": 88, **tiling}
    whole = solve_scan(scan, network, options, rounds, CPU)
    return whole, solve_tiled(scan, network, options, rounds, CPU, tiling=TilingConfig(**options_of_tiles))


@pytest.mark.parametrize("corrected", [False, True])
def test_tiles_agree_with_the_whole_canvas(scan, network, corrected):
    whole, by_tiles = both(scan, network if corrected else None)
    error = difference(whole.object, scan.truth)
    assert difference(by_tiles.object, whole.object) < min(2e-3, 0.2 * error)
    np.testing.assert_array_equal(by_tiles.illumination, whole.illumination)
    np.testing.assert_array_equal(by_tiles.positions_px, whole.positions_px)
    assert by_tiles.origin_px == whole.origin_px
    assert by_tiles.passes == whole.passes
    np.testing.assert_allclose(by_tiles.history["loss"], whole.history["loss"], rtol=0.2)


def test_tiles_are_shown_as_they_are_solved(scan):
    snapshots = []
    tiling = TilingConfig(tile_px=88)
    solution = solve_tiled(scan, None, KNOWN, 1, CPU, tiling=tiling, watch=lambda look: snapshots.append(look()))
    assert len(snapshots) == 3  # four tiles: the last is the end
    illuminated = [(one.illumination > 0).mean() for one in snapshots]
    assert 0.1 < illuminated[0] < illuminated[1] < illuminated[2] < (solution.illumination > 0).mean()
    first = snapshots[0].illumination > 0
    np.testing.assert_array_equal(snapshots[0].illumination[first], solution.illumination[first])
    inner = first.copy()
    inner[72:] = inner[:, 72:] = False  # away from where tiles are blended
    assert difference(snapshots[0].object, solution.object, np.nonzero(inner)) < 1e-3
    assert (snapshots[0].object[~first] == 1).all()
    np.testing.assert_array_equal(snapshots[0].positions_px, solution.positions_px)


def test_the_network_is_at_work_in_tiles(scan, network):
    plain, corrected = (both(scan, some)[1].object for some in (None, network))
    assert difference(corrected, plain) > 5e-3


@pytest.mark.parametrize("changes", [{"scan": "fermat"}, {"integer_positions": True}], ids=["fermat", "integer"])
def test_irregular_and_integer_positions(network, changes):
    whole, by_tiles = both(simulated(**changes), network)
    assert difference(by_tiles.object, whole.object) < 2e-3


def test_a_scan_with_a_hole_and_an_empty_corner(scan, network):
    centre = scan.positions_px + scan.size / 2
    hole = np.hypot(*(centre - (80, 90)).T) < 30
    corner = (centre > (85, 95)).all(1)
    part = scan.subset(np.flatnonzero(~hole & ~corner))
    whole, by_tiles = both(part, network, tile_px=64, halo_px=48)
    illuminated = whole.illumination > 0.2 * whole.illumination.max()
    assert difference(by_tiles.object, whole.object, illuminated) < 5e-3
    assert (by_tiles.object[whole.illumination == 0] == 1).all()
    assert (whole.illumination == 0).sum() > 2000


def test_a_scan_without_a_truth_has_its_own_canvas(scan):
    part = scan.replace(truth=None, positions_px=scan.positions_px - (1000.25, -40.5))
    whole, by_tiles = both(part, None)
    assert by_tiles.origin_px == whole.origin_px != (0, 0)
    assert difference(by_tiles.object, whole.object) < 2e-3


@pytest.mark.parametrize("slow", [False, True])
def test_the_flux_of_every_frame_is_that_of_the_whole_canvas(scan, slow):
    """A slow one gives every tile another mean, which the amplitudes of their objects would take up."""
    drift = np.linspace(-0.3, 0.3, scan.n_patterns)
    flux = np.exp(drift if slow else np.random.default_rng(2).normal(0, 0.1, scan.n_patterns))
    flux /= flux.mean()
    dimmed = scan.replace(counts=np.random.default_rng(3).poisson(scan.counts[:] * flux[:, None, None]))
    options = dataclasses.replace(KNOWN, solve_flux=True)
    whole, by_tiles = both(dimmed, None, rounds=12, options=options)
    assert np.std(by_tiles.flux / whole.flux) < 2e-3
    assert np.std(by_tiles.flux / flux) < 1.1 * np.std(whole.flux / flux) < 0.3 * np.std(flux)
    assert by_tiles.flux.mean() == pytest.approx(1, abs=1e-6)
    assert difference(by_tiles.object, whole.object) < 3e-3


def test_a_probe_that_varies_does_so_in_tiles(scan):
    rows = np.arange(scan.size) - scan.size / 2
    weights = np.linspace(-1.7, 1.7, scan.n_patterns)[:, None]
    images = (0.02j * rows[:, None] * scan.probe)[None].astype(np.complex64)
    varying = scan.replace(probe_variation=images, probe_weights=weights)
    whole, by_tiles = both(varying, None)
    assert difference(by_tiles.object, whole.object) < 2e-3
    assert difference(whole.object, both(scan, None)[0].object) > 0.02
    refined = solve_tiled(varying, None, UnrolledOptions(probe_rounds=1), 1, CPU, tiling=TilingConfig(tile_px=88))
    np.testing.assert_array_equal(refined.probe, scan.probe)


def test_a_scan_that_fits_is_one_tile(scan, network):
    options = UnrolledOptions(probe_rounds=2)
    whole = solve_scan(scan, network, options, 2, CPU)
    one = solve_tiled(scan, network, options, 2, CPU)
    np.testing.assert_array_equal(one.object, whole.object)
    np.testing.assert_array_equal(one.probe, whole.probe)


def test_one_probe_is_found_for_all_tiles(scan):
    wrong = scan.replace(probe=simulated(curvature_rad=1.8).probe)
    held = solve_scan(wrong, None, KNOWN, 8, CPU)
    options = TilingConfig(tile_px=88, halo_px=32)
    by_tiles = solve_tiled(wrong, None, UnrolledOptions(probe_rounds=16), 8, CPU, tiling=options)
    assert len(by_tiles.history["probe_loss"]) == 16
    assert by_tiles.passes == 1 + PASSES * 16 + 1 + PASSES * 8
    assert by_tiles.history["loss"][-1] < 0.6 * held.history["loss"][-1]
    assert np.sum(np.abs(by_tiles.probe) ** 2) == pytest.approx(np.sum(np.abs(scan.probe) ** 2), rel=1e-4)


def test_an_interrupted_run_goes_on(scan, network, tmp_path, monkeypatch):
    solved, solve = [], tile_jobs.solve_scan

    def counted(part, *arguments, **options):
        if len(solved) == 2:
            raise KeyboardInterrupt
        solved.append(part.n_patterns)
        return solve(part, *arguments, **options)

    def run(rounds=2):
        options = TilingConfig(tile_px=88)
        return solve_tiled(scan, network, KNOWN, rounds, CPU, tiling=options, folder=tmp_path)

    monkeypatch.setattr(tile_jobs, "solve_scan", counted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(list(tmp_path.rglob("object.npy"))) == 2
    monkeypatch.setattr(
        tile_jobs, "solve_scan", lambda *arguments, **options: (solved.append(0), solve(*arguments, **options))[1]
    )
    resumed = run()
    assert len(solved) == 4  # of four tiles, every one is solved once
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(resumed.object, run().object)


def test_other_settings_start_anew(scan, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise InputError("tile", "", "trouble", "none")

    options = TilingConfig(tile_px=88)
    monkeypatch.setattr(tiled, "stitch_tiles", fail)
    for rounds in (1, 2):
        with pytest.raises(InputError, match="trouble"):
            solve_tiled(scan, None, KNOWN, rounds, CPU, tiling=options, folder=tmp_path)
    assert len(list((tmp_path / tiled.FOLDER).iterdir())) == 2


def test_a_pool_of_processes_gives_the_same(scan, network, tmp_path):
    options = TilingConfig(tile_px=88)
    messages = []
    arguments = (scan, network, KNOWN, 2, CPU)
    here = solve_tiled(*arguments, tiling=options, progress=lambda *arguments, **_: messages.append(arguments))
    pool = solve_tiled(*arguments, tiling=options, jobs=JobsConfig(workers=2), folder=tmp_path)
    np.testing.assert_array_equal(pool.object, here.object)
    assert messages[-1] == ("reconstruct", 4, 4)


class Read:
    """Counts that keep a record of how many patterns are read at once."""

    def __init__(self, counts):
        self.counts, self.shape, self.dtype, self.most = counts, counts.shape, counts.dtype, 0

    def __getitem__(self, key):
        result = self.counts[key]
        self.most = max(self.most, len(result))
        return result


def test_lazy_counts_are_read_batch_by_batch(scan):
    lazy, tiling = scan.replace(counts=Read(scan.counts)), TilingConfig(tile_px=88)
    result = solve_tiled(lazy, None, KNOWN, 1, CPU, tiling=tiling).object
    np.testing.assert_array_equal(result, solve_tiled(scan, None, KNOWN, 1, CPU, tiling=tiling).object)
    assert 0 < lazy.counts.most <= 128


def test_held_out_pixels_are_those_of_the_whole_scan(scan):
    options = UnrolledOptions(refine_probe=False, hold_out=True)
    whole, by_tiles = both(scan, None, options=options)
    other = solve_scan(scan, None, KNOWN, 3, CPU)
    assert difference(by_tiles.object, whole.object) < 0.5 * difference(other.object, whole.object)


def test_too_little_memory_is_refused_with_the_amount_that_suffices(scan):
    with pytest.raises(InputError, match=r"--memory-gib.*at least 0\.\d+ GiB"):
        solve_tiled(scan, None, KNOWN, 1, CPU, tiling=TilingConfig(memory_gib=0.05))


@pytest.mark.parametrize("field", ["memory_gib", "tile_px", "halo_px"])
def test_options_that_cannot_be_are_refused(field):
    with pytest.raises(InputError, match=f"--{field.replace('_', '-')}"):
        TilingConfig(**{field: 0.0 if field == "memory_gib" else 0})


BUDGET_GIB = 0.8
LARGE = f"""
import json, re
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from ptypinn.config.shared import TilingConfig
from ptypinn.data.scan import ScanData
from ptypinn.solvers.unrolled import tile_jobs, tiled
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.models.unrolled import UnrolledCorrection

class Same:
    shape, dtype = (36**2, 32, 32), np.dtype(np.uint16)
    def __getitem__(self, key):
        return np.full((len(np.arange(self.shape[0])[key]), 32, 32), 50, np.uint16)

grid = np.stack(np.meshgrid(*2 * [np.arange(36) * 24.0], indexing="ij"), -1).reshape(-1, 2)
probe = np.full((1, 32, 32), 7, np.complex64)
scan = ScanData(Same(), grid, probe, probe_gauge="calibrated")
solved, solve = [], tile_jobs.solve_scan
tile_jobs.solve_scan = lambda *inputs, **options: (solved.append(1), solve(*inputs, **options))[1]
options = TilingConfig(memory_gib={BUDGET_GIB})
network = UnrolledCorrection().eval().requires_grad_(False)
tiled.solve_tiled(scan, network, UnrolledOptions(refine_probe=False), 1, torch.device("cpu"), tiling=options)
# Not ru_maxrss, which a process inherits from the one that starts it.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps([len(solved), peak / 2**20]))
"""


def test_memory_stays_within_its_budget():
    done = subprocess.run([sys.executable, "-c", LARGE], check=True, capture_output=True, text=True)
    tiles, gib = json.loads(done.stdout.splitlines()[-1])
    assert tiles > 1
    assert 0.5 * BUDGET_GIB < gib < BUDGET_GIB
