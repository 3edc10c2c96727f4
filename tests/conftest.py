"""Tests marked `root` need root: on a laptop they are skipped, in CI that is a failure."""

import os

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail in CI, what this user cannot run."""
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root: sudo make test")
