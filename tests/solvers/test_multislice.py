"""Thick samples are reconstructed slice by slice, and no slice is invented where the sample is thin."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.registration import phase_cross_correlation

import ptypinn as pp
from ptypinn.data.depth import SLICES, compute_gaps, restack
from ptypinn.errors import InputError
from ptypinn.metrics.alignment import align
from ptypinn.physics.detector import sample_counts
from ptypinn.physics.forward import forward_model
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers import multislice, slice_search
from ptypinn.solvers.slice_search import MAX_SPREAD, fit_lowest_point

SAMPLE = {"object": "dead_leaves", "phase_range": (0.0, 0.8), "amplitude_range": (1.0, 0.85)}
SCAN = {"size": 32, "object_size": (76, 76), "n_patterns": 169, "photons": 1e6, "seed": 2, "probe": "disk"}
PROBE = {"probe_diameter_px": 14.0, "curvature_rad": 6.0}
QUICK = {"threads": 1, "device": "cpu", "assume": "ideal"}


def simulate(**options):
    return pp.simulate(pp.SimulateConfig(**{**SAMPLE, **SCAN, **PROBE, **options}))


def error(image, truth, mask):
    """Complex error after one factor, a ramp and a shift."""
    aligned = align(image, truth, mask, ramp=True, shift=True)
    ours, target = aligned.image[aligned.mask], truth[aligned.mask]
    return np.linalg.norm(ours * np.vdot(ours, target) / np.vdot(ours, ours) - target) / np.linalg.norm(target)


def slice_errors(recon, scan):
    (y, x), (height, width) = recon.origin_px, recon.object.shape
    truths = scan.experiment.slices[:, y : y + height, x : x + width]
    images = [recon.object] * len(truths) if recon.slices is None else recon.slices
    mask = recon.well_illuminated(0.3)
    return np.array([error(image, truth, mask) for image, truth in zip(images, truths, strict=True)])


@pytest.fixture(scope="module", autouse=True)
def few_patterns():
    """Searches for spacings on fewer patterns than those of users."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_search, "CORE_PATTERNS", 36)
        patch.setattr(slice_search, "SETTLED", slice_search.Effort(60, prior=True))
        yield


@pytest.fixture(scope="module")
def thick():
    return simulate(slices=2)


@pytest.fixture(scope="module")
def spacing(thick):
    return tuple(thick.experiment.slice_spacing_m.tolist())


@pytest.fixture(scope="module")
def recon(thick, spacing):
    return pp.reconstruct(thick, config=pp.ReconstructConfig(**QUICK, slices=2, slice_spacing_m=spacing))


def test_every_slice_comes_out_at_half_the_error_of_a_thin_object_or_less(thick, recon):
    thin = pp.reconstruct(thick, config=pp.ReconstructConfig(**QUICK))
    assert recon.slices.shape == (2, *recon.object.shape)
    assert (slice_errors(recon, thick) < 0.5 * slice_errors(thin, thick)).all()
    fit, before = (one.metrics["amplitude_residual"] / one.metrics["expected_residual"] for one in (recon, thin))
    assert fit < 1.1 < before


def test_amplitudes_of_the_whole_are_absolute_and_the_object_is_the_product_of_its_slices(thick, recon):
    np.testing.assert_allclose(recon.object, recon.slices.prod(0), rtol=1e-4)
    metrics = pp.evaluate(recon, thick).metrics
    assert metrics["output_vs_truth_ratio"] == pytest.approx(1, abs=0.02)
    assert metrics["flux_closure"] == pytest.approx(1, abs=1e-3)


def test_number_and_spacing_are_found_and_recorded(thick, spacing):
    recon = pp.reconstruct(thick, config=pp.ReconstructConfig(**QUICK, slices="auto"))
    record = recon.provenance[SLICES]
    assert record["number"] == len(recon.slices) == 2
    assert record["chosen"]
    assert abs(record["spacing_m"][0] - spacing[0]) < 3 * record["spacing_uncertainty_m"]


def test_no_slice_is_invented_in_a_thin_sample():
    recon = pp.reconstruct(simulate(), config=pp.ReconstructConfig(**QUICK, slices="auto"))
    assert recon.slices is None
    assert recon.provenance[SLICES]["number"] == 1
    assert recon.metrics["amplitude_residual"] < 1.1 * recon.metrics["expected_residual"]


def test_positions_that_are_off_are_solved_for_with_the_slices(thick, spacing):
    rng = np.random.default_rng(0)
    off = thick.replace(positions_px=thick.positions_px + rng.normal(0, 0.6, thick.positions_px.shape), truth=None)
    config = pp.ReconstructConfig(threads=1, device="cpu", slices=2, slice_spacing_m=spacing)
    recon = pp.reconstruct(off, config=config)
    assert recon.has_solved("positions")
    moves = recon.positions_px + np.asarray(recon.origin_px) - thick.positions_px
    assert np.std(moves - moves.mean(0)) < 0.3


