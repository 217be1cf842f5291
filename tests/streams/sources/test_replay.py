"""Replayed scans: everything of the scan arrives once, when it is due, but for what was asked to go wrong."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.errors import InputError
from ptypinn.io.load_save import save
from ptypinn.streams.messages import METADATA_FIELDS, End, Frames, Metadata, Positions
from ptypinn.streams.sources.registry import open_source
from ptypinn.streams.sources.replay_schedule import ReplayOptions, plan_replay

FRAMES = 40


@pytest.fixture(scope="module")
def scan(make_scan):
    return make_scan(FRAMES)


@pytest.fixture(scope="module")
def path(scan, tmp_path_factory):
    return save(scan, tmp_path_factory.mktemp("replay") / "scan.h5")


def collect(address):
    return [message for message in open_source(address).messages() if message is not None]


def parts(messages, kind):
    return [message for message in messages if isinstance(message, kind)]


def test_a_replay_is_the_scan(scan, path):
    messages = collect(f"replay:{path}?rate=0")
    frames, positions = parts(messages, Frames), parts(messages, Positions)
    assert np.concatenate([part.numbers for part in frames]).tolist() == list(range(FRAMES))
    counts = np.concatenate([part.counts for part in frames])
    assert counts.dtype == scan.counts.dtype and np.array_equal(counts, scan.counts)
    metres = np.concatenate([part.positions_m for part in positions])
    assert np.allclose(metres, scan.positions_px * scan.pixel_size_m, rtol=1e-12)
    values = messages[0].values
    assert isinstance(messages[0], Metadata) and set(values) == set(METADATA_FIELDS) - {"beam_centre_px"}
    assert values["energy_eV"] == scan.energy_eV and np.array_equal(values["mask"], scan.mask)
    assert messages[-1] == End(FRAMES) and len(parts(messages, End)) == 1


def test_frames_come_at_their_rate(path):
    source = open_source(f"replay:{path}?rate=400&positions_delay_s=0.02")
    start, delays = time.monotonic(), []
    for message in source.messages():
        if isinstance(message, Frames):
            assert message.times_s.tolist() == (message.numbers / 400).tolist()
            delays.append(time.monotonic() - start - message.times_s.min())
    assert time.monotonic() - start >= (FRAMES - 1) / 400 + 0.02
    assert min(delays) > -0.001 and np.median(delays) < 0.05
    assert not source.can_wait


def test_silence_is_broken_and_close_ends_it(path):
    source = open_source(f"replay:{path}?rate=0.5")
    times, messages = [time.monotonic()], []
    for message in source.messages():
        times.append(time.monotonic())
        messages.append(message)
        if len(messages) == 6:
            source.close()
    assert max(np.diff(times)) < 0.2
    assert len(messages) < 10 and isinstance(messages[-1], End)


@given(
    lost=st.floats(0.0, 1.0),
    repeated=st.floats(0, 1),
    late=st.floats(0, 1),
    seed=st.integers(0, 99),
    order=st.sampled_from(["recorded", "random"]),
)
def test_losses_and_repetitions_are_as_many_as_asked(lost, repeated, late, seed, order):
    path = np.random.default_rng(seed).normal(size=(200, 2))
    options = ReplayOptions(lost=lost, repeated=repeated, late=late, late_s=3.0, seed=seed, order=order, rate=100.0)
    plan = plan_replay(path, options)
    numbers, sent = np.unique(plan.frames, return_counts=True)
    assert len(numbers) == 200 - round(lost * 200) and sent.max(initial=1) <= 2
    assert (sent == 2).sum() == min(round(repeated * 200), len(numbers))
    assert (np.diff(plan.frames_at_s) >= 0).all()
    delay = plan.frames_at_s - plan.exposed_at_s[plan.frames]
    assert delay.min(initial=0) >= 0 and delay.max(initial=0) <= 4
    if not repeated:
        assert (delay > 1e-9).sum() == min(round(late * 200), len(numbers))
    assert sorted(plan.exposed_at_s) == pytest.approx(np.arange(200) / 100)
    assert np.array_equal(plan.positions, path[plan.position_numbers]) and len(plan.positions) == 200


def test_one_seed_is_one_replay():
    path = np.zeros((50, 2))
    first, again, other = (
        plan_replay(path, ReplayOptions(lost=0.1, late=0.2, jitter_s=0.1, order="random", seed=seed))
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.frames_at_s, again.frames_at_s)
    assert not np.array_equal(first.frames, other.frames)


@pytest.mark.parametrize("order", ["recorded", "random"])
def test_an_encoder_shows_the_positions_at_the_exposures(order):
    path = np.random.default_rng(0).normal(size=(30, 2))
    drift, offset = 2e-3, 1.7e5
    plan = plan_replay(
        path,
        ReplayOptions(rate=50.0, order=order, encoder_rate=1000.0, clock_drift=drift, clock_offset_s=offset),
    )
    clock = (plan.encoder_times_s - offset) / (1 + drift)
    seen = np.stack([np.interp(plan.exposed_at_s, clock, plan.positions[:, axis]) for axis in (0, 1)], axis=1)
    assert plan.position_numbers is None and np.allclose(seen, path)
    assert len(plan.positions) > 30 * 20


def test_a_scan_without_a_pixel_is_refused_or_given_one(make_scan, tmp_path):
    path = save(make_scan(pixel_size_m=None, energy_eV=None), tmp_path / "scan.h5")
    with pytest.raises(InputError, match=r"object pixel: found none, expected .*pixel_size_m"):
        open_source(f"replay:{path}")
    positions = parts(collect(f"replay:{path}?rate=0&pixel_size_m=1e-9"), Positions)
    assert np.allclose(positions[0].positions_m, make_scan().positions_px * 1e-9)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("rate=-1", "rate: found -1.0, expected a number of at least 0"),
        ("rate=fast", "rate: found 'fast', expected a number"),
        ("rate=nan", "rate: found nan"),
        ("lost=1.5", "lost: found 1.5, expected a fraction"),
        ("order=reverse", "order: found 'reverse', expected one of recorded, random"),
        ("speed=3", "options: found 'speed', expected one of rate, order"),
        ("rate", "options: found 'rate', expected NAME=VALUE"),
        ("rate=1&rate=2", "options: found one of them twice"),
        ("rate=0&encoder_rate=10", "rate: found 0.0, expected a rate above 0"),
        ("seed=-1", "seed: found -1"),
    ],
)
def test_wrong_options_are_named(path, query, message):
    with pytest.raises(InputError, match=message):
        open_source(f"replay:{path}?{query}")


@pytest.mark.parametrize("address", ["", "scan.xyz", "ftp://host:1", "replay", "replay:/nowhere.h5"])
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(InputError) as error:
        open_source(address)
    assert "\n" not in str(error.value)


def test_the_receiver_needs_no_torch(path):
    code = (
        "import sys; from ptypinn.streams.sources.registry import open_source; "
        f"list(open_source('replay:{path}?rate=0').messages()); "
        "print([name for name in ('torch', 'zmq', 'p4p', 'cbor2', 'watchfiles') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
