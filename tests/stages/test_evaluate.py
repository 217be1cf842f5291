"""The evaluation stage: names, frames, gauges, halves, words; plain finite numbers throughout."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.metrics import add_ramp
from ptypinn.stages.evaluate import evaluate, split_half
from ptypinn.stages.simulate import simulate

PUBLIC = {
    "complex_error",
    "output_vs_truth_ratio",
    "amplitude_residual",
    "flux_closure",
    "pearson_r_amplitude",
    "ssim_amplitude",
    "ssim_phase",
    "frc_half_bit_px",
}
FREE = EvaluateConfig(remove_ramp=True, remove_shift=True)


@pytest.fixture(scope="session")
def scan():
    return simulate(SimulateConfig(photons=1e5, object_size=(150, 164), overlap=0.5, seed=3))


def reconstruction(scan, image=None, origin=(0, 0), shape=None):
    """The truth (or an image on its frame) as if somebody had reconstructed it on a canvas at `origin`."""
    image = scan.truth if image is None else image.astype(np.complex64)
    illumination = np.zeros(image.shape, np.float32)
    power = (np.abs(scan.probe) ** 2).sum(0)
    for y, x in np.round(scan.positions_px).astype(int):
        illumination[y : y + scan.size, x : x + scan.size] += power
    height, width = shape or image.shape
    cut = tuple(slice(o, o + n) for o, n in zip(origin, (height, width), strict=True))
    positions = scan.positions_px - np.asarray(origin, float)
    return Reconstruction(image[cut], illumination[cut], scan.probe, positions, origin, scan.pixel_size_m)


def spoiled(scan, seed=0, level=0.05):
    rng = np.random.default_rng(seed)
    return scan.truth * (
        1 + level * (rng.standard_normal(scan.truth.shape) + 1j * rng.standard_normal(scan.truth.shape))
    )


def test_the_truth_is_perfect_by_every_figure(scan):
    result = evaluate(reconstruction(scan), scan)
    assert set(result.metrics) >= PUBLIC
    assert result.metrics["complex_error"] < 1e-6
    assert result.metrics["output_vs_truth_ratio"] == pytest.approx(1)
    assert result.metrics["ssim_amplitude"] == pytest.approx(1) == result.metrics["ssim_phase"]
    assert result.metrics["pearson_r_amplitude"] == pytest.approx(1)
    assert result.metrics["frc_half_bit_px"] == 2.0
    assert "Nyquist" in result.notes["frc_half_bit_px"]
    assert result.metrics["flux_closure"] == pytest.approx(1, abs=1e-3)
    assert result.metrics["amplitude_residual"] == pytest.approx(result.metrics["expected_residual"], rel=0.05)
    assert result.warnings == []


@settings(max_examples=6)
@given(angle=st.floats(-9, 9), ramp=st.tuples(st.floats(-1, 1), st.floats(-1, 1)), seed=st.integers(0, 99))
def test_figures_do_not_depend_on_the_gauge(scan, angle, ramp, seed):
    config = EvaluateConfig(remove_ramp=True, compare_counts=False)
    image = spoiled(scan, seed)
    plain = evaluate(reconstruction(scan, image), scan, config=config).metrics
    turned = evaluate(reconstruction(scan, add_ramp(image, ramp) * np.exp(1j * angle)), scan, config=config).metrics
    del plain["object_contrast"], turned["object_contrast"]
    assert turned == pytest.approx(plain, rel=1e-2, abs=1e-3)


@settings(max_examples=8)
@given(factor=st.floats(0.1, 5))
def test_a_lost_amplitude_shows_and_is_never_fitted_away(scan, factor):
    result = evaluate(reconstruction(scan, factor * scan.truth), scan)
    assert result.metrics["output_vs_truth_ratio"] == pytest.approx(factor, rel=1e-4)
    assert result.metrics["complex_error"] == pytest.approx(abs(factor - 1), abs=1e-4)
    assert result.metrics["complex_error_after_factor"] < 1e-4
    assert result.metrics["flux_closure"] == pytest.approx(factor**2, rel=2e-3)
    if abs(factor - 1) > 0.06:
        assert any("amplitude scale" in words for words in result.warnings)


def test_a_canvas_of_its_own_frame_compares_pixel_by_pixel(scan):
    image = spoiled(scan)
    whole = evaluate(reconstruction(scan, image), scan).metrics
    low = np.round(scan.positions_px).min(0).astype(int)
    shape = np.round(scan.positions_px).max(0).astype(int) + scan.size - low
    cut = evaluate(reconstruction(scan, image, tuple(low.tolist()), tuple(shape.tolist())), scan)
    assert cut.comparison.origin_px == tuple(low.tolist())
    for name in ("complex_error", "output_vs_truth_ratio", "ssim_phase", "flux_closure", "amplitude_residual"):
        assert cut.metrics[name] == pytest.approx(whole[name], rel=1e-3)


def test_a_reference_on_another_canvas_replaces_the_truth(scan):
    recon = reconstruction(scan, spoiled(scan))
    reference = reconstruction(scan, 2 * scan.truth, (7, 9), (120, 130))
    result = evaluate(recon, scan, reference)
    assert result.comparison.kind == "reference"
    assert result.metrics["output_vs_truth_ratio"] == pytest.approx(0.5, rel=1e-2)


FREED = [{"config": {"refine_probe": True}}, {"config": {"refine_positions": True}}, {"model": {"trained_probe": True}}]


@pytest.mark.parametrize("provenance", FREED, ids=lambda provenance: str(*provenance.values()))
def test_ramp_and_shift_are_removed_where_probe_or_positions_were_solved_for(scan, tmp_path, provenance):
    determined = replace(reconstruction(scan, add_ramp(scan.truth, (0.02, -0.03))), provenance={"config": {"seed": 0}})
    freed = Reconstruction.load(replace(determined, provenance=provenance).save(tmp_path / "freed.h5"))
    exact = reconstruction(scan)
    keep, remove = EvaluateConfig(remove_ramp=False, remove_shift=False), FREE
    quick = [replace(config, compare_counts=False) for config in (EvaluateConfig(), keep, remove)]

    def errors(recon, against):
        return [evaluate(recon, *against, config=config).metrics["complex_error"] for config in quick]

    for ramped, removed in ((determined, False), (freed, True)):
        for pair in ((ramped, (scan,)), (ramped, (None, exact)), (exact, (None, ramped))):
            automatic, retained, off = errors(*pair)
            assert off < 1e-3 < 0.5 < retained
            assert automatic == (off if removed else retained)
    assert evaluate(freed, scan).as_json()["alignment"]["ramp_rad_per_px"] == pytest.approx([-0.02, 0.03], rel=1e-3)


def test_a_network_compares_with_a_refined_object_where_both_are_lit(scan):
    """A part of the scan, on a canvas of its own, in another gauge, with nonsense where its probe did not go."""
    part = scan.subset(np.flatnonzero(scan.positions_px[:, 0] < 45))
    low = np.round(part.positions_px).min(0).astype(int)
    shape = np.round(part.positions_px).max(0).astype(int) + scan.size - low
    network = reconstruction(part, spoiled(scan, level=0.3), tuple(low.tolist()), tuple(shape.tolist()))
    network.object[~network.well_illuminated()] = 9j
    plain = replace(reconstruction(scan), provenance={"config": {"refine_probe": True}})
    turned = replace(plain, object=(-1j * add_ramp(scan.truth, (0.3, 0.02))).astype(np.complex64))
    expected, outcome, truth = (evaluate(network, part, reference) for reference in (plain, turned, None))
    assert outcome.comparison.alignment.mask.sum() < 0.7 * plain.well_illuminated().sum()
    assert outcome.metrics["object_contrast"] == expected.metrics["object_contrast"]
    assert outcome.metrics == pytest.approx(expected.metrics, rel=1e-2, abs=1e-3)
    for name in ("complex_error", "pearson_r_phase", "pearson_r_amplitude", "output_vs_truth_ratio"):
        assert outcome.metrics[name] == pytest.approx(truth.metrics[name], rel=0.05), name


def test_without_a_truth_counts_and_halves_still_give_metrics(scan):
    blind = scan.replace(truth=None)
    recon = reconstruction(scan, spoiled(scan))
    halves = tuple(
        reconstruction(scan, add_ramp(spoiled(scan, k, 0.3) * np.exp(1j * k), (0.2 * k, 0.1))) for k in (1, 2)
    )
    alone = evaluate(recon, blind)
    assert set(alone.metrics) >= {"amplitude_residual", "flux_closure", "object_contrast"}
    assert not {"complex_error", "frc_half_bit_px", "ssim_phase"} & set(alone.metrics)
    assert "halves" in alone.notes["frc_half_bit_px"]
    assert "no truth" in alone.notes["complex_error"]
    both = evaluate(recon, blind, halves=halves)
    assert both.metrics["split_half_frc_half_bit_px"] == both.metrics["frc_half_bit_px"]
    same = evaluate(recon, blind, halves=(recon, recon))
    assert same.metrics["frc_half_bit_px"] == 2.0 < both.metrics["frc_half_bit_px"] < 20


def test_halves_are_disjoint_complete_and_usable(scan):
    first, second = split_half(scan)
    assert first.n_patterns + second.n_patterns == scan.n_patterns
    joined = np.concatenate([first.positions_px, second.positions_px])
    assert {tuple(p) for p in joined} == {tuple(p) for p in scan.positions_px}
    result = evaluate(reconstruction(first), first)
    assert result.metrics["flux_closure"] == pytest.approx(1, abs=2e-3)


def test_a_flat_object_is_called_flat(scan):
    result = evaluate(reconstruction(scan, np.full(scan.truth.shape, 0.8 + 0.1j)), scan)
    assert "flat" in result.warnings[0]
    assert "pearson_r_amplitude" in result.notes
    assert "pearson_r_amplitude" not in result.metrics


def test_a_wrong_probe_is_called_worse_than_noise(scan):
    recon = reconstruction(scan)
    wrong = Reconstruction(
        recon.object, recon.illumination, np.roll(recon.probe, 5, -1) * np.complex64(1.2), recon.positions_px
    )
    words = " ".join(evaluate(wrong, scan).warnings)
    assert "counting statistics" in words
    assert "times the measured counts" in words


def test_everything_is_plain_finite_json(scan):
    results = [
        evaluate(reconstruction(scan), scan, config=FREE),
        evaluate(reconstruction(scan, np.zeros(scan.truth.shape)), scan),
        evaluate(reconstruction(scan, spoiled(scan))),
    ]
    for result in results:
        json.dumps(result.as_json(), allow_nan=False)
        assert all(type(value) is float for value in result.metrics.values())
        assert not set(result.notes) & set(result.metrics) - {"frc_half_bit_px", "frc_half_px"}


def test_what_does_not_belong_together_is_refused(scan):
    recon = reconstruction(scan)
    with pytest.raises(InputError, match="overlap"):
        evaluate(
            recon,
            reference=Reconstruction(recon.object, recon.illumination, recon.probe, recon.positions_px, (9999, 0)),
        )
    with pytest.raises(InputError, match="no illuminated pixel"):
        evaluate(Reconstruction(recon.object, 0 * recon.illumination, recon.probe, recon.positions_px), scan)
    broken = recon.object.copy()
    broken[3, 3] = np.nan
    with pytest.raises(InputError, match="finite"):
        evaluate(Reconstruction(broken, recon.illumination, recon.probe, recon.positions_px), scan)
    with pytest.raises(InputError, match="--illumination-threshold"):
        EvaluateConfig(illumination_threshold=1.5)
