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


def test_each_new_moment_wakes(wake: Wake) -> None:
    """A moment that is there wakes at once, another one does so again, and the first one after nothing was due."""
    for when in (PAST, PAST + timedelta(days=1), PAST):
        wake.at(when)
        assert wake.wait(60) == ["due"]
    wake.at(None)
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_an_earlier_moment_replaces(wake: Wake) -> None:
    """The moment that was asked for last counts: an earlier one does not wait for the one before it."""
    wake.at(datetime.now(UTC) + timedelta(days=1))
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_the_end_while_a_moment_is_due() -> None:
    """The scheduler's thread ends without an error, whatever it is about to do: a traceback in the log frightens."""
    for _ in range(100):
        made = Wake(60)
        made.at(datetime.now(UTC) + timedelta(days=1))
        made.at(PAST)
        assert made.wait(60) == ["due"]
        made.stop()


SAYS = "import logging, certagent.agent.wake; logging.getLogger('{}').error('called while inactive')"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["watchdog.observers.inotify", "apscheduler.scheduler"])
def test_what_the_libraries_log_is_dropped(name: str) -> None:
    """Nothing stands between the lines of JSON, not even on standard error: the journal has both."""
    ran = subprocess.run([sys.executable, "-c", SAYS.format(name)], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_one_thread_for_the_remote_watch_however_often_it_changes(tmp_path: Path) -> None:
    """A path that hangs holds one thread up, over any number of reloads; the newest task is done when it answers."""
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


def test_a_remote_directory_that_was_replaced_is_watched_again(wake: Wake, tmp_path: Path) -> None:
    """What is watched in the background is compared at every turn, as certs-dirs are."""
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
