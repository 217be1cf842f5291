"""The look at a scan: dose, overlap, dead and saturated pixels, what is missing, and the figure."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import InfoConfig, LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.positions import mean_spacing, survey_positions
from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import survey_patterns
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.report.figures.scan import info_figure
from ptypinn.report.figures.style import png_bytes
from ptypinn.report.text.scan import info_lines, info_table
from ptypinn.stages.info import info
from ptypinn.stages.simulate import simulate


def simulated(**changes):
    return simulate(SimulateConfig(**{"n_patterns": 80, "object_size": (140, 140), "photons": 1e5, **changes}))


def raster(rows, columns, step):
    y, x = np.mgrid[:rows, :columns] * step
    return np.stack([y.ravel(), x.ravel()], 1).astype(float)


@given(st.integers(1, 9), st.integers(2, 9), st.floats(0.5, 30), st.floats(-np.pi, np.pi))
def test_the_spacing_of_a_raster_is_its_step_in_any_direction(rows, columns, step, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert mean_spacing(raster(rows, columns, step) @ turn) == pytest.approx(step, rel=1e-6)


def test_positions_of_one_pattern_have_no_spacing():
    survey = survey_positions(np.zeros((1, 2)))
    assert (survey.spacing_px, survey.nearest_px, survey.extent_px) == (None, None, (0.0, 0.0))


@given(st.integers(1, 40), st.integers(0, 100))
def test_pattern_statistics_do_not_depend_on_the_batch(batch, seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.5, (30, 8, 8)).astype(np.uint16)
    mask = rng.random((8, 8)) > 0.2
    scan = ScanData(counts=counts, positions_px=rng.random((30, 2)), mask=mask)
    survey, good = survey_patterns(scan, batch), counts[:, mask].astype(float)
    np.testing.assert_array_equal(survey.sums, good.sum(1))
    np.testing.assert_array_equal(survey.peaks, good.max(1))
    np.testing.assert_allclose(survey.mean_pattern[mask], good.mean(0))
    assert survey.zero_fraction == pytest.approx((good == 0).mean())


def test_sums_of_bright_patterns_do_not_overflow():
    scan = ScanData(counts=np.full((2, 64, 64), 65535, np.uint16), positions_px=np.zeros((2, 2)))
    np.testing.assert_array_equal(survey_patterns(scan).sums, 65535 * 64**2)


def test_dead_pixels_are_told_from_dark_ones():
    scan = simulated(photons=1e6)
    counts = scan.counts.copy()
    y, x = np.unravel_index(np.argmax(counts.sum(0)), counts.shape[1:])
    assert not survey_patterns(scan).dead.any()
    counts[:, y, x] = 0
    survey = survey_patterns(scan.replace(counts=counts))
    assert np.argwhere(survey.dead).tolist() == [[y, x]]
    masked = scan.good.copy()
    masked[y, x] = False
    assert not survey_patterns(scan.replace(counts=counts, mask=masked)).dead.any()


def test_saturation_is_suspected_only_where_peaks_coincide():
    assert info(simulated(photons=1e6)).saturated_patterns == 0
    clipped = info(simulated(photons=1e6, saturation=500.0))
    assert clipped.saturated_patterns > 40
    assert any("saturation" in warning for warning in clipped.warnings)


def test_patterns_beside_the_zero_frequency_are_named_with_the_option():
    scan = simulated()
    moved = info(scan.replace(counts=np.roll(scan.counts, (2, -1), (1, 2))))
    assert moved.to_dict()["beam_offset_px"] == pytest.approx([2, -1], abs=0.25)
    assert any("at row 34 and column 31: --centre-px" in warning for warning in moved.warnings)
    assert not any("--centre-px" in warning for warning in info(scan).warnings)


def test_overlap_is_that_of_the_simulation():
    look = info(simulated(n_patterns=None, overlap=0.7, scan="raster", object_size=(200, 200)))
    assert look.overlap == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.replace(positions_px=s.positions_px * 1e-3 + 1), "check their unit"),
        (lambda s: s.replace(positions_px=np.repeat(s.positions_px[::2], 2, 0)), "repeat another one"),
        (lambda s: s.subset(np.arange(0, 80, 16)), "overlap by"),
        (lambda s: s.replace(probe=np.roll(s.probe, 32, (-1, -2))), "edge of its array"),
        (lambda s: s.replace(counts=s.counts * (np.arange(80) > 1)[:, None, None]), "no photon"),
    ],
)
def test_doubts_are_put_into_words(change, words):
    clean = simulated()
    assert not any(words in warning for warning in info(clean).warnings)
    assert any(words in warning for warning in info(change(clean)).warnings)


def test_what_is_missing_names_the_option():
    scan = simulated().replace(probe=None, energy_eV=None)
    assert {entry["option"] for entry in info(scan).missing} == {"--probe", "--energy-eV"}
    assert info(simulated()).missing == []


def test_numbers_are_plain_json_and_text_is_complete():
    for scan in (simulated(), simulated().replace(probe=None, energy_eV=None, truth=None).subset(np.arange(1))):
        look = info(scan)
        assert json.loads(json.dumps(look.to_dict(), allow_nan=False)) == look.to_dict()
        assert set(info_table(look)) >= {"File", "Geometry", "Dose", "Detector", "Scan", "Probe"}
        assert not any("nan" in line or "None" in line for line in info_lines(look))


def test_lazy_and_in_memory_scans_look_the_same(tmp_path):
    path = save(simulated(), tmp_path / "scan.h5")
    whole, lazy = (info(load(path, LoadConfig(memory_budget_gib=b)), InfoConfig(7)) for b in (100.0, 1e-9))
    assert lazy.lazy
    assert {**whole.to_dict(), "lazy": True} == lazy.to_dict()


@pytest.mark.parametrize("with_probe", [True, False])
def test_the_figure_draws_and_says_what_it_shows(with_probe):
    scan = simulated(dead_pixels=5)
    scan = scan.replace(probe=np.concatenate([scan.probe, 0.3 * scan.probe]))
    figure = info_figure(info(scan if with_probe else scan.replace(probe=None)))
    titles = [axes.get_title() for axes in figure.axes]
    assert "Mean pattern, log10 counts" in titles
    assert ("Probe phase" in titles) == with_probe
    assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["batch_size", "orient_patterns", "orient_iterations"])
def test_nothing_can_be_told_from_no_patterns_and_no_iterations(name):
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')}"):
        InfoConfig(**{name: 0})


def test_pixels_are_used_where_metres_are_not_known_and_that_is_said():
    scan = simulated(object_size=(100, 100), n_patterns=12)
    unknown = dict.fromkeys(("pixel_size_m", "energy_eV", "detector_distance_m", "detector_pixel_m"))
    missing = {entry["option"]: entry["needed_for"] for entry in info(scan.replace(**unknown)).missing}
    assert set(missing) == {"--energy-eV", "--detector-distance-m", "--detector-pixel-m"}
    assert all("pixels meanwhile" in why for why in missing.values())
    reference = info(scan.replace(energy_eV=None)).missing
    assert [entry["option"] for entry in reference] == ["--energy-eV"]
    assert "pixels meanwhile" not in reference[0]["needed_for"]


def test_info_of_a_file_needs_no_torch(tmp_path):
    path = save(simulated(n_patterns=9), tmp_path / "scan.h5")
    code = (
        "import sys; from ptypinn.cli.main import main; code = main(['info', sys.argv[1]]); "
        "sys.exit(code or 'torch' in sys.modules or 'lightning' in sys.modules or 'matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, stdout=subprocess.DEVNULL)
