"""A watched folder, its runs, and the service between them."""

import json
import os
import threading
import time
from pathlib import Path

from ptypinn.config.watch import WatchConfig
from ptypinn.runs.service.arrivals import Selection
from ptypinn.runs.service.health import HEALTH, STATE_FOLDER
from ptypinn.runs.service.log import LOG, ScanLog
from ptypinn.stages.watch import WatchService, open_service_folder
from ptypinn.stages.watch_queues import FolderQueue
from service_jobs import solve

QUICK = {"settle_s": 0.05, "poll_s": 0.1}
LIMIT_S = 90.0


class Place:
    """A watched folder, the folder of its runs, and the service between them."""

    def __init__(self, root: Path) -> None:
        self.scans, self.runs, self.lines = root / "scans", root / "runs", []
        self.scans.mkdir()

    def put(self, name: str, text: str = "solve", age_s: float = 0.0) -> Path:
        path = self.scans / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (time.time() - age_s,) * 2)
        return path

    def serve(self, until=None, allow_external=False, function=solve, **options):
        """Run the service until a condition holds of its records and lines."""
        config, stopped = WatchConfig(**{**QUICK, **options}), threading.Event()
        state_folder = self.runs / STATE_FOLDER
        log = ScanLog(state_folder, lambda line, record: self.lines.append(line))
        with open_service_folder(self.runs, log.say) as journal:
            selection = Selection(self.scans.resolve(), self.runs.resolve(), ["*.scan"], allow_external)
            queue = FolderQueue(selection, config, journal, log.say)
            watcher = threading.Thread(target=self._stop, args=(stopped, until), daemon=True)
            watcher.start()
            WatchService(self.runs, queue, journal, function, config, log).run(stopped)
            watcher.join()

    def _stop(self, stopped, until):
        end_s = time.monotonic() + LIMIT_S
        try:
            while until is not None and time.monotonic() < end_s and not until(self):
                time.sleep(0.02)
        finally:
            if until is not None:
                stopped.set()

    @property
    def records(self):
        path = self.runs / STATE_FOLDER / LOG
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def outcomes(self):
        return [(record["scan"], record["state"]) for record in self.records]

    @property
    def health(self):
        return json.loads((self.runs / STATE_FOLDER / HEALTH).read_text())
