"""A host of its own for each test."""

from pathlib import Path

import pytest

from tests.system.running import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with the usual configuration; no daemon runs."""
    made = Host(tmp_path)
    made.write()
    return made
