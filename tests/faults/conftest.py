"""The counts of the suite are printed at its end: what `counted` was told by each test."""

import os
from collections.abc import Callable

import pytest

Counted = Callable[[str], None]
FIRST = ("soaks", "first start", "pruning", "another authority", "rotation")  # what takes longest starts first


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes none is left with a long test at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, word in enumerate(FIRST) if word in item.nodeid), len(FIRST)))


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    """Takes one sentence with the counts of a test; it goes with the test's report, as pytest-xdist sends it."""
    return lambda sentence: record_property("counts", sentence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each sentence."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    told = [value for r in reports for name, value in getattr(r, "user_properties", ()) if name == "counts"]
    for sentence in sorted(map(str, told)):
        terminalreporter.write_line(sentence)
