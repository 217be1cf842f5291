"""Which way round patterns and positions belong: what the data tell, what they cannot, and which option sets it."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import InfoConfig, LoadConfig
from ptypinn.config.shared import format_option
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.orientation import ORIENTATIONS, Orientation, derive, rotation_matrix, undo_matrix
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.report.figures.scan import orient_figure
from ptypinn.report.figures.style import png_bytes
from ptypinn.report.text.orientation import orient_lines
from ptypinn.stages.orient import SURE, Candidate, Ranking, orient
from ptypinn.stages.simulate import simulate

PLAIN = Orientation()
KINDS = ("patterns", "positions")
FEW = InfoConfig(orient_patterns=36, orient_iterations=4)
SMALL = {"size": 32, "object_size": (64, 64), "n_patterns": 49, "photons": 1e6, "seed": 5}
orientations = st.sampled_from(ORIENTATIONS)


def simulated(**changes):
    return simulate(SimulateConfig(**{**SMALL, **changes})).replace(truth=None)


def options_of(ranking, what):
    return ranking.load_options(ranking.best)[what]


@pytest.fixture(scope="module")
def scan():
    """A probe out of focus, whose twin differs."""
    return simulated()


@pytest.fixture(scope="module")
def ranking(scan):
    return orient(scan, FEW)


@given(orientations, orientations)
def test_orientations_compose_as_they_act_on_images_and_positions(first, then):
    rng = np.random.default_rng(0)
    images, positions, both = rng.random((2, 6, 6)), rng.random((5, 2)), then.after(first)
    np.testing.assert_array_equal(both.images(images), then.images(first.images(images)))
    np.testing.assert_array_equal(both.positions(positions), then.positions(first.positions(positions)))
    assert both in ORIENTATIONS
    assert first.inverse.after(first).is_identity
    np.testing.assert_array_equal(first.half_turn.positions(positions), -first.positions(positions))


@pytest.mark.parametrize("mounted", ORIENTATIONS, ids=str)
def test_every_way_to_mount_the_camera_is_recovered(scan, mounted):
    scrambled = derive(scan, mounted, PLAIN, None)
    counts = scrambled.counts.copy()
    ranking = orient(scrambled, FEW)
    np.testing.assert_array_equal(scrambled.counts, counts, "nothing is applied")
    assert ranking.margin >= SURE
    assert ranking.verdict(ranking.runner_up) == ranking.verdict(ranking.twin) == "sure"
    options = options_of(ranking, "camera")
    straight = derive(scrambled, Orientation(*options.values()), PLAIN, None)
    np.testing.assert_array_equal(straight.counts, scan.counts)


def test_the_options_it_names_read_the_scan_in_the_best_orientation(scan, tmp_path):
    path, wrong = tmp_path / "scan.h5", LoadConfig(transpose_patterns=True, flip_positions="y")
    save(scan, path)
    before = orient(load(path, wrong), FEW)
    assert not before.best.is_as_read
    for what in ("stage", "camera"):
        right = load(path, dataclasses.replace(wrong, **options_of(before, what)))
        turned = (Orientation(right.option(f"transpose_{x}", False), right.option(f"flip_{x}", "none")) for x in KINDS)
        assert len(set(turned)) == 1, "patterns and positions are turned alike: the scan in a mirror"


def test_a_scan_in_a_mirror_is_as_good_as_the_scan(scan, ranking):
    turn = Orientation(True, "y")
    mirrored = orient(derive(scan, turn, turn, None), FEW)
    assert mirrored.best.is_as_read
    assert mirrored.best.residual == pytest.approx(ranking.best.residual, rel=0.3)
    assert mirrored.margin >= SURE


def test_only_a_probe_that_differs_from_its_twin_tells_twins_apart(ranking):
    assert ranking.verdict(ranking.twin) == "sure"
    symmetric = orient(simulated(probe="disk", probe_diameter_px=12.0), FEW)
    assert {symmetric.best.orientation, symmetric.twin.orientation} == {PLAIN, PLAIN.half_turn}
    assert symmetric.verdict(symmetric.twin) == "open"
    assert symmetric.verdict(symmetric.runner_up) == "sure"
    assert any("not ruled out" in line for line in orient_lines(symmetric))


def test_the_conjugate_probe_makes_the_twin_win(scan):
    ranking = orient(scan.replace(probe=scan.probe.conj()), FEW)
    assert ranking.best.orientation == PLAIN.half_turn


def test_without_a_probe_patterns_in_focus_still_tell_all_but_the_twin():
    scan = simulated(probe="gaussian", probe_diameter_px=8.0)
    ranking = orient(scan.replace(probe=None, probe_gauge="relative"), FEW)
    assert {ranking.best.orientation, ranking.twin.orientation} == {PLAIN, PLAIN.half_turn}
    assert (ranking.verdict(ranking.runner_up), ranking.verdict(ranking.twin)) == ("sure", "open")


def test_nothing_is_sure_about_patterns_that_do_not_overlap():
    rng = np.random.default_rng(0)
    scan = simulated()
    shuffled = scan.replace(positions_px=scan.positions_px[rng.permutation(scan.n_patterns)])
    ranking = orient(shuffled, FEW)
    assert ranking.verdict(ranking.runner_up) == "open"


def test_the_words_say_what_to_set(ranking):
    assert any("Nothing to set" in line for line in orient_lines(ranking))
    read = ranking.scan.replace(provenance={"options": {"transpose_patterns": True, "flip_patterns": "x"}})
    second = dataclasses.replace(ranking, scan=read, candidates=ranking.candidates[::-1])
    best, text = second.best.orientation, "\n".join(orient_lines(second))
    patterns = best.inverse.after(Orientation(True, "x"))
    for kind, turn in zip(KINDS, (patterns, best), strict=True):
        assert f"{format_option(f'transpose_{kind}', turn.transpose)} --flip-{kind} {turn.flip} (" in text
    assert "Nothing has been applied" in text


def test_positions_that_index_a_true_object_are_not_turned(ranking):
    truthful = dataclasses.replace(ranking, scan=simulate(SimulateConfig(**SMALL)))
    assert list(truthful.load_options(truthful.candidates[1])) == ["camera"]


def test_the_ranking_is_json_and_a_picture(ranking):
    plain = json.loads(json.dumps(ranking.to_dict(), allow_nan=False))
    residuals = [one["residual"] for one in plain["ranking"]]
    assert residuals == sorted(residuals)
    assert len(residuals) == 8
    assert sum(one["twin_of_best"] for one in plain["ranking"]) == 1
    assert plain["stored_orientation_is_best"]
    named = dataclasses.replace(ranking, scan=ranking.scan.replace(provenance={"file": "a $x^{2 b$.h5"}))
    assert png_bytes(orient_figure(named)).startswith(b"\x89PNG")


def test_too_few_patterns_are_refused(scan):
    with pytest.raises(InputError, match=r"--orient: found 8 patterns, expected at least 9"):
        orient(scan.subset(np.arange(8)))
    with pytest.raises(InputError, match="--orient-patterns"):
        InfoConfig(orient_patterns=8)


def test_the_real_star_is_stored_the_right_way_round(star):
    ranking = orient(load(star), InfoConfig(orient_patterns=60, orient_iterations=12))
    assert ranking.best.is_as_read
    assert ranking.margin >= SURE
    assert ranking.fraction_for_best(ranking.candidates[1]) > 0.95


@given(angle=st.floats(-180, 180), transpose=st.booleans(), flip=st.sampled_from(["none", "y", "x", "yx"]))
def test_a_matrix_is_undone_after_the_flips_about_the_middle(angle, transpose, flip):
    places = np.random.default_rng(3).uniform(0, 40, (9, 2))
    scan = derive(ScanData(np.ones((9, 8, 8), np.uint16), places), Orientation(), Orientation(transpose, flip), None)
    matrix = rotation_matrix(math.radians(angle)) @ np.array([[1.1, 0.05], [0.0, 0.9]])
    middle = scan.positions_px.mean(0)
    recorded = scan.replace(positions_px=(scan.positions_px - middle) @ matrix.T + middle)
    assert np.allclose(undo_matrix(recorded, matrix).positions_px, scan.positions_px)


def test_a_turn_and_a_matrix_are_options_of_reading(tmp_path):
    faults = {"rotation:20": {"scan_rotation_deg": 20.0}}
    turned = simulate(SimulateConfig(**SMALL, faults=("affine:1.03:0.97:5:0.02",)))
    matrix = turned.experiment.position_matrix
    faults["affine:1.03:0.97:5:0.02"] = {"scan_matrix": tuple(matrix.ravel().tolist())}
    for fault, options in faults.items():
        scan = simulate(SimulateConfig(**SMALL, faults=(fault,)))
        path = save(scan, tmp_path / "scan.h5")
        moves = load(path, LoadConfig(**options)).positions_px - scan.experiment.positions_px
        assert np.abs(moves - moves.mean(0)).max() < 1e-9
        wrong = load(path).positions_px - scan.experiment.positions_px
        assert np.abs(wrong - wrong.mean(0)).max() > 0.5


def test_a_truth_that_turned_positions_leave_is_named(tmp_path):
    path = save(simulate(SimulateConfig(**SMALL)), tmp_path / "scan.h5")
    scan = load(path, LoadConfig(scan_rotation_deg=45.0))
    assert scan.truth is None
    assert any("true object" in lost for lost in scan.provenance["left_out"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scan_rotation_deg": 20.0, "scan_matrix": (1.0, 0.0, 0.0, 1.0)}, "--scan-rotation-deg"),
        ({"scan_rotation_deg": 400.0}, "--scan-rotation-deg"),
        ({"scan_rotation_deg": math.nan}, "--scan-rotation-deg"),
        ({"scan_matrix": (1.0, 1.0, 1.0, 1.0)}, "--scan-matrix"),
        ({"scan_matrix": (1.0, math.nan, 0.0, 1.0)}, "--scan-matrix"),
    ],
)
def test_turns_that_nothing_undoes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        LoadConfig(**options)


@pytest.mark.parametrize(("flip", "degrees"), [("none", -17.0), ("x", 23.0)])
def test_a_turn_beside_the_orientation_is_measured_and_stated_as_the_option_takes_it(tmp_path, flip, degrees):
    path = save(simulated(faults=(f"rotation:{degrees}",)), tmp_path / "scan.h5")
    ranking = orient(load(path, LoadConfig(flip_patterns=flip)), FEW)
    assert ranking.best_turned_back.residual < 0.5 * ranking.best.residual
    options = options_of(ranking, "camera")
    assert options["flip_patterns"] == "none"
    assert options["scan_rotation_deg"] == pytest.approx(degrees, abs=2)
    assert any("turned by about" in line for line in orient_lines(ranking))
    right = orient(load(path, LoadConfig(**options)), FEW)
    assert right.best_turned_back is None
    assert right.best.is_as_read


def test_no_turn_is_stated_where_there_is_none(scan):
    assert orient(scan, FEW).rotation_deg == 0


MATRIX = (1.05, 0.1, -0.2, 0.9)


@given(orientations, orientations, st.sampled_from([0.0, 25.0]))
def test_options_beside_a_matrix_read_the_positions_that_rank_first(read, best, degrees):
    places = np.random.default_rng(0).random((9, 2)) * 20
    file = ScanData(np.ones((9, 8, 8), np.uint8), places - places.mean(0))
    given = {"scan_matrix": MATRIX, "transpose_positions": read.transpose, "flip_positions": read.flip}
    scan = undo_matrix(derive(file, PLAIN, read, None), np.reshape(MATRIX, (2, 2))).replace(
        provenance={"options": given}
    )
    candidates = [
        Candidate(one, 1.0 + (one != best), np.ones(9), np.ones((2, 2), np.complex64)) for one in ORIENTATIONS
    ]
    ranked = Ranking(scan, FEW, tuple(sorted(candidates, key=lambda one: one.residual)), degrees)
    wanted = best.positions(scan.positions_px) @ rotation_matrix(np.deg2rad(degrees))
    for what, others in (("stage", PLAIN), ("camera", best)):
        options = {**given, **ranked.load_options(ranked.best)[what]}
        flipped = Orientation(options["transpose_positions"], options["flip_positions"]).positions(file.positions_px)
        places = flipped @ np.linalg.inv(np.reshape(options["scan_matrix"], (2, 2))).T
        np.testing.assert_allclose(others.positions(places), wanted, atol=1e-3)


def test_the_verdict_counts_the_turn_that_explains_the_patterns(ranking):
    residuals = [0.09, 0.092, *[0.095] * 6]
    order = [PLAIN, Orientation(True), *(one for one in ORIENTATIONS if one not in (PLAIN, Orientation(True)))]
    poor = tuple(
        dataclasses.replace(ranking.best, orientation=one, residual=residual, per_pattern=np.full(9, residual))
        for one, residual in zip(order, residuals, strict=True)
    )
    open_one = dataclasses.replace(ranking, candidates=poor)
    assert open_one.verdict(open_one.runner_up) == "open"
    turned = dataclasses.replace(poor[0], residual=0.02, per_pattern=np.full(9, 0.02))
    sure = dataclasses.replace(open_one, best_turned_back=turned, rotation_deg=43.0)
    assert sure.verdict(sure.runner_up) == "sure"
    assert sure.verdict(sure.twin) == "open"
    assert any("4.60 times as well" in line for line in orient_lines(sure))


def test_a_matrix_that_asks_for_a_huge_canvas_is_refused_when_it_is_read(scan, tmp_path):
    path = save(scan.replace(positions_px=3 * scan.positions_px), tmp_path / "scan.h5")
    with pytest.raises(InputError, match="canvas"):
        load(path, LoadConfig(scan_matrix=(0.0011, 0.0, 0.0, 0.0011)))
