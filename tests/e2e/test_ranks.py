"""`reconstruct` started several times, as `torchrun` and `srun` do: one voice, one run folder, one end."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.io.load_save import save
from rank_cases import case_scan

TORCHRUN = {"rank": "RANK", "size": "WORLD_SIZE", "local": "LOCAL_RANK"}
SLURM = {"rank": "SLURM_PROCID", "size": "SLURM_STEP_NUM_TASKS", "local": "SLURM_LOCALID"}


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    save(case_scan("known probe"), path)
    return path


def start(names, command, folder, count=2):
    """Start a command several times, with the variables of a launcher."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), names["size"]: str(count)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "ptypinn", *map(str, command)],
            env={**shared, names["rank"]: str(rank), names["local"]: str(rank), "OMP_NUM_THREADS": "1"},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


@pytest.mark.parametrize("names", [TORCHRUN, SLURM], ids=["torchrun", "srun"])
def test_the_first_process_alone_writes_and_speaks(names, scan_file, tmp_path):
    options = ["--no-refine-probe", "--assume", "ideal", "--rounds", 3, "--threads", 1]
    together = start(names, ["reconstruct", scan_file, "--output-dir", "run", *options], tmp_path)
    (text, _), others = together[0].communicate(timeout=120), together[1].communicate(timeout=120)
    assert [process.returncode for process in together] == [0, 0]
    assert "results in run" in text
    assert others == ("", "")
    recon = Reconstruction.load(tmp_path / "run" / "reconstruction.h5")
    assert recon.object.shape[0] > 60
    assert np.isfinite(recon.object).all()


def test_a_process_that_is_killed_ends_all_with_one_line(scan_file, tmp_path):
    options = ["--no-refine-probe", "--assume", "ideal", "--rounds", 5000, "--threads", 1]
    first, second = start(TORCHRUN, ["reconstruct", scan_file, "--output-dir", "run", *options], tmp_path)
    line = first.stderr.readline()
    while "reconstruct 1/" not in line:
        assert line, "ended before the first round"
        line = first.stderr.readline()
    second.send_signal(signal.SIGKILL)
    text, errors = first.communicate(timeout=60)
    assert first.returncode == 1
    assert text == ""
    last = [line for line in errors.splitlines() if "error" in line or "Error" in line]
    assert last == ["ptypinn: error: rank 0 of 2: another rank has ended or does not answer; its own messages say why"]
    second.communicate(timeout=60)


def test_bad_usage_ends_all_with_the_usage_of_one(tmp_path):
    together = start(TORCHRUN, ["reconstruct", "missing.h5", "--output-dir", "run"], tmp_path)
    outputs = [process.communicate(timeout=120) for process in together]
    assert together[0].returncode == 1
    assert outputs[0][1].splitlines() == [
        "ptypinn: error: missing.h5: file: found nothing under this name, expected a file"
    ]
    assert outputs[1] == ("", "")
    assert together[1].returncode == 0
