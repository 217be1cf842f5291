"""None of the other programs is missing, or of another release than the one that is on record."""

from importlib.metadata import version
from pathlib import Path

import pytest

PINNED = [line for line in Path(__file__).with_name("requirements.txt").read_text().split() if "==" in line]


@pytest.mark.interop
@pytest.mark.parametrize("pinned", PINNED)
def test_a_peer_is_installed_in_the_release_on_record(pinned):
    name, release = pinned.split("==")
    assert version(name) == release


@pytest.mark.interop
def test_there_are_four_peers():
    assert {line.split("==")[0] for line in PINNED} == {"cdtools-py", "ptychi", "ptychodus", "ptylab"}