def test_a_beam_beside_the_centre_and_modes_of_the_probe_go_with_slices(thick, spacing, recon):
    moved = thick.replace(counts=np.roll(thick.counts[:], (3, -2), (1, 2)))
    config = pp.ReconstructConfig(**QUICK, slices=2, slice_spacing_m=spacing, probe_modes=2)
    other = pp.reconstruct(moved, config=config)
    assert len(other.probe) == 2
    assert (slice_errors(other, thick) < 1.5 * slice_errors(recon, thick)).all()
    assert pp.evaluate(other, moved).metrics["amplitude_residual"] == pytest.approx(
        other.metrics["amplitude_residual"], rel=1e-3
    )


@pytest.mark.parametrize("photons", [1e5, 1e8])
def test_more_iterations_alone_are_no_second_slice(photons):
    """A thin solve that has not settled yet gains by going on; slices are compared with one that goes on as well."""
    scan = simulate(photons=photons)
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(**QUICK, slices="auto"))
    assert recon.provenance[SLICES]["number"] == 1


def test_the_stated_uncertainty_holds_for_slices(thick, recon):
    assert 0.5 < pp.evaluate(recon, thick).metrics["error_over_uncertainty"] < 2
    assert recon.provenance["solver"] == "multislice"
    assert "rounds" not in recon.provenance
    assert recon.provenance["config"]["slices"] == 2


def test_modes_that_are_solved_for_leave_recorded_positions_on_record_as_such(thick, spacing):
    first = thick.probe[0]
    second = first * (np.arange(32) - 16)
    second *= np.linalg.norm(first) / np.linalg.norm(second)
    modes = np.stack([first * np.sqrt(0.6), second * np.sqrt(0.4)])
    truth = thick.experiment.slices
    model = forward_model(32, None, compute_gaps(thick, spacing).tolist())
    corners, rest = split_positions(torch.from_numpy(thick.positions_px))
    expected = model.predict_scan(torch.from_numpy(truth), torch.from_numpy(modes.astype(np.complex64)), corners, rest)
    counts = sample_counts(to_centred(expected), torch.Generator().manual_seed(0)).numpy().astype(np.uint32)
    config = pp.ReconstructConfig(threads=1, device="cpu", slices=2, slice_spacing_m=spacing, positions="recorded")
    recon = pp.reconstruct(thick.replace(counts=counts, truth=None, experiment=None), config=config)
    assert recon.has_solved("modes")
    assert not recon.has_solved("positions")
    assert "positions" not in recon.provenance["experiment"]


def test_scans_that_state_gaps_are_refused(thick):
    scan = thick.replace(gap_fresnel_numbers=np.array([0.2]))
    for solve in (pp.reconstruct, pp.refine):
        with pytest.raises(InputError, match="gap_fresnel_numbers: found 1 gaps between slices, expected none"):
            solve(scan)


def test_files_keep_the_slices_and_predict_the_same_counts(thick, recon, tmp_path):
    again = pp.Reconstruction.load(recon.save(tmp_path / "recon.h5"))
    np.testing.assert_array_equal(again.slices, recon.slices)
    residual = pp.evaluate(again, thick).metrics["amplitude_residual"]
    assert residual == pytest.approx(recon.metrics["amplitude_residual"], rel=1e-4)
    scan = pp.load(pp.save(thick, tmp_path / "scan.h5"))
    np.testing.assert_array_equal(scan.experiment.slices, thick.experiment.slices)
    np.testing.assert_array_equal(scan.experiment.slice_spacing_m, thick.experiment.slice_spacing_m)


def test_the_same_seed_gives_the_same_slices(thick, spacing, recon):
    again = pp.reconstruct(thick, config=pp.ReconstructConfig(**QUICK, slices=2, slice_spacing_m=spacing))
    np.testing.assert_array_equal(again.slices, recon.slices)


