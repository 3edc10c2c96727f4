"""A clean clone and its Debian package, built once."""

import os
from pathlib import Path

import pytest

from tests.packages.building import INSTALL, Clone, cloned
from tests.servers.process import missing


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    if not os.path.exists("/usr/bin/python3.11"):
        missing("python3.11 of Debian 12", INSTALL)
    return cloned(tmp_path_factory.mktemp("clone") / "certagent")


@pytest.fixture(scope="session")
def package(clone: Clone) -> Path:
    return clone.make("deb")
