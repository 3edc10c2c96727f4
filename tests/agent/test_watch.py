"""The watch of directories: one thread for all, and none of them waits for another."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from certagent.agent.wake import drained
from certagent.agent.watch import CHANGED, Events, RemoteWatch, Watch
from tests.waiting import wait_until


@pytest.fixture
def events() -> Iterator[Events]:
    made = Events(60)
    yield made
    made.stop()


def test_watches_of_many_directories_share_one_thread(events: Events, tmp_path: Path) -> None:
    """Fifty directories are watched by one thread, and each hears only of its own files."""
    before = set(threading.enumerate())
    heard: list[SimpleQueue[str]] = [SimpleQueue() for _ in range(50)]
    watches = []
    for number, queue in enumerate(heard):
        (tmp_path / str(number)).mkdir()
        watches.append(Watch(events, queue.put, [str(tmp_path / str(number))]))
    assert [[]] * 50 == [watch.renew() for watch in watches]
    assert len(set(threading.enumerate()) - before) == 1
    (tmp_path / "7" / "node.key").write_text("x")
    assert drained(heard[7], 60)
    assert [True] * 49 == [queue.empty() for number, queue in enumerate(heard) if number != 7]


def test_watch_hears_of_the_directory_itself_and_not_of_its_staging_area(events: Events, tmp_path: Path) -> None:
    """A mode of the directory changes: heard. A swap in `.certagent`: not, the agent makes it itself."""
    queue: SimpleQueue[str] = SimpleQueue()
    place = tmp_path / "certs"
    (place / ".certagent").mkdir(parents=True)
    watch = Watch(events, queue.put, [str(place)])
    watch.renew()
    (place / ".certagent").chmod(0o700)
    place.chmod(0o700)
    assert drained(queue, 60)[0] == CHANGED
    wait_until(lambda: not drained(queue, 0.05), "nothing more comes")
    (place / ".certagent").chmod(0o755)
    (place / ".certagent").chmod(0o700)
    os.utime(place / ".certagent")
    assert drained(queue, 0.2) == []


def test_dropped_watch_hears_nothing(events: Events, tmp_path: Path) -> None:
    """A directory that is no longer configured wakes nobody; another watch of the same parent goes on."""
    queues: list[SimpleQueue[str]] = [SimpleQueue(), SimpleQueue()]
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = (Watch(events, q.put, [str(tmp_path / n)]) for n, q in zip("ab", queues, strict=True))
    first.renew()
    second.renew()
    first.drop()
    (tmp_path / "a" / "x").write_text("x")
    (tmp_path / "b" / "x").write_text("x")
    assert drained(queues[1], 60)
    assert queues[0].empty()


SAYS = "import logging, certagent.agent.{}; logging.getLogger('{}').error('called while inactive')"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"), [("watch", "watchdog.observers.inotify"), ("wake", "apscheduler.scheduler")]
)
def test_library_log_records_are_dropped(module: str, name: str) -> None:
    """Libraries write nothing between the lines of JSON, not even to standard error: the journal has both."""
    ran = subprocess.run([sys.executable, "-c", SAYS.format(module, name)], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_remote_watch_reloaded_many_times_uses_one_thread(events: Events, tmp_path: Path) -> None:
    """A path that hangs blocks one thread, over any number of reloads; the newest task runs when it answers."""
    go, done = threading.Event(), threading.Event()
    watch = RemoteWatch(events, lambda _reason: None)
    try:
        for _ in range(5):
            watch.change([], str(tmp_path / "c.toml"), lambda: bool(go.wait(60)))
        assert 1 == sum(t.name == "background-reader" for t in threading.enumerate())
        watch.change([], str(tmp_path / "c.toml"), done.set)
        assert not done.is_set()
        go.set()
        assert done.wait(60)
    finally:
        go.set()


def test_remote_directory_replaced_is_watched_again(events: Events, tmp_path: Path) -> None:
    """Directories watched in the background are compared in every reconcile, as certs directories are."""
    inbox, queue = tmp_path / "inbox", SimpleQueue[str]()
    inbox.mkdir()
    watch = RemoteWatch(events, queue.put)
    watch.change([str(inbox)], "", lambda: None)
    inbox.rename(tmp_path / "old")
    inbox.mkdir()

    def seen() -> bool:
        watch.look()
        while drained(queue, 0.05):
            pass
        (inbox / "answer.pem").write_text("x")
        return drained(queue, 0.5)[:1] == [CHANGED]

    wait_until(seen, "the new directory is watched")
