"""Who does jobs: this process, a pool of processes, or a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import Any

from ptypinn.config.shared import JobsConfig
from ptypinn.errors import InputError
from ptypinn.runs.jobs.job import Outcome, Task, run_job, reason_of, sweep_up

Ended = tuple[str, Outcome]
Endings = Generator[Ended, None, None]
Backend = Callable[[Sequence[Task]], Endings]

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DIED = "its process died: killed, or out of memory"
CONNECT_S = 10.0
"""How long a scheduler, and then its first worker, is waited for."""


def backend(config: JobsConfig) -> Backend:
    """The function that runs tasks and yields each job's name and outcome as it ends.

    Raises:
        InputError: Where a cluster is asked for and cannot be reached.
    """
    if config.scheduler:
        client = _connect(config.scheduler)
        return lambda tasks: on_cluster(tasks, client)
    if config.workers == 0:
        return in_turn
    workers = config.workers or max(1, available_cpus() // config.threads)
    return lambda tasks: in_pool(tasks, workers)


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_turn(tasks: Sequence[Task]) -> Endings:
    """One after the other in this process."""
    for task in tasks:
        yield task.job.name, run_job(task)


def in_pool(tasks: Sequence[Task], workers: int) -> Endings:
    """Side by side in fresh processes, at most `workers` at a time.

    A job that takes its process down takes the pool down with it; the jobs that were running then are run again, each
    alone, which shows the one at fault.
    """
    waiting = deque(tasks)
    while waiting:
        suspects = yield from _until_one_dies(waiting, workers)
        for task in suspects:
            if (yield from _until_one_dies(deque([task]), 1)):
                yield task.job.name, Outcome(failure=DIED)


def _until_one_dies(waiting: deque[Task], workers: int) -> Generator[Ended, None, list[Task]]:
    """Run tasks off the queue; return those that were running when a process died, or nothing."""
    running: dict[Future[Outcome], Task] = {}
    try:
        with _pool(min(workers, len(waiting)), waiting[0].threads) as pool:
            while waiting or running:
                while waiting and len(running) < workers:
                    running[pool.submit(run_job, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = _outcome(future)
                    yield running.pop(future).job.name, outcome
    except BrokenProcessPool:
        return list(running.values())
    finally:
        for task in running.values():
            sweep_up(task.folder, [task.job.name])
    return []


@contextlib.contextmanager
def _pool(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes with limited threads; they are ended at once where the context is left by an exception."""
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with _environment({name: str(threads) for name in THREAD_LIMITS}):
        pool = ProcessPoolExecutor(workers, spawn, initializer=_leave_interrupts_to_the_parent)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.kill()  # what it was writing is nowhere under its final name
                child.join()
            raise
        pool.shutdown()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for processes started while the context lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def on_cluster(tasks: Sequence[Task], client: Any) -> Endings:
    """On the workers of a Dask cluster, which the client leaves behind as it is; an interruption cancels what waits."""
    distributed = _distributed()
    with client:
        names = {client.submit(run_job, task, pure=False): task.job.name for task in tasks}
        try:
            for future in distributed.as_completed(list(names), loop=client.loop):
                yield names[future], _outcome(future)
        finally:
            client.cancel([future for future in names if not future.done()])


def _outcome(future: Any) -> Outcome:
    """What a worker returned, or why nothing came back.

    Raises:
        BrokenProcessPool: Where a process of the pool died.
    """
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        raise error
    return Outcome(failure=DIED if type(error).__name__ == "KilledWorker" else reason_of(error))


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError:
        raise InputError("--scheduler", "", "no package distributed", "pip install 'ptypinn[dask]'") from None
    return distributed


def _connect(address: str) -> Any:
    distributed = _distributed()
    expected = "the address of a running Dask scheduler, such as tcp://host:8786"
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError("--scheduler", "", f"{address}, which does not answer ({reason})", expected) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
        busiest = max(client.nthreads().values())
    except TimeoutError:
        client.close()
        raise InputError("--scheduler", "", f"{address} without workers", "a cluster with workers") from None
    if busiest > 1:
        client.close()
        found = f"workers that run {busiest} jobs at once in one process"
        raise InputError("--scheduler", "", found, "one thread each: dask worker --nthreads 1 --nworkers auto")
    return client
