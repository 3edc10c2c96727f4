"""The scheduler's hint: a moment that is asked for wakes the loop."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent.agent.wake import Wake
from tests.waiting import wait_until

PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def wake() -> Iterator[Wake]:
    made = Wake(60)
    yield made
    made.stop()


def test_wake_timer_past_moment_wakes_once_each(wake: Wake) -> None:
    """A moment in the past wakes the loop immediately, another one again, and so does the first after none was set."""
    for when in (PAST, PAST + timedelta(days=1), PAST):
        wake.at(when)
        assert wake.wait(60) == ["due"]
    wake.at(None)
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_wake_timer_earlier_moment_replaces_later(wake: Wake) -> None:
    """The newest moment counts: an earlier one does not wait for the one set before it."""
    wake.at(datetime.now(UTC) + timedelta(days=1))
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_wake_scheduler_stopped_while_moment_due_ends_without_error() -> None:
    """The scheduler's thread ends without an error at any point of its work, so that no traceback reaches the log."""
    for _ in range(100):
        made = Wake(60)
        made.at(datetime.now(UTC) + timedelta(days=1))
        made.at(PAST)
        assert made.wait(60) == ["due"]
        made.stop()


SAYS = "import logging, certagent.agent.wake; logging.getLogger('{}').error('called while inactive')"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["watchdog.observers.inotify", "apscheduler.scheduler"])
def test_library_log_records_are_dropped(name: str) -> None:
    """Libraries write nothing between the lines of JSON, not even to standard error: the journal has both."""
    ran = subprocess.run([sys.executable, "-c", SAYS.format(name)], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_remote_watch_reloaded_many_times_uses_one_thread(tmp_path: Path) -> None:
    """A path that hangs blocks one thread, over any number of reloads; the newest task runs when it answers."""
    wake, go, done = Wake(60), threading.Event(), threading.Event()
    try:
        for _ in range(5):
            wake.watch_remote([], str(tmp_path / "c.toml"), lambda: bool(go.wait(60)))
        assert 1 == sum(t.name == "background-reader" for t in threading.enumerate())
        wake.watch_remote([], str(tmp_path / "c.toml"), done.set)
        assert not done.is_set()
        go.set()
        assert done.wait(60)
    finally:
        go.set()
        wake.stop()


def test_remote_directory_replaced_is_watched_again(wake: Wake, tmp_path: Path) -> None:
    """Directories watched in the background are compared in every reconcile, as certs directories are."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    wake.watch_remote([str(inbox)], "", lambda: None)
    inbox.rename(tmp_path / "old")
    inbox.mkdir()

    def seen() -> bool:
        wake.rearm_if_changed()
        while wake.wait(0.05):
            pass
        (inbox / "answer.pem").write_text("x")
        return wake.wait(0.5) == ["files changed"]

    wait_until(seen, "the new directory is watched")
