"""Tests marked `root` need root: on a laptop they are skipped, in CI that is a failure. What fails shows its logs.

Under nohup every process of a test would ignore SIGHUP from birth, and none could be told to reload.
"""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests import logs

# how long an example takes says more of the machine than of the example
settings.register_profile(
    "shared machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


def pytest_configure() -> None:
    """SIGHUP does what it does by default, whatever started the tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail in CI, what this user cannot run."""
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root: sudo make test")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, the end of every log that was written during it."""
    report = yield
    if report.failed:
        report.sections += logs.written(call.start)
    return report
