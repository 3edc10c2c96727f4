"""Tests marked `root` need root: on a laptop they are skipped, in CI that is a failure. What fails shows its logs.

Under nohup every process of a test would ignore SIGHUP from birth, and none could be told to reload.
"""

import gc
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests import logs, parsing

# The garbage collector ran so often by default (700, 10, 10) that it took a quarter of the time of `make unit`.
gc.set_threshold(50_000, 20, 20)

# How long an example takes says more of the machine than of the example. CI tries many examples, always the same ones:
# a change must not fail for what another seed would have found before it. A developer's run tries a few new ones.
QUIRKS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("developer", max_examples=10, **QUIRKS)
settings.register_profile("ci", max_examples=100, derandomize=True, **QUIRKS)
settings.load_profile("ci" if os.environ.get("CI") else "developer")
ONE_AT_A_TIME = (  # they mount, and boot units
    "test_systemd",
    "test_documented",
    "test_hung_mounts",
    "test_hung_directories",
    "test_patient",
    "test_responding",
    "test_containers",
    "test_disk",
)
LONGEST_ID = 80
LONG = ("packages", "test_properties", "test_rotation", "test_layouts", "system", "verifying", "certs_dir")


def pytest_configure() -> None:
    """SIGHUP does what it does by default, whatever started the tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A long value gives no name: each process would make another certificate."""
    return argname if isinstance(val, bytes | str) and len(val) > LONGEST_ID else None


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups after that
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (pytest-xdist) each file stays in one; what changes the machine stays in one, too.

    What takes long starts first, so that no process is left with it at the end.
    """
    for item in items:
        group = "machine" if item.path.stem in ONE_AT_A_TIME else str(item.path.relative_to(item.config.rootpath))
        if "package" in getattr(item, "fixturenames", ()):
            group = "package"  # which is built once
        item.add_marker(pytest.mark.xdist_group(group))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=starts)


def starts(item: pytest.Item) -> int:
    """When a test starts, from 0: by its file or its room."""
    first = (*ONE_AT_A_TIME, *LONG)
    names = [n for n in (item.path.stem, item.path.parent.name) if n in first]
    return first.index(names[0]) if names else len(first)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The groups are in the names, where pytest-xdist looks for them; with pytest 9.2 it left them out, silently.

    Modules and tests stay until the end: the garbage collector does not visit them any more.
    """
    alone = [i.nodeid for i in session.items if "@" not in i.nodeid.rpartition("]")[2].rpartition("::")[2]]
    if alone and session.config.getoption("loadgroup", default=False):  # which pytest-xdist sets in its processes
        message = f"pytest-xdist does not keep the tests of a group in one process: {alone[0]}"
        raise pytest.UsageError(message)
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Python and pytest collect garbage several times at the end; what goes wrong in that fails the run."""
    parsing.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, bool, bool]:
    """A root agent, or a command that only looks, joins the groups of keys: the next test is not in them."""
    before = os.getgroups()
    done = yield
    if os.getgroups() != before:
        os.setgroups(before)
    return done


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A process of pytest-xdist cannot report what goes wrong at its end: it collects garbage after each file."""
    if "PYTEST_XDIST_WORKER" in os.environ and (nextitem is None or nextitem.path != item.path):
        parsing.forget()
        gc.collect()


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


@pytest.fixture
def usual_umask() -> Generator[None, None, None]:
    """What the test writes has the modes that an installer gives: the agent uses nothing that others may write."""
    before = os.umask(0o022)
    yield
    os.umask(before)
