"""Kill stages at random moments: `python tests/faults/kills.py --kills 40 --seed 0`, per stage.

After a kill, what bears a final name is whole, and the folder does not pass for finished; after the repeat, or the
resumption where the stage has one, results are those of a run that was not killed, to the bit, and nothing else is
left.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import h5py
import numpy as np
import torch

from ptypinn import Reconstruction, SimulateConfig, save, simulate
from ptypinn.cli.main import main as run_command
from ptypinn.errors import InputError
from ptypinn.models.model_file import load_patch_model, load_weights
from ptypinn.runs.folder import CONFIG, FINISHED
from ptypinn.training.checkpoints import load_checkpoint

STAGES = {
    "refine": ("refine", "{scan}", "--iterations", "25"),
    "reconstruct": ("reconstruct", "{scan}", "--assume", "ideal"),
    "windows": ("reconstruct", "{scan}", "--assume", "ideal", "--no-refine-probe", "--tile-px", "48"),
    "workers": (
        *("reconstruct", "{scan}", "--assume", "ideal", "--no-refine-probe", "--tile-px", "48"),
        *("--workers", "2"),
    ),
    "train": ("train", "{scan}", "--epochs", "4", "--width", "16", "--no-survey"),
    "finetune": ("finetune", "{scan}", "--epochs", "3", "--patterns", "40"),
    "pretrain": (
        *("pretrain", "--epochs", "3", "--scans-per-epoch", "2", "--replay-steps", "0", "--states-per-scan", "2"),
        *("--max-rounds-known-probe", "2", "--max-rounds-guessed-probe", "2", "--val-scans", "1", "--card-scans", "1"),
        *("--window-px", "64", "--widths", "4,4,8,8", "--workers", "0", "--precision", "32", "--photons-log10", "4,5"),
    ),
    "dask": (
        *("reconstruct", "{scan}", "--assume", "ideal", "--no-refine-probe", "--tile-px", "48"),
        *("--scheduler", "{scheduler}"),
    ),
}
"""Command of every stage; those in `RESUMED` go on with `--resume`."""
RESUMED = {"train", "finetune", "pretrain"}
ARRAYS = ("object", "illumination", "probe", "positions_px")


def start(words):
    """Start a command in a process of its own that shares the imports of this one; return its number."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)  # a kill may come before the process has done so itself
        return pid
    os.setpgid(0, 0)
    code = 1
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            code = run_command([*words, "--quiet"])
    finally:
        os._exit(code)


def finish(pid):
    """Wait for a command; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid, seconds):
    """Kill a command and its workers after a time; return False where it has ended before."""
    time.sleep(seconds)
    ended = os.waitpid(pid, os.WNOHANG)[0] == pid
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    if not ended:
        os.waitpid(pid, 0)
    return not ended


def read_results(folder):
    """Return what a finished run has computed, by file and name."""
    results = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "reconstruction.h5":
            recon = Reconstruction.load(path)
            results |= {f"{path.name} {name}": getattr(recon, name) for name in ARRAYS}
        elif path.suffix == ".safetensors":
            results |= {f"{path.name} {name}": value.numpy() for name, value in read_tensors(path).items()}
    return results


def read_tensors(path):
    """Return the tensors of a model or of weights."""
    try:
        return load_patch_model(path).weights
    except InputError:
        return load_weights(path).network.state_dict()


def read_values(_, item):
    """Read a dataset of a file; the visit goes on, as nothing is returned."""
    if isinstance(item, h5py.Dataset):
        np.asarray(item)


def find_torn(folder):
    """Return what is wrong with the files of a folder whose run was killed."""
    problems = []
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            if path.suffix == ".h5":
                with h5py.File(path, "r") as file:
                    file.visititems(read_values)
            elif path.suffix == ".ckpt":
                load_checkpoint(path)
            elif path.suffix == ".safetensors":
                read_tensors(path)
        except Exception as error:
            problems.append(f"{path.name} is torn: {error}")
    return problems


@contextmanager
def fill_words(stage, scan):
    """Yield the words of a stage; a cluster of one worker runs as long as they are used, if they name one."""
    words = STAGES[stage]
    if "{scheduler}" not in words:
        yield [word.format(scan=scan) for word in words]
        return
    import distributed

    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield [word.format(scan=scan, scheduler=cluster.scheduler_address) for word in words]


def check_kill(stage, words, folder, reference, seconds):
    """Kill a stage after a time, repeat it, and return what is wrong."""
    pid = start([*words, "--output-dir", str(folder)])
    killed = kill(pid, seconds)
    problems = find_torn(folder) if folder.exists() else []
    if killed and (folder / FINISHED).exists() and not (folder / CONFIG).exists():
        problems.append("it passes for finished without its configuration")
    resumable = stage in RESUMED and (folder / "checkpoints" / "last.ckpt").exists()
    again = ["--resume"] if resumable else ["--overwrite"]
    if code := finish(start([*words, "--output-dir", str(folder), *again])):
        return [*problems, f"the repeat ends with {code} ({again[0]})"]
    results = read_results(folder)
    problems += [f"{name} differs" for name in reference if not np.array_equal(reference[name], results.get(name))]
    problems += [f"{path.name} is left" for path in folder.rglob(".*") if path.is_file()]
    return problems


def check_stage(stage, scan, folder, kills, seed):
    """Kill a stage many times, print what goes wrong, and return how often anything did."""
    moments, failures = random.Random(f"{seed} {stage}"), 0
    with fill_words(stage, scan) as words:
        started, whole = time.monotonic(), folder / f"{stage}_whole"
        if code := finish(start([*words, "--output-dir", str(whole)])):
            print(f"{stage}: ends with {code} without a kill", flush=True)
            return kills
        seconds, reference = time.monotonic() - started, read_results(whole)
        for number in range(kills):
            place = folder / f"{stage}_{number}"
            problems = check_kill(stage, words, place, reference, moments.uniform(0, 1.05 * seconds))
            failures += bool(problems)
            if problems:
                print(f"{stage} {number}: {'; '.join(problems)}", flush=True)
            shutil.rmtree(place, ignore_errors=True)
    print(f"{stage}: {kills} kills within {seconds:.1f} s, {len(reference)} arrays", flush=True)
    return failures


def main():
    """Kill every stage many times; exit with 1 if anything goes wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=26, help="per stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(STAGES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stages = arguments.only or list(STAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = save(simulate(SimulateConfig(size=32, object_size=(88, 88), n_patterns=120, seed=1)), folder / "scan.h5")
        failures = sum(check_stage(stage, scan, folder, arguments.kills, arguments.seed) for stage in stages)
    print(f"{len(stages) * arguments.kills} kills, {failures} went wrong", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
