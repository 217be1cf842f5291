"""`python -m ptypinn`: the command line."""

import sys

from ptypinn.cli import main

sys.exit(main())
