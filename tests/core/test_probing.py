"""When the ports of cockroach are asked, and what is said of one that does not answer or refuses."""

from datetime import timedelta

from certagent.core.actions import Plan, Probe, Scan
from certagent.core.decide import decide
from certagent.core.facts import InFlight, Snapshot
from tests.core.building import NOW, pair, policy, process, served, snapshot

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
