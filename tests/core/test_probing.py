"""When the ports of cockroach are asked, and what is said of one that does not answer or refuses."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Plan, Probe, Scan
from certagent.core.decide import decide
from certagent.core.facts import InFlight, Listener, Members, Snapshot, Staged, Trust
from tests.core.building import NOW, leaf, pair, policy, process, served, snapshot

SECOND = timedelta(seconds=1)
UNREACHABLE = served(outcome="unreachable", fingerprint="", reason="Connection refused")
REFUSED = served(outcome="refused", client="client.root", client_fingerprint="client.root-1", reason="bad certificate")


def plan(found: Snapshot) -> Plan:
    return decide(policy(), found, NOW)


def test_scan_running_is_not_started_twice() -> None:
    """While a search runs, no second one starts, however old the last result is."""
    old = snapshot(processes_at=NOW - timedelta(hours=1))
    assert [Scan] == [type(a) for a in plan(old).actions if isinstance(a, Scan)]
    searching = snapshot(processes_at=NOW - timedelta(hours=1), in_flight=(InFlight("scan", "", NOW),))
    assert [] == [a for a in plan(searching).actions if isinstance(a, Scan)]


def test_probe_running_is_not_started_twice() -> None:
    """A probe that runs is not started again."""
    (first,) = [a for a in plan(snapshot(processes=(process(),))).actions if isinstance(a, Probe)]
    asking = snapshot(processes=(process(),), in_flight=(InFlight("probe", first.subject, NOW),))
    assert [] == [a for a in plan(asking).actions if isinstance(a, Probe)]


def test_client_certificate_refused_names_the_file() -> None:
    """A server that refuses a client pair is a finding about that pair."""
    found = snapshot(pair("ca"), pair(), pair("client.root"), processes=(process(),), served=(served(), REFUSED))
    said = [f for f in plan(found).findings if f.file == "client.root.crt" and "refuses" in f.message]
    assert ["cert.untrusted"] == [f.code for f in said]


def test_probe_answer_of_ended_process_is_no_finding() -> None:
    """What a process answered before it ended is ignored."""
    gone = served(process="999:1", outcome="unreachable", fingerprint="", reason="Connection refused")
    assert "served.unreachable" not in {f.code for f in plan(snapshot(processes=(process(),), served=(gone,))).findings}
    alive = snapshot(processes=(process(),), served=(UNREACHABLE,))
    assert "served.unreachable" in {f.code for f in plan(alive).findings}


NEXT = replace(pair("node", leaf("node", 2)), trust=Trust("ca", anchors=("new",)))
LIVE = replace(pair(), trust=Trust("ca", anchors=("old",)))
COUNTED = [
    ("nothing waits for it", {}, 3, timedelta(minutes=5)),
    ("a pair of another root is staged", {"staged": (Staged(NEXT, NOW, asked=True),)}, 3, timedelta(seconds=15)),
    ("a pair of the same root is staged", {"staged": (Staged(LIVE, NOW, asked=True),)}, 3, timedelta(minutes=5)),
    ("more are live than are listed", {"members": Members(listed=("a:26257",), live=3)}, 3, timedelta(seconds=15)),
    ("the answer has no number", {"staged": (Staged(NEXT, NOW, asked=True),)}, None, timedelta(minutes=5)),
]


@pytest.mark.parametrize(("label", "changes", "live", "pause"), COUNTED, ids=[row[0] for row in COUNTED])
def test_live_nodes_are_counted_again_soon_where_something_waits_for_all_of_them(
    label: str, changes: dict[str, Any], live: int | None, pause: timedelta
) -> None:
    """A node that left the cluster is not waited for five minutes more, and one that joined is seen soon."""
    console, last = Listener("127.0.0.1", 8080, "http"), timedelta(seconds=1)
    answer = served(address=console.address, kind="http", live_nodes=live, at=NOW - last)
    found = snapshot(pair("ca"), LIVE, processes=(process(listeners=(console,)),), served=(answer,), **changes)

    def asked(after: timedelta) -> list[int]:
        return [a.port for a in decide(policy(), found, NOW + after).actions if isinstance(a, Probe)]

    assert (asked(pause - last - timedelta(seconds=1)), asked(pause - last)) == ([], [8080]), label
