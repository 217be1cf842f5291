"""The command line: a thin shell over the stage functions.

Exit codes: 0 done, 1 failed with a one-line reason on standard error, 2 bad usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ptypinn.cli.options import parse
from ptypinn.cli.session import report_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `ptypinn`.

    Args:
        argv: Arguments after the program's name; those of the process by default.

    Returns:
        The exit code, 0 or 1; help, version and bad usage leave through `SystemExit` with 0 or 2.
    """
    command, session = parse(list(sys.argv[1:] if argv is None else argv))
    with report_errors() as outcome:
        command.run(session, **command.arguments(session))
    return outcome.code
