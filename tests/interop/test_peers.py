"""None of the other programs is missing, broken, or of another release than the one that is on record."""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).with_name("requirements.txt").read_text()
RELEASES = dict(line.split("==") for line in REQUIREMENTS.splitlines() if "==" in line)
MODULES = {"cdtools-py": "cdtools", "ptychi": "ptychi.api", "ptychodus": "ptychodus.api.io", "ptylab": "PtyLab"}
"""What the tests import of each; where that fails for want of another package, they are skipped."""


@pytest.mark.interop
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_a_peer_can_be_imported_and_is_of_the_release_on_record(name):
    import_module(MODULES[name])
    assert version(name) == RELEASES[name]
