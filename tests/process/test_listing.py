"""The names of all processes are read once for all who ask in the same moment."""

import os
import subprocess
import threading
import time

from certagent.core.policy import ProcessRule
from certagent.process.finding import candidates
from certagent.process.listing import Listings, comm, listed
from tests.waiting import wait_until


def test_listing_names_this_process_and_is_shared() -> None:
    """One that is young enough is used again; one that is asked for now is read anew."""
    listings = Listings()
    first = listings.since(time.monotonic())
    assert os.getpid() in dict(first.names)[comm(str(os.getpid()))]
    assert listings.since(first.began) is first
    assert listings.since(time.monotonic()) is not first


def test_listing_is_read_once_for_many_threads() -> None:
    """Fifty that ask for one of a moment that has come share a few readings."""
    listings, moment, found = Listings(), time.monotonic(), list[float]()
    threads = [threading.Thread(target=lambda: found.append(listings.since(moment).began)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_candidates_of_now_include_a_process_that_started_a_moment_ago() -> None:
    """Although an older listing is known: who asks for an urgent scan waits for that process."""
    listed(time.monotonic())
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            wait_until(lambda: comm(str(process.pid)) == "sleep", "the kernel names it, a moment after its start")
            rule = ProcessRule(names=("sleep",))
            assert process.pid in candidates(rule)
            began, age = listed(time.monotonic() - 60)
            assert age.total_seconds() >= 0
            assert process.pid in candidates(rule, began)
        finally:
            process.kill()
