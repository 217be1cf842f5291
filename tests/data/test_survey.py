"""Survey of the counts: nothing in clean scans, every defect by number in others, masked or left out when loaded."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.bad_pixels import find_bad_pixels
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import simulate_scan
from ptypinn.data.survey import apply_survey, survey_scan
from ptypinn.data.survey_record import SURVEY, describe_survey, record_survey
from ptypinn.errors import InputError

N = 32
CLEAN = SimulateConfig(size=N, object_size=(68, 68), n_patterns=100, photons=1e5, probe="disk", probe_diameter_px=10.0)


def simulated(**changes):
    return simulate_scan(dataclasses.replace(CLEAN, **changes))


def edited(change, **changes):
    """Simulated scan with counts changed in place, as uint32."""
    scan = simulated(**changes)
    counts = scan.counts.astype(np.uint32)
    change(counts)
    return scan.replace(counts=counts)


def pixels_of(survey, kind):
    return sorted(map(tuple, np.concatenate([d.pixels for d in survey.pixels if d.kind == kind]).tolist()))


def frames_of(survey, kind):
    return [frame for defect in survey.frames if defect.kind == kind for frame in defect.frames.tolist()]


class TestClean:
    """Nothing is declared bad in scans without defects."""

    @settings(max_examples=25)
    @given(
        photons=st.floats(3, 9),
        sample=st.sampled_from(["lines", "dead_leaves", "grf", "siemens"]),
        amplitudes=st.sampled_from([(1.0, 0.7), (1.0, 0.0), (0.05, 1.0), (1.0, 1.0)]),
        phases=st.sampled_from([(0.0, 0.0), (0.0, 1.0), (-3.0, 3.0)]),
        probe=st.sampled_from(
            [
                {"probe": "disk", "probe_diameter_px": 10.0, "curvature_rad": 0.0},
                {"probe": "gaussian", "probe_diameter_px": 7.0, "curvature_rad": 5.0},
                {"probe": "zone_plate", "defocus_waves": 1.0, "central_stop": 0.5},
            ]
        ),
        scan=st.sampled_from(["raster", "jittered_raster", "fermat"]),
        seed=st.integers(0, 1000),
    )
    def test_over_doses_samples_probes_and_scans(self, photons, sample, amplitudes, phases, probe, scan, seed):
        options = {"object": sample, "amplitude_range": amplitudes, "phase_range": phases, **probe}
        clean = simulate_scan(
            SimulateConfig(
                size=N, object_size=(80, 80), photons=10**photons, scan=scan, seed=seed, overlap=0.6, **options
            )
        )
        assert survey_scan(clean).clean, describe_survey(
            record_survey(survey_scan(clean), N, np.arange(clean.n_patterns))
        )

    @given(st.integers(2, 9), st.integers(-4, 4), st.floats(3, 8))
    @settings(max_examples=10)
    def test_behind_a_beam_stop_with_its_wire(self, radius, offset, photons):
        y, x = np.indices((N, N)) - N // 2
        stop = (np.hypot(y - offset, x) <= radius + 0.5) | ((abs(y - offset) <= 1) & (x > 0))
        scan = simulated(photons=10**photons, probe_diameter_px=5.0)
        counts = scan.counts.copy()
        counts[:, stop] = 0
        assert survey_scan(scan.replace(counts=counts)).clean

    @pytest.mark.parametrize("whole", [True, False])
    def test_in_vacuum_around_a_sample_and_without_noise(self, whole):
        scan = simulated(photons=1e6)
        positions = np.concatenate([scan.positions_px, scan.positions_px + np.array([0.0, 60.0])])
        vacuum = np.abs(np.fft.fftshift(np.fft.fft2(scan.probe[0], norm="ortho"))) ** 2
        noise = np.random.default_rng(0).poisson(vacuum, (100, N, N)) if whole else np.repeat(vacuum[None], 100, 0)
        counts = np.concatenate([scan.counts, noise]).astype(np.int64 if whole else np.float64)
        twice = ScanData(counts=counts, positions_px=positions, probe=scan.probe)
        assert survey_scan(twice).clean

    @pytest.mark.parametrize("fill", [0, 1, 65535])
    def test_in_placeholders_without_any_pattern(self, fill):
        counts = np.full((40, 8, 8), fill, np.uint16)
        scan = ScanData(counts=counts, positions_px=np.zeros((40, 2)))
        assert not survey_scan(scan).left_out.size

    def test_in_two_fields_of_view_and_in_lines_of_a_fly_scan(self):
        scan = simulated()
        apart = scan.positions_px + np.where(np.arange(100) < 50, 0, 3000.0)[:, None]
        survey = survey_scan(scan.replace(positions_px=apart, truth=None))
        assert (survey.frames, survey.islands) == ((), (50, 50))
        fly = np.stack(np.meshgrid(np.arange(5) * 40.0, np.arange(20), indexing="ij"), -1).reshape(100, 2)
        assert survey_scan(scan.replace(positions_px=fly, truth=None)).islands == ()


class TestPixels:
    """Bad pixels by kind."""

    GAP = (slice(None), slice(20, 23))

    @given(
        st.sampled_from([(np.uint16, 65535), (np.uint32, 2**32 - 1), (np.int32, 2**31 - 1), (np.int32, -1)]),
        st.integers(3, 40),
    )
    @settings(max_examples=12)
    def test_gaps_hold_the_maximum_of_the_type_or_a_negative_flag(self, stored, frames):
        dtype, flag = stored
        scan = simulated().subset(np.arange(frames))
        counts = scan.counts.astype(dtype)
        counts[:, 20:23] = flag
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ptypinn.data.scan.ScanData.__post_init__", lambda self: None)
            scan = scan.replace(counts=counts)
        survey = survey_scan(scan)
        assert pixels_of(survey, "gap") == [(y, x) for y in range(20, 23) for x in range(N)]
        assert {defect.value for defect in survey.pixels} == {float(flag)}

    @given(st.sampled_from([3000, 20000]), st.integers(0, N - 1), st.integers(0, N - 1), st.booleans())
    @settings(max_examples=15)
    def test_hot_pixels_constant_or_noisy(self, rate, y, x, noisy):
        noise = np.random.default_rng(0).poisson(rate, 100)
        survey = survey_scan(edited(lambda c: c.__setitem__((slice(None), y, x), noise if noisy else rate)))
        near = max(abs(y - N // 2), abs(x - N // 2)) <= 4
        assert survey.bad(N)[y, x] or (noisy and near)
        assert survey.bad(N).sum() <= 1
        assert survey.frames == ()

    def test_dead_pixels_and_lines_of_zeros(self):
        scan = simulated(photons=1e8)
        y, x = np.unravel_index(np.argmax(scan.counts.sum(0)), (N, N))
        counts = scan.counts.copy()
        counts[:, y, x] = counts[:, 5] = counts[:, :, 27:29] = 0
        expected = np.zeros((N, N), bool)
        expected[y, x] = expected[5] = expected[:, 27:29] = True
        np.testing.assert_array_equal(survey_scan(scan.replace(counts=counts)).bad(N), expected)

    @given(st.sampled_from([1e5, 1e6, 1e8]), st.floats(0.3, 0.8))
    @settings(max_examples=10)
    def test_saturation_is_a_level_that_many_readings_share(self, photons, share):
        scan = simulated(photons=photons)
        level = int(share * scan.counts.max())
        counts = np.minimum(scan.counts, level)
        survey = survey_scan(scan.replace(counts=counts))
        assert survey.saturation_level == level
        always = np.count_nonzero((counts == level).all(0))
        assert survey.saturated_pixels == np.count_nonzero((counts == level).any(0)) - always
        often = (counts == level).mean(0) > 0.1
        assert survey.bad(N)[often].all()
        assert not survey.bad(N)[~often].any()

    def test_masked_pixels_are_not_looked_at(self):
        scan = edited(lambda c: c.__setitem__((slice(None), 3, 3), 50000))
        good = scan.good.copy()
        good[3, 3] = False
        assert survey_scan(scan.replace(mask=good)).clean

    def test_few_frames_prove_nothing(self):
        scan = edited(lambda c: c.__setitem__((slice(None), 3, 3), 500)).subset(np.arange(8))
        assert survey_scan(scan).clean
        assert find_bad_pixels.__doc__


class TestFrames:
    """Bad frames by kind."""

    BAD = (17, 40, 41, 88)

    @pytest.mark.parametrize("photons", [1e3, 1e6])
    def test_empty_frames(self, photons):
        survey = survey_scan(edited(lambda c: c.__setitem__(list(self.BAD), 0), photons=photons))
        assert frames_of(survey, "empty") == list(self.BAD)
        assert survey.left_out.tolist() == list(self.BAD)

    def test_the_flux_follows_the_frames_that_are_left(self):
        scan = edited(lambda counts: counts.__setitem__(40, 0)).replace(flux=np.linspace(0.5, 1.5, 100))
        assert apply_survey(scan, survey_scan(scan)).flux.tolist() == np.delete(scan.flux, 40).tolist()

    def test_a_run_of_empty_frames(self):
        survey = survey_scan(edited(lambda c: c.__setitem__(slice(33, 67), 0)))
        assert frames_of(survey, "empty") == list(range(33, 67))

    @given(st.floats(20, 1000))
    @settings(max_examples=5)
    def test_bright_frames_with_their_factor(self, factor):
        scan = simulated()
        counts = scan.counts.astype(np.uint32)
        counts[[17, 88]] = np.rint(counts[[17, 88]] * factor)
        survey = survey_scan(scan.replace(counts=counts))
        assert frames_of(survey, "bright") == [17, 88]
        assert survey.frames[0].numbers == pytest.approx(factor, rel=0.3)

    def test_frames_of_noise_have_another_shape(self):
        total = simulated(photons=1e6).counts[0].sum()
        noise = np.random.default_rng(0).poisson(total / N**2, (2, N, N))
        survey = survey_scan(edited(lambda c: c.__setitem__([17, 88], noise), photons=1e6))
        assert frames_of(survey, "unlike") == [17, 88]

    def test_repeated_frames_are_the_later_ones(self):
        def repeat(counts):
            counts[[21, 22, 70]] = counts[[20, 20, 69]]

        survey = survey_scan(edited(repeat))
        assert frames_of(survey, "repeated") == [21, 22, 70]
        assert survey.frames[0].numbers.tolist() == [20, 20, 69]

    def test_a_second_exposure_at_the_same_place_is_no_repetition(self):
        scan = simulated()
        twice = scan.replace(
            counts=np.concatenate([scan.counts, scan.counts]), positions_px=np.tile(scan.positions_px, (2, 1))
        )
        assert survey_scan(twice).clean

    @given(st.floats(400, 1e6), st.floats(0, 2 * np.pi))
    @settings(max_examples=10)
    def test_stray_positions_however_far(self, distance, angle):
        scan = simulated()
        positions = scan.positions_px.copy()
        positions[50] += distance * np.array([np.sin(angle), np.cos(angle)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ptypinn.data.scan.ScanData.__post_init__", lambda self: None)
            scan = scan.replace(positions_px=positions)
        survey = survey_scan(scan)
        assert frames_of(survey, "stray") == [50]
        assert survey.frames[0].numbers == pytest.approx([distance], abs=100)

    def test_the_rest_of_an_aborted_scan(self):
        scan = edited(lambda c: c.__setitem__(slice(70, None), 0))
        positions = scan.positions_px.copy()
        positions[70:] = 0
        survey = survey_scan(scan.replace(positions_px=positions))
        assert frames_of(survey, "rest") == list(range(70, 100))
        assert len(survey.left_out) == 30

    def test_readings_hit_by_cosmic_rays_are_replaced_in_their_frame_only(self):
        hits = [(5, 3, 4), (50, 29, 8), (50, 29, 9), (99, 0, 31)]

        def strike(counts):
            for hit in hits:
                counts[hit] = 60000

        scan = edited(strike)
        survey = survey_scan(scan)
        assert np.column_stack([survey.rays.frame, survey.rays.pixel]).tolist() == [list(hit) for hit in hits]
        corrected = apply_survey(scan, survey)
        assert np.count_nonzero(corrected.counts != scan.counts) == len(hits)
        assert corrected.counts.max() < 60000
        assert corrected.good.all()


class TestRecord:
    """The record in the provenance, in words and in numbers."""

    def test_the_record_is_plain_and_in_words(self):
        def spoil(counts):
            counts[:, 20:23] = 2**32 - 1
            counts[[17, 60]] *= 100
            counts[:, 20:23] = 2**32 - 1

        scan = edited(spoil)
        record = apply_survey(scan, survey_scan(scan)).provenance[SURVEY]
        assert record["masked_pixels"] == 96
        assert record["frames_left_out"] == [17, 60]
        lines = describe_survey(record)
        assert lines[0] == "96 pixels hold 4294967295 in every pattern: masked"
        assert "frames 17 and 60 hold" in lines[1]
        assert "times the photons of their neighbours: left out" in lines[1]

    def test_a_clean_scan_has_no_record(self):
        scan = simulated()
        assert SURVEY not in apply_survey(scan, survey_scan(scan)).provenance
        assert describe_survey({}) == []

    def test_a_surveyed_scan_is_clean(self):
        def spoil(counts):
            counts[:, 5, 5], counts[30], counts[31] = 20000, 0, counts[32]
            counts[60, 9, 9] = 30000

        scan = edited(spoil)
        once = apply_survey(scan, survey_scan(scan))
        assert once.n_patterns == 98
        assert survey_scan(once).clean

    def test_values_that_are_no_counts_in_some_frames_are_refused_with_their_numbers(self):
        scan = simulated()
        counts = scan.counts.astype(np.float32)
        counts[[3, 41], 5, 6] = np.nan
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ptypinn.data.scan.ScanData.__post_init__", lambda self: None)
            scan = scan.replace(counts=counts)
        with pytest.raises(InputError, match=r"nan at pattern 3, pixel \(5, 6\).*41"):
            apply_survey(scan, survey_scan(scan))

    def test_it_is_an_option(self):
        assert LoadConfig().survey
