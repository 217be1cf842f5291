"""`python -m ptypinn`: the command line."""

import sys

from ptypinn.cli.main import main

sys.exit(main())
