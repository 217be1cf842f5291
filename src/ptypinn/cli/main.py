"""The command line: a thin shell over the stage functions.

Exit codes: 0 done, 1 failed for a reason that one line on standard error gives, 2 bad usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ptypinn.cli.errors import one_line_failures
from ptypinn.cli.options import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `ptypinn`.

    Args:
        argv: Arguments after the program's name; those of the process by default.

    Returns:
        The exit code, 0 or 1; help, version and bad usage leave through `SystemExit` with 0 or 2.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    stage, options = parse(arguments)
    with one_line_failures() as outcome:
        from ptypinn.cli.session import Session

        stage.run(Session(options, ["ptypinn", *arguments]))
    return outcome.code
