"""A program in place of ptypinn whose seed says how it ends, and the wait for its jobs."""

import time

PROGRAM = """
import json, os, platform, signal, sys, time
from pathlib import Path
options = dict(word[2:].partition("=")[::2] for word in sys.argv[3:])
folder, kind = Path(options["output-dir"]), options.get("seed", "1")
folder.mkdir(parents=True, exist_ok=True)
(folder / "calls.txt").open("a").write(" ".join(sys.argv[1:]) + "\\n")
if kind == "3":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("refine 1/9  loss 3", flush=True)
if kind == "4":
    sys.exit("ptypinn: error: " + sys.argv[2] + ": no probe")
if kind == "5":
    sys.exit("ptypinn: error: interrupted")
if kind == "6":
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "7":
    calls = []
    signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    (folder / ".lock").write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}))
    (folder / "live.json").write_text('{"state": "receiving"}')
    while not calls:
        time.sleep(0.01)
    time.sleep(0.3)
    (folder / "signals.txt").write_text(str(len(calls)))
if kind in "23":
    time.sleep(60)
time.sleep(float(options.get("tolerance", 0)))
(folder / "run_metadata.json").write_text(json.dumps({"stage": sys.argv[1]}))
"""
QUICK, LONG, DEAF, FAILING, STOPPED, KILLED, RECEIVING = ["1", "2", "3", "4", "5", "6", "7"]


def until(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "never"
        time.sleep(0.01)


def wait_for(queue, job, *states):
    until(lambda: queue.job(job.id).state in states)
    return queue.job(job.id)
