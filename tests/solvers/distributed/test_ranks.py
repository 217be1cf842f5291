"""Several processes solve a scan as one does, to rounding; the shares that they get; what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.shared import TilingConfig
from ptypinn.errors import InputError
from ptypinn.models.unrolled import STRIDE
from ptypinn.solvers.distributed.bands import plan_bands
from ptypinn.solvers.unrolled.rank_jobs import require_room
from rank_cases import CASES, case_scan, solve_case, solve_together


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Results of all cases by two processes, which are started once."""
    folder = tmp_path_factory.mktemp("ranks")
    solve_together(CASES, folder)
    return lambda name: dict(np.load(folder / f"{name}.npz"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_solve_as_one_to_rounding(together, name):
    alone, shared = solve_case(name), together(name)
    assert set(alone) == set(shared)
    for field, values in alone.items():
        expected, actual = ((_coherence(each) if field == "probe" else each) for each in (values, shared[field]))
        tolerance = 1e-4 if field == "probe_variation" else 1e-5  # made by a fit that is less well determined
        assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected), field
    assert name != "stagnant" or len(alone["history probe_loss"]) < CASES[name][0].probe_rounds


def test_the_first_process_sees_the_whole_canvas_in_every_round(together):
    alone = []
    solve_case("known probe", watch=lambda make: alone.append(make().object))
    snapshots = list(together("snapshots").values())
    assert len(snapshots) == 2
    for snapshot, expected in zip(snapshots, alone, strict=False):
        assert np.linalg.norm(snapshot - expected) <= 1e-5 * np.linalg.norm(expected)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.integers(0, 600), min_size=4, max_size=80),
    size=st.sampled_from([8, 16, 33, 64]),
    count=st.integers(1, 6),
)
def test_bands_share_out_all_rows_and_all_patterns_evenly(rows, size, count):
    corners, height = np.stack([rows, np.zeros_like(rows)], 1), max(rows) + size
    bands = plan_bands(corners, size, height, count)
    if bands is None:
        assert count > 1
        return
    assert [band.top for band in bands] == [0, *(band.bottom for band in bands[:-1])]
    assert bands[-1].bottom == height
    assert not any(band.top % STRIDE or band.low % STRIDE for band in bands)
    assert sorted(np.concatenate([band.patterns for band in bands])) == list(range(len(rows)))
    counts = [len(band.patterns) for band in bands]
    assert max(counts) - min(counts) <= 1
    for number, band in enumerate(bands):
        reach = corners[band.patterns, 0]
        assert band.low <= reach.min()
        assert reach.max() + size <= band.high
        others = bands[: max(0, number - 1)] + bands[number + 2 :]
        assert all(band.high <= other.low or other.high <= band.low for other in others)


def test_too_many_processes_are_refused_with_the_number_that_has_room():
    with pytest.raises(InputError, match=r"ranks: found 9, expected at most [2-4]: the canvas of \d+ rows"):
        require_room(case_scan("known probe"), TilingConfig(), 9)


@pytest.mark.parametrize("options", [{"tile_px": 64}, {"workers": 2}, {"memory_gib": 0.1}])
def test_options_of_tiles_and_too_little_memory_are_refused(options):
    with pytest.raises(InputError, match="--" + next(iter(options)).replace("_", "-")):
        require_room(case_scan("known probe"), TilingConfig(**options), 2)


def _coherence(modes):
    """Sum of the modes' outer products, which mixtures of modes leave as it is."""
    flat = torch.from_numpy(modes).flatten(1)
    return (flat.T @ flat.conj()).numpy()
