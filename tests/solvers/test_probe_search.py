"""A scan without a probe gets one: of a lens on either side of its focus, of an aperture, or as the options say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import ptypinn as pp
from ptypinn.config.probe import ProbeStartConfig
from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.probe_candidates import ProbeOptics, complete_pattern, fit_pupil, fit_spot, suggest_probes
from ptypinn.errors import InputError
from ptypinn.metrics import complex_error
from ptypinn.metrics.comparison import compare
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.probes import compute_pupil_radius, defocus_to_distance
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.solvers.probe_search import find_probe, start_probe
from ptypinn.utils.progress import silent

CPU = torch.device("cpu")
LENS = {"probe": "zone_plate", "pupil_radius": 0.5, "central_stop": 0.0, "osa_radius": 4.0}
PROBES = {
    "upstream": {**LENS, "defocus_waves": 1.2},
    "downstream": {**LENS, "defocus_waves": -1.2},
    "zone plate": {"probe": "zone_plate", "pupil_radius": 0.5, "defocus_waves": 1.0},
    "aperture": {"probe": "disk", "probe_diameter_px": 12.0},
    "gaussian": {"probe": "gaussian", "probe_diameter_px": 8.0},
}


def simulated(name, **changes):
    options = {"size": 32, "object_size": (64, 64), "object": "dead_leaves", "overlap": 0.7, "photons": 1e6, "seed": 3}
    return pp.simulate(pp.SimulateConfig(**{**options, **PROBES[name], **changes}))


def without_probe(scan):
    return scan.replace(probe=None, probe_gauge="relative", truth=None)


def error(recon, scan):
    comparison = compare(recon, scan, None, pp.EvaluateConfig(remove_ramp=True, remove_shift=True))
    aligned = comparison.alignment
    return complex_error(aligned.image, comparison.reference, aligned.mask, fit_factor=True)


def similarity(one, other):
    """Correlation of two probes after the best shift and ramp, which no count fixes."""
    one, other = (np.fft.fft2(np.abs(np.asarray(probe)[0]) ** 2) for probe in (one, other))
    cross = np.fft.ifft2(one * other.conj()).real.max()
    return cross / (np.linalg.norm(one) * np.linalg.norm(other) / one.size)


@cache
def started(name):
    """A scan with the probe that was found in place of its own."""
    return find_probe(without_probe(simulated(name)), ProbeOptics(), CPU)


@pytest.mark.parametrize("name", ["upstream", "downstream", "zone plate", "aperture"])
def test_the_object_is_as_good_without_a_probe_as_with_it(name):
    scan, config = simulated(name), pp.RefineConfig(iterations=30, device="cpu")
    recon = pp.refine(started(name), config)
    assert error(recon, scan) < 1.3 * error(pp.refine(scan, config), scan)
    assert similarity(recon.probe, scan.probe) > 0.98


@pytest.mark.parametrize(("name", "sign"), [("upstream", 1), ("downstream", -1)])
def test_the_side_of_the_focus_and_the_defocus_are_on_record_and_in_words(name, sign):
    scan, result = simulated(name), started(name)
    record = result.provenance["probe_estimate"]
    assert record["model"] == "lens"
    assert record["curvature"] == pytest.approx(sign * 1.2, rel=0.35)
    true = defocus_to_distance(sign * 1.2, scan.wavelength_m, scan.pixel_size_m / 0.5)
    assert record["defocus_m"] == pytest.approx(true, rel=0.4)
    recon = pp.refine(result, pp.RefineConfig(iterations=2, device="cpu"))
    (sentence,) = experiment_sentences(recon)
    assert ("the sample" in sentence) and (("upstream" if sign > 0 else "downstream") in sentence)


def test_an_aperture_is_recognised_with_its_diameter():
    record = started("aperture").provenance["probe_estimate"]
    assert record["model"] == "aperture"
    assert fit_spot(mean_pattern(simulated("aperture")), "aperture")[0] == pytest.approx(12, abs=0.7)


def test_patterns_beside_the_centre_give_the_same_probe_and_an_offset():
    scan = simulated("upstream")
    moved = without_probe(scan).replace(counts=np.roll(scan.counts, (2, -1), (1, 2)))
    config = pp.RefineConfig(iterations=20, device="cpu")
    plain, offset = (pp.refine(one, config) for one in (started("upstream"), moved))
    assert error(offset, scan) == pytest.approx(error(plain, scan), rel=0.1)
    assert offset.provenance["experiment"]["beam_offset_px"] == pytest.approx([2, -1], abs=0.3)


@pytest.mark.parametrize(("name", "diameter"), [("gaussian", 8.0), ("aperture", 12.0)])
def test_a_spot_of_given_size_has_its_curvature_alone_searched(name, diameter):
    scan = simulated(name)
    config = ProbeStartConfig(name, probe_diameter_m=diameter * scan.pixel_size_m)
    result = start_probe(without_probe(scan), config, CPU, silent)
    assert result.provenance["probe_estimate"]["model"] == name
    assert abs(result.provenance["probe_estimate"]["curvature"]) <= 1
    assert similarity(result.probe, scan.probe) > 0.98


@pytest.mark.parametrize("name", ["upstream", "zone plate"])
def test_given_optics_replace_the_search(name):
    scan, tried = simulated(name), []
    waves, zone = PROBES[name]["defocus_waves"], scan.pixel_size_m / 0.5
    given = {"defocus_m": defocus_to_distance(waves, scan.wavelength_m, zone)}
    if name == "upstream":
        config = ProbeStartConfig("electron", convergence_mrad=1e3 * scan.wavelength_m / (2 * zone), **given)
    else:
        config = ProbeStartConfig("zone-plate", outermost_zone_m=zone, central_stop=0.4, **given)
    result = start_probe(without_probe(scan), config, CPU, lambda *step: tried.append(step))
    assert tried == [("probe", 1, 1)]
    assert result.provenance["probe_estimate"]["curvature"] == pytest.approx(waves)
    assert similarity(result.probe, scan.probe) > 0.98
    assert compute_pupil_radius(zone, scan.pixel_size_m) == pytest.approx(0.5)


def test_a_given_defocus_does_not_depend_on_where_the_patterns_are_centred():
    scan = without_probe(simulated("zone plate"))
    moved = scan.replace(counts=np.roll(scan.counts, (5, -4), (1, 2)))
    config = ProbeStartConfig("zone-plate", defocus_m=1e-4)
    records = [start_probe(one, config, CPU, silent).provenance["probe_estimate"] for one in (scan, moved)]
    assert records[1]["curvature"] == pytest.approx(records[0]["curvature"], rel=0.02)
    assert [record["defocus_m"] for record in records] == pytest.approx([1e-4, 1e-4])


def test_photons_and_rule_of_the_reading_options_hold():
    scan = without_probe(simulated("aperture")).subset(np.arange(16))
    asked = scan.replace(provenance={**scan.provenance, "options": {"photons": 2e6}})
    assert probe_photons(start_probe(asked, ProbeStartConfig(), CPU, silent).probe) == pytest.approx(2e6, rel=1e-5)


def test_bad_pixels_are_filled_from_the_opposite_side():
    rng = np.random.default_rng(0)
    symmetric = rng.random((9, 8, 8)).sum(0)
    symmetric = symmetric + np.roll(symmetric[::-1, ::-1], (1, 1), (0, 1))
    good = np.ones((8, 8), bool)
    good[2, 3:5] = good[6, 5] = good[0, 0] = False
    filled = complete_pattern(np.where(good, symmetric, 7.0), good)
    np.testing.assert_allclose(filled[2, 4], symmetric[2, 4])
    assert filled[2, 3] == filled[6, 5] == filled[0, 0] == 0  # bad on both sides


def test_a_pupil_is_as_wide_as_it_was_made_and_only_lenses_are_suggested():
    mean = mean_pattern(simulated("zone plate"))
    assert fit_pupil(mean)[1] == pytest.approx(0.5, rel=0.1)
    suggested = suggest_probes(mean, ProbeOptics())
    assert {candidate.model for candidate in suggested} == {"lens"}
    curvatures = [candidate.curvature for candidate in suggested]
    assert sorted(curvatures) == sorted(-c for c in curvatures) and 0.0 in curvatures


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({"probe_model": "aperture", "probe_diameter_m": 1e-6}, "pixel_size_m"),
        ({"probe_model": "zone-plate", "defocus_m": 1e-4}, "energy_eV"),
        ({"probe_model": "electron", "convergence_mrad": 20.0}, "energy_eV"),
    ],
)
def test_lengths_need_an_object_pixel_and_a_wavelength(config, missing):
    scan = without_probe(simulated("upstream")).replace(**{missing: None})
    with pytest.raises(InputError, match="--pixel-size-m" if missing == "pixel_size_m" else "--energy-eV"):
        pp.reconstruct(scan, config=pp.ReconstructConfig(device="cpu", **config))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"defocus_m": 1e-4}, "--defocus-m"),
        ({"probe_model": "aperture", "defocus_m": 1e-4}, "--defocus-m"),
        ({"probe_model": "electron", "outermost_zone_m": 1e-8}, "--outermost-zone-m"),
        ({"probe_model": "zone-plate", "central_stop": 0.3}, "--central-stop"),
        ({"probe_model": "zone-plate", "outermost_zone_m": 1e-8, "central_stop": 1.5}, "--central-stop"),
        ({"probe_model": "gaussian", "probe_diameter_m": 0.0}, "--probe-diameter-m"),
    ],
)
def test_options_that_nothing_reads_or_that_cannot_be_are_refused(options, named):
    with pytest.raises(InputError, match=named):
        ProbeStartConfig(**options)


def test_a_probe_model_beside_an_initial_reconstruction_is_refused():
    scan = simulated("aperture")
    initial = pp.refine(scan, pp.RefineConfig(iterations=2, device="cpu"))
    with pytest.raises(InputError, match="--probe-model"):
        pp.refine(scan, pp.RefineConfig(iterations=2, probe_model="aperture", device="cpu"), initial=initial)
    again = pp.refine(without_probe(scan), pp.RefineConfig(iterations=2, device="cpu"), initial=initial)
    assert probe_photons(again.probe) == pytest.approx(probe_photons(initial.probe), rel=1e-5)


def test_patterns_without_photons_are_refused_and_a_single_bright_pixel_is_survived():
    scan = without_probe(simulated("aperture")).subset(np.arange(9))
    with pytest.raises(InputError, match="0 photons"):
        find_probe(scan.replace(counts=np.zeros_like(scan.counts)), ProbeOptics(), CPU)
    spot = np.zeros_like(scan.counts)
    spot[:, 16, 16] = 9000
    probe = find_probe(scan.replace(counts=spot), ProbeOptics(), CPU).probe
    assert np.isfinite(probe).all() and np.abs(probe).max() > 0
