"""Commands that `torchrun` or `srun` starts several times, to solve one scan together.

The first process reads the scan, prints, and writes the run folder; the others are silent.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ptypinn.cli.session import report_errors
from ptypinn.utils.rank_start import RankStart, find_start

SHARED_COMMANDS = frozenset({"reconstruct", "refine"})
"""Commands whose work several processes share, or that the first one of them refuses to share."""


def find_companions(command: str | None) -> RankStart | None:
    """Return the place of this process among those that were started for a command; None where it runs alone."""
    return find_start(os.environ) if command in SHARED_COMMANDS else None


def run_together(start: RankStart, run: Callable[[], int], debug: bool) -> int:
    """Run a command in the first process; in the others, do what that one hands out, without a word.

    They end with the first one. Where one of them ends before, all do, and the first one says so.

    Args:
        start: Place of this process.
        run: Runs the command, and returns its exit code.
        debug: Print tracebacks.

    Returns:
        The exit code.
    """
    from ptypinn.utils.ranks import join_ranks

    with report_errors(debug) as outcome, join_ranks(start) as ranks:
        if not ranks.leads:
            return _follow(start)
        try:
            return run()
        finally:
            ranks.dismiss()
    return outcome.code


def _follow(start: RankStart) -> int:
    """Do what the first process hands out; failures of this one are its own to tell."""
    from ptypinn.solvers.unrolled.solver import follow
    from ptypinn.utils.ranks import current_ranks

    ranks = current_ranks()
    assert ranks is not None
    try:
        follow(ranks)
    except (ConnectionError, KeyboardInterrupt):
        return 1
    except Exception as error:
        error.add_note(f"in rank {start.rank} of {start.size}")
        raise
    return 0
