"""A watched folder for the tests of the service."""

import pytest
from tests.stages.watched_place import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)
