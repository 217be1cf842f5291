"""Jobs of the tests of the service, for processes that import nothing else: files say what becomes of them."""

import json
import os
import signal
import time
from pathlib import Path

from ptypinn.runs.service.arrivals import join_signatures, sign_file

SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}


def solve(path, run_dir, solved, was_waited_for):
    """Do what the file says."""
    order, _, argument = Path(path).read_text().partition(" ")
    run = Path(run_dir)
    if order in ("wait", "stubborn"):
        if order == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (run.parent / f"{run.name}.started").touch()
        time.sleep(60)
    if order in SIGNALS:
        os.kill(os.getpid(), SIGNALS[order])
    if order in ("dark", "fatal"):
        return fail_after_receiving(run, argument, order)
    if order == "raise":
        raise ValueError(argument)
    if order == "ignore":
        return {"state": "ignored", "text": argument}
    if order == "parts" and not was_waited_for and not (Path(path).parent / argument).exists():
        return {"state": "arriving", "parts": [argument], "text": f"waits for {argument}"}
    if order == "full" and not Path(argument).exists():
        return {"state": "failed", "error": "no space left", "full": True}
    parts = [argument] if order == "parts" else []
    files = {"parts": parts, "signatures": [sign_file(Path(path).parent / name) for name in parts]}
    values = (Path(path).read_text(), f"{Path(path).read_text()} {join_signatures(files['signatures'])}")
    if previous := next((name for name, value in solved.items() if value in values), None):
        return {"state": "finished", "run": previous, "text": "was solved before", **files}
    write_run(run, path)
    return {"state": "finished", "patterns": 60, "text": "Mostly.", "order": time.monotonic(), **files}


def fail_after_receiving(run, reason, order):
    """Fail as a series of which frames were received."""
    (run / "spool").mkdir(parents=True, exist_ok=True)
    (run / "spool" / "0001.h5").touch()
    return {"error": reason} | ({"state": "failed"} if order == "dark" else {})


def write_run(run, path):
    """Write what a finished run of a scan has on record."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "object.png").write_bytes(b"picture")
    scan = {"path": str(path), "sha256": Path(path).read_text() if Path(path).exists() else ""}
    (run / "run_metadata.json").write_text(json.dumps({"inputs": {"scan": scan}, "files": ["object.png"]}))
