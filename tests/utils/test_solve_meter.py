"""Laws of the meter of solves: passes and transforms are those of the solvers, wherever a solve is inside another."""

import numpy as np
import pytest
import torch

from ptypinn import ReconstructConfig, RefineConfig, SimulateConfig, reconstruct, refine, simulate
from ptypinn.config.shared import JobsConfig
from ptypinn.runs.jobs.job import Job
from ptypinn.runs.jobs.run import run_jobs
from ptypinn.utils.solve_meter import SolveMeter, count_pass, measure_solve, transform_s

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(size=32, object_size=(64, 64), photons=1e5, mode_fractions=(0.8, 0.2)))


def test_passes_are_counted_in_parts_and_inside():
    count_pass(10, 2, 64)  # of nothing that is measured
    with measure_solve(CPU) as outer:
        count_pass(10, 2, 64)
        with measure_solve(CPU) as inner:
            count_pass(20, 4, 32)
            count_pass(10, 2, 32, 0.5)
    assert inner.record(10)["passes"] == 2.5
    assert outer.record(10)["passes"] == 3.5
    assert inner.record(10)["fft_bound_share"] > 0
    assert "passes" not in SolveMeter(CPU).record(10)


@pytest.mark.parametrize("size", [32, 64])
def test_a_transform_takes_longer_the_larger_it_is(size):
    assert transform_s(4 * size, CPU) > 4 * transform_s(size, CPU)
    assert torch.get_num_threads() == 1


def test_a_solve_is_on_record_with_all_of_its_passes(scan):
    recon = refine(scan, RefineConfig(iterations=4, device="cpu", threads=1))
    cost = recon.provenance["cost"]
    assert cost["passes"] == recon.provenance["passes"] + 1  # two starts are compared, half a pass each
    assert cost["patterns_per_s"] == pytest.approx(scan.n_patterns / cost["wall_s"])
    assert 0 < cost["fft_bound_share"] < 1 and cost["threads"] == 1
    assert cost["peak_memory_bytes"] > scan.counts.nbytes
    config = ReconstructConfig(rounds=3, refine_probe=False, assume="ideal", polish=0, device="cpu", threads=1)
    recon = reconstruct(scan, config=config)
    assert recon.provenance["cost"]["passes"] == recon.provenance["passes"]


def _solve_nothing(job, folder):
    return {"passes": 1}


def test_work_in_other_processes_is_not_taken_for_the_whole(tmp_path):
    with measure_solve(CPU) as meter:
        count_pass(10, 2, 64)
        run_jobs(_solve_nothing, [Job("one", None)], tmp_path, JobsConfig(workers=0, threads=1))
        assert meter.record(10)["passes"] == 1
        run_jobs(_solve_nothing, [Job("one", None)], tmp_path, JobsConfig(workers=0, threads=1))  # on record already
    assert not {"passes", "fft_bound_share"} & set(meter.record(10))
    assert np.isfinite(meter.record(10)["wall_s"])
