"""Processes that a launcher has started together: which of them this is, and where they meet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

FIRST_PORT, PORTS = 20000, 20000
"""Ports of jobs that state none: one of these, by the number of the job."""


class RankStart(NamedTuple):
    """Place of this process among those that were started together."""

    rank: int
    """Number of this process, from 0."""
    size: int
    """Number of all of them."""
    local_rank: int
    """Number among those on the same machine."""
    address: str
    """Address at which they meet, the `init_method` of `torch.distributed.init_process_group`."""


def find_start(environment: Mapping[str, str]) -> RankStart | None:
    """Return the place of this process, from the variables of `torchrun` or `srun`; None where it was started alone.

    >>> find_start({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"})
    RankStart(rank=1, size=2, local_rank=1, address='env://')
    >>> find_start({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "20007",
    ...             "SLURM_STEP_NODELIST": "gpu[03-04]"})
    RankStart(rank=0, size=2, local_rank=0, address='tcp://gpu03:20007')
    >>> find_start({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is None  # a batch script before any `srun`
    True
    """
    if int(environment.get("WORLD_SIZE", "1")) > 1 and "RANK" in environment:
        rank, size, local_rank = (int(environment.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return RankStart(rank, size, local_rank, "env://")
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in environment:
        job = int(environment.get("SLURM_JOB_ID", "0"))
        host = environment.get("MASTER_ADDR") or first_host(environment.get("SLURM_STEP_NODELIST", "localhost"))
        port = environment.get("MASTER_PORT") or FIRST_PORT + job % PORTS
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        rank, size, local_rank = (int(environment.get(name, "0")) for name in names)
        return RankStart(rank, size, local_rank, f"tcp://{host}:{port}")
    return None


def first_host(hosts: str) -> str:
    """Return the first of the hosts in a list as SLURM writes it.

    >>> [first_host(hosts) for hosts in ("node7,node9", "gpu[003-004,007]-ib", "localhost")]
    ['node7', 'gpu003-ib', 'localhost']
    """
    match = re.match(r"([^\[,]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", hosts)
    assert match is not None
    return "".join(part or "" for part in match.groups())
