"""Tests marked `root` need root: on a laptop they are skipped, in CI that is a failure.

Under nohup every process of a test would ignore SIGHUP from birth, and none could be told to reload.
"""

import os
import signal

import pytest


def pytest_configure() -> None:
    """SIGHUP does what it does by default, whatever started the tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail in CI, what this user cannot run."""
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root: sudo make test")