@given(number=st.integers(1, 6), coarse=st.integers(1, 3), seed=st.integers(0, 99))
def test_restacking_keeps_the_product_and_divides_evenly(number, coarse, seed):
    rng = np.random.default_rng(seed)
    phases = np.cumsum(rng.uniform(0, 0.4, (coarse, 6, 7)), 2)
    slices = (rng.uniform(0.5, 1, phases.shape) * np.exp(1j * phases)).astype(np.complex64)
    stack = restack(slices, number)
    assert stack.shape == (number, 6, 7)
    np.testing.assert_allclose(stack.prod(0), slices.prod(0), rtol=1e-4)
    np.testing.assert_allclose(restack(stack, coarse).prod(0), slices.prod(0), rtol=1e-4)
    if number % coarse == 0:
        np.testing.assert_allclose(stack[: number // coarse].prod(0), slices[0], rtol=1e-4)


@given(lowest=st.floats(-1.5, 1.5), curve=st.floats(0.1, 1e4), level=st.floats(-1e3, 1e6))
def test_the_lowest_point_of_a_parabola_comes_back(lowest, curve, level):
    places = np.arange(-2.0, 3.0)
    place, error = fit_lowest_point(places, curve * (places - lowest) ** 2 + level)
    assert place == pytest.approx(lowest, abs=1e-4)
    assert 0 < error <= MAX_SPREAD


def test_values_without_a_lowest_point_are_named_as_undetermined():
    assert fit_lowest_point(np.arange(5.0), np.arange(5.0)[::-1].copy()) == (4.0, MAX_SPREAD)


def test_iterations_go_on_from_slices(thick, recon):
    config = pp.RefineConfig(threads=1, device="cpu", iterations=20)
    refined = pp.refine(thick, config=config, initial=recon)
    assert refined.provenance[SLICES] == recon.provenance[SLICES]
    assert (slice_errors(refined, thick) < 1.3 * slice_errors(recon, thick)).all()
    with pytest.raises(InputError, match="--engine: found ptychi, expected native"):
        pp.refine(thick, config=dataclasses.replace(config, engine="ptychi"), initial=recon)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slices": 0}, "--slices: found 0, expected auto, or at least 1"),
        ({"slices": 4, "slice_spacing_m": [1e-6, 2e-6]}, "expected one number, or one for each of 3 gaps"),
        ({"slices": 2, "slice_spacing_m": (0.0,)}, "--slice-spacing-m: found .*, expected positive numbers"),
        ({"slices": 4, "slice_spacing_m": (1e-6, 2e-6)}, "expected one number, or one for each of 3 gaps"),
        ({"slice_spacing_m": (1e-6,)}, "--slice-spacing-m: found .*, expected --slices as well"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        pp.ReconstructConfig(**options)


@pytest.mark.parametrize(("name", "value"), [("point_spread", "solve"), ("polish", 20)])
def test_options_that_nothing_reads_for_thick_samples_are_refused(thick, name, value):
    option = name.replace("_", "-")
    with pytest.raises(InputError, match=f"--{option}: found {value}, expected a thin sample"):
        pp.reconstruct(thick, config=pp.ReconstructConfig(slices=2, **{name: value}))


def test_a_spacing_without_a_wavelength_is_refused_and_one_in_pixels_is_found_without(thick, monkeypatch):
    """However well: the search takes few steps here."""
    for name in ("FIRST_ITERATIONS", "LAST_ITERATIONS"):
        monkeypatch.setattr(multislice, name, 3)
    for name in ("TRIAL", "COMPARISON", "SETTLED"):
        monkeypatch.setattr(slice_search, name, slice_search.Effort(3))
    monkeypatch.setattr(slice_search._Search._search, "__defaults__", ((slice_search.TRIAL,) * 2,))
    unknown = dataclasses.replace(thick.subset(np.arange(36)), energy_eV=None)
    with pytest.raises(InputError, match="energy: found none, expected one, which a spacing of slices needs"):
        pp.reconstruct(unknown, config=pp.ReconstructConfig(slices=2, slice_spacing_m=(1e-6,)))
    recon = pp.reconstruct(unknown, config=pp.ReconstructConfig(**QUICK, slices=2))
    assert recon.provenance[SLICES] == {"number": 2}
    assert len(recon.gap_fresnel_numbers) == 1


def test_a_given_tilt_of_the_sample_is_part_of_the_model(spacing):
    """Without it, slices come out beside each other, by the tilt over their distance."""
    tilted = simulate(slices=2, sample_tilt_mrad=(1.2, -0.8))
    np.testing.assert_array_equal(tilted.experiment.sample_tilt_mrad, (1.2, -0.8))
    options = {**QUICK, "slices": 2, "slice_spacing_m": spacing}
    recon = pp.reconstruct(tilted, config=pp.ReconstructConfig(**options, sample_tilt_mrad=(1.2, -0.8)))
    assert recon.provenance[SLICES]["tilt_mrad"] == pytest.approx([1.2, -0.8])
    assert (slice_errors(recon, tilted) < 0.1).all()
    np.testing.assert_allclose(measure_offset(recon, tilted), 0, atol=0.3)
    straight = pp.reconstruct(tilted, config=pp.ReconstructConfig(**options))
    assert straight.sample_tilt is None
    expected = np.sin([1.2e-3, -0.8e-3]) * spacing[0] / tilted.pixel_size_m
    assert np.abs(expected).min() > 1
    np.testing.assert_allclose(measure_offset(straight, tilted), expected, atol=0.5)
    with pytest.raises(InputError, match=r"a way of .* pixels aside .*, expected at most 16"):
        pp.reconstruct(tilted, config=pp.ReconstructConfig(**options, sample_tilt_mrad=(9.0, 0.0)))


def measure_offset(recon, scan):
    """Shift (y, x) of the second slice beside that of the first, pixels."""
    (y, x), (height, width) = recon.origin_px, recon.object.shape
    truths = scan.experiment.slices[:, y : y + height, x : x + width]
    lit = recon.well_illuminated(0.3)
    shifts = [
        phase_cross_correlation(np.angle(image) * lit, np.angle(truth) * lit, upsample_factor=20)[0]
        for image, truth in zip(recon.slices, truths, strict=True)
    ]
    return shifts[1] - shifts[0]
