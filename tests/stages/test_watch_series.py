"""The service follows series after series of a stream, whatever becomes of single ones."""

import threading
import time
from types import SimpleNamespace

import pytest
from tests.stages.watched_place import LIMIT_S

from ptypinn.config.watch import WatchConfig
from ptypinn.runs.service.health import STATE_FOLDER
from ptypinn.runs.service.log import ScanLog
from ptypinn.stages import watch_queues as queues_module
from ptypinn.stages.watch import WatchService, open_service_folder
from ptypinn.stages.watch_queues import SeriesQueue
from service_jobs import solve


@pytest.fixture
def follow(place):
    """Return the function that follows series after series, as a file says that they go."""
    source = place.put("stream")

    def follow(order, **options):
        source.write_text(order)
        stopped, log = threading.Event(), ScanLog(place.runs / STATE_FOLDER, lambda line, record: None)
        timer = threading.Timer(LIMIT_S, stopped.set)
        timer.start()
        with open_service_folder(place.runs, log.say) as journal:
            queue = SeriesQueue(str(source), journal)
            queue.path = lambda scan: source
            WatchService(place.runs, queue, journal, solve, WatchConfig(**options), log).run(stopped)
        timer.cancel()
        return source

    return follow


def test_a_series_that_fails_is_tried_again_under_its_name(place, follow):
    threading.Timer(1.0, lambda: (place.scans / "stream").write_text("solve")).start()
    follow("raise no connection", stop_after=2)
    assert place.outcomes[0] == ("series-00001", "failed")
    assert place.outcomes[-2:] == [("series-00001", "finished"), ("series-00002", "finished")]
    assert place.outcomes.count(("series-00001", "failed")) == 1


def test_a_series_that_was_received_fails_alone_and_is_tried_again_on_request(place, follow):
    follow("dark no frame has counts", stop_after=2)
    assert place.outcomes == [("series-00001", "failed"), ("series-00002", "failed")]
    assert place.health["scans"]["failed"] == 2
    follow("solve", stop_after=1)
    assert place.outcomes[2:] == [("series-00003", "finished")]
    follow("solve", stop_after=2, retry_failed=True)
    assert place.outcomes[3:] == [("series-00001", "finished"), ("series-00002", "finished")]


def test_a_series_whose_process_keeps_dying_fails(place, follow, monkeypatch):
    monkeypatch.setattr(queues_module, "FIRST_WAIT_S", 0.01)
    follow("fatal out of memory", stop_after=1)
    assert place.outcomes == 2 * [("series-00001", "failed")] and place.health["scans"]["failed"] == 1
    assert (place.runs / "series-00001" / "spool").exists() and not (place.runs / "series-00002").exists()


def test_the_time_between_attempts_is_short_again_after_a_series(place, monkeypatch):
    clock_s = [0.0]
    monkeypatch.setattr(queues_module, "time", SimpleNamespace(monotonic=lambda: clock_s[0], time_ns=time.time_ns))
    with open_service_folder(place.runs, print) as journal:
        queue = SeriesQueue("stream", journal)
        for wait_s in (1, 2, 4):
            queue.postpone(queue.next(), 0.0)
            assert queue.next() is None
            clock_s[0] += wait_s
        journal.change(queue.next().path, state="finished")
        queue.postpone(queue.next(), 0.0)
        clock_s[0] += 1
        assert queue.next().path == "series-00002"
