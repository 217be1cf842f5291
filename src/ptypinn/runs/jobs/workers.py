"""Backends of jobs: this process, a pool of processes, or a Dask cluster."""

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
from ptypinn.runs.jobs.job import Outcome, Task, clean_up, describe_error, run_job

NamedOutcome = tuple[str, Outcome]
Outcomes = Generator[NamedOutcome, None, None]
Backend = Callable[[Sequence[Task]], Outcomes]

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PROCESS_DIED = "its process died: killed, or out of memory"
CONNECT_S = 10.0
"""Timeout for a scheduler, and then for its first worker, seconds."""


def choose_backend(config: JobsConfig) -> Backend:
    """Return the function that runs tasks and yields the name and outcome of each job when it ends.

    Raises:
        InputError: Where the cluster cannot be reached.
    """
    if config.scheduler:
        client = _connect(config.scheduler)
        return lambda tasks: run_on_dask(tasks, client)
    if config.workers == 0:
        return run_serial
    workers = config.workers or max(1, count_cpus() // config.threads)
    return lambda tasks: run_in_pool(tasks, workers)


def count_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_serial(tasks: Sequence[Task]) -> Outcomes:
    """Run tasks one after the other in this process."""
    for task in tasks:
        yield task.job.name, run_job(task)


def run_in_pool(tasks: Sequence[Task], workers: int) -> Outcomes:
    """Run tasks in parallel in new processes, at most `workers` at a time.

    A job that kills its process breaks the whole pool; all jobs that were running at that time are repeated one by one,
    which identifies the one at fault.
    """
    waiting = deque(tasks)
    while waiting:
        suspects = yield from _run_until_crash(waiting, workers)
        for task in suspects:
            if (yield from _run_until_crash(deque([task]), 1)):
                yield task.job.name, Outcome(failure=PROCESS_DIED)


def _run_until_crash(waiting: deque[Task], workers: int) -> Generator[NamedOutcome, None, list[Task]]:
    """Run tasks from the queue; return those that were running when a process died."""
    running: dict[Future[Outcome], Task] = {}
    try:
        with _process_pool(min(workers, len(waiting)), waiting[0].threads) as pool:
            while waiting or running:
                while waiting and len(running) < workers:
                    running[pool.submit(run_job, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = _get_outcome(future)
                    yield running.pop(future).job.name, outcome
    except BrokenProcessPool:
        return list(running.values())
    finally:
        for task in running.values():
            clean_up(task.folder, [task.job.name])
    return []


@contextlib.contextmanager
def _process_pool(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Start a pool of new processes with limited threads; an exception in the context kills them at once."""
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with _environment({name: str(threads) for name in THREAD_LIMITS}):
        pool = ProcessPoolExecutor(workers, spawn, initializer=_ignore_interrupts)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.kill()  # files appear under their final names only when they are complete
                child.join()
            raise
        pool.shutdown()


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started inside the context."""
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


def run_on_dask(tasks: Sequence[Task], client: Any) -> Outcomes:
    """Run tasks on a Dask cluster, which keeps running afterwards; an interruption cancels the tasks that wait."""
    distributed = _import_distributed()
    with client:
        names = {client.submit(run_job, task, pure=False): task.job.name for task in tasks}
        try:
            for future in distributed.as_completed(list(names), loop=client.loop):
                yield names[future], _get_outcome(future)
        finally:
            client.cancel([future for future in names if not future.done()])


def _get_outcome(future: Any) -> Outcome:
    """Return the outcome from a worker, or the reason why there is none.

    Raises:
        BrokenProcessPool: Where a process of the pool died.
    """
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        raise error
    return Outcome(failure=PROCESS_DIED if type(error).__name__ == "KilledWorker" else describe_error(error))


def _import_distributed() -> ModuleType:
    try:
        import distributed
    except ImportError:
        raise InputError("--scheduler", "", "no package distributed", "pip install 'ptypinn[dask]'") from None
    return distributed


def _connect(address: str) -> Any:
    distributed = _import_distributed()
    expected = "the address of a running Dask scheduler, such as tcp://host:8786"
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError("--scheduler", "", f"{address}, which does not answer ({reason})", expected) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
        max_threads = max(client.nthreads().values())
    except TimeoutError:
        client.close()
        raise InputError("--scheduler", "", f"{address} without workers", "a cluster with workers") from None
    if max_threads > 1:
        client.close()
        actual = f"workers that run {max_threads} jobs at once in one process"
        raise InputError("--scheduler", "", actual, "one thread each: dask worker --nthreads 1 --nworkers auto")
    return client
