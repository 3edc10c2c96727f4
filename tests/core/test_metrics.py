"""Metrics: each value is a field of the status document; the text is Prometheus' format, and its length is bounded."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.decide import decide
from certagent.core.facts import Attempt, Authority, Clock, Loaded, Snapshot, Trust
from certagent.core.metrics import FAMILIES, Sample, agent_label, collected, exposition
from certagent.core.policy import Policy
from certagent.core.status import document, rfc3339
from certagent.core.view import Planned
from tests.core.building import DAY, NOW, generation, leaf, name_of, pair, policy, process, served, snapshot, want

DAEMON = {"started": rfc3339(NOW - DAY), "last_turn": rfc3339(NOW), "version": "1.2"}
Key = tuple[str, ...]


def stated(
    *found: Snapshot, rules: Policy | None = None, daemon: dict[str, Any] | None = DAEMON, stale: bool = False
) -> dict[str, Any]:
    """The status document of directories, as the agent makes it."""
    plans = []
    for number, seen in enumerate(found):
        mine = replace(rules or policy(), path=f"/certs{number or ''}")
        checked = None if stale else NOW - timedelta(seconds=7)
        plans.append(Planned(policy=mine, snapshot=seen, plan=decide(mine, seen, NOW), checked=checked))
    about = {"digest": "0123456789ab", "rescan_seconds": 30.0}
    return {**document(plans, NOW, daemon), "configuration": about}


def values(said: dict[str, Any], name: str) -> dict[Key, float]:
    """The samples of a metric, by their labels."""
    return {s.labels: s.value for s in collected(said, "config") if s.name == f"certagent_{name}"}


TRUSTED = Trust("ca", anchors=("a" * 64,))
NODE = pair(trust=TRUSTED)


def test_metrics_of_agent_say_when_it_turned_and_what_it_is() -> None:
    """Version, configuration, start, last turn, rescan and exit code have one series each."""
    said = stated(snapshot(pair("ca"), NODE))
    assert values(said, "build_info") == {("config", "1.2"): 1}
    assert values(said, "config_info") == {("config", "0123456789ab"): 1}
    assert values(said, "start_time_seconds") == {("config",): (NOW - DAY).timestamp()}
    assert values(said, "last_turn_timestamp_seconds") == {("config",): NOW.timestamp()}
    assert values(said, "rescan_seconds") == {("config",): 30}
    assert values(said, "directory_checked_timestamp_seconds") == {("/certs",): NOW.timestamp() - 7}
    assert values(said, "status") == {("config",): {"info": 0, "warning": 1}[said["severity"]]}


def test_metrics_without_agent_have_no_turn() -> None:
    """Nobody takes what a command read by itself for a sign of life; what is on the host is still there."""
    said = stated(snapshot(pair("ca"), NODE), daemon=None, stale=True)
    for name in (
        "build_info",
        "start_time_seconds",
        "last_turn_timestamp_seconds",
        "directory_checked_timestamp_seconds",
    ):
        assert values(said, name) == {}
    assert values(said, "certificate_not_after_timestamp_seconds") == {("/certs", "node"): (NOW + 20 * DAY).timestamp()}


def test_metrics_of_agent_that_never_turned_have_no_turn() -> None:
    """The socket answers before the loop turns for the first time."""
    said = stated(snapshot(), daemon={**DAEMON, "last_turn": None})
    assert values(said, "last_turn_timestamp_seconds") == {}
    assert len(values(said, "build_info")) == 1


def test_metrics_before_first_observation_are_unknown() -> None:
    """No directory was observed: the status is unknown, and nothing is said of the clock."""
    said = {**stated(), "severity": "unknown"}
    assert values(said, "status") == {("config",): 3}
    assert values(said, "clock_sound") == values(said, "clock_synchronised") == {}


@pytest.mark.parametrize(
    ("clocks", "expected"),
    [
        ((Clock(synchronised=True),), (1, 1)),
        ((Clock(sound=False, reason="1970"),), (0, 0)),
        ((Clock(), Clock(synchronised=True)), (1, 0)),
    ],
)
def test_metrics_clock_is_that_of_every_directory(clocks: tuple[Clock, ...], expected: tuple[int, int]) -> None:
    """Sound and synchronised only where each directory's last check found it so."""
    said = stated(*(snapshot(clock=c) for c in clocks))
    assert (*values(said, "clock_sound").values(), *values(said, "clock_synchronised").values()) == expected


def test_metrics_of_pair_have_end_lifetime_and_renewal() -> None:
    """The end is the earliest of the chain; the renewal point is that of the status document."""
    ends = NOW + 5 * DAY
    said = stated(snapshot(pair("ca"), pair(trust=replace(TRUSTED, ends=ends, ends_by="CN=house"))))
    node = next(f for f in said["certs_dirs"][0]["files"] if f["name"] == "node")
    assert values(said, "certificate_not_after_timestamp_seconds") == {("/certs", "node"): ends.timestamp()}
    assert values(said, "certificate_lifetime_seconds") == {("/certs", "node"): 30 * 86400}
    renewal = values(said, "certificate_renewal_timestamp_seconds")[("/certs", "node")]
    assert rfc3339(NOW + timedelta(seconds=renewal - NOW.timestamp())) == node["renew_at"]


def test_metrics_of_missing_pair_have_no_end() -> None:
    """What does not exist does not end: its finding says that it is missing."""
    said = stated(snapshot(pair("ca")))
    assert values(said, "certificate_not_after_timestamp_seconds") == {}
    assert values(said, "findings")[("/certs", "cert.missing", "critical")] == 1


SERVING = {"processes": (process(),)}
OLD = leaf(serial=7, not_after=NOW + 3 * DAY)
OLD_PAIR = pair(cert=OLD, trust=Trust("ca", anchors=("b" * 64,)))


@pytest.mark.parametrize(
    ("label", "fingerprint", "changes", "end", "anchor"),
    [
        ("what is on disk", "node-1", {}, 20, "a"),
        ("what was loaded before", "node-7", {"loaded": (Loaded("m", (OLD_PAIR,)),)}, 3, "b"),
        ("an earlier generation", "node-101", {"generations": (generation(not_after=NOW + DAY),)}, 1, ""),
        ("what nobody knows", "stranger", {}, None, ""),
    ],
)
def test_metrics_of_served_chain_are_those_of_what_is_served(
    label: str, fingerprint: str, changes: dict[str, Any], end: int | None, anchor: str
) -> None:
    """An address that still serves the certificate before it shows that one's end and CA; an unknown one shows none."""
    seen = snapshot(pair("ca"), NODE, served=(served(fingerprint),), **SERVING, **changes)
    said = stated(seen)
    expected = {("/certs", "node"): (NOW + end * DAY).timestamp()} if end else {}
    assert values(said, "served_not_after_timestamp_seconds") == expected, label
    anchors = {("/certs", "node", "ca", anchor * 16): 1} if anchor else {}
    assert values(said, "served_anchor_info") == anchors, label


def test_metrics_of_anchor_without_process_are_of_the_disk() -> None:
    """Where nothing is served, the CA that verifies what is on disk is shown; no chain is served."""
    refused = served("", outcome="refused", reason="bad certificate")
    for seen in (snapshot(pair("ca"), NODE), snapshot(pair("ca"), NODE, served=(refused,), **SERVING)):
        assert values(stated(seen), "served_anchor_info") == {("/certs", "node", "ca", "a" * 16): 1}
        assert values(stated(seen), "served_not_after_timestamp_seconds") == {}


def test_metrics_of_client_pair_are_of_no_served_chain() -> None:
    """A port that accepts a client's pair returns its own chain, not the client's."""
    root, rules = pair("client.root", trust=TRUSTED), policy(want("ca"), want("node"), want("client.root"))
    taken = served("node-1", client="client.root", client_fingerprint="client.root-1")
    seen = snapshot(pair("ca"), NODE, root, served=(served(), taken), **SERVING)
    assert set(values(stated(seen, rules=rules), "served_not_after_timestamp_seconds")) == {("/certs", "node")}
    assert ("/certs", "client.root", "ca", "a" * 16) in values(stated(seen, rules=rules), "served_anchor_info")


def test_metrics_of_file_count_who_does_not_use_it() -> None:
    """0 where it is verified, or where there is no process; else the addresses that owe it, and 1 before any search."""
    assert set(values(stated(snapshot()), "file_unverified").items()) == {
        (("/certs", "ca", "none-needed"), 0),
        (("/certs", "node", "none-needed"), 0),
    }
    stale = stated(snapshot(pair("ca"), NODE, served=(served("stranger"),), **SERVING))
    assert values(stale, "file_unverified")[("/certs", "node", "pending")] == 1
    unseen = stated(snapshot(processes_at=None))
    assert values(unseen, "file_unverified")[("/certs", "node", "pending")] == 1


def test_metrics_count_no_file_that_is_not_there() -> None:
    """A pair that is missing is a finding, and nothing on disk that a process does not use: one cause, one alert."""
    rules = policy(want("ca"), want("node"), want("client.root"))
    seen = snapshot(pair("ca"), NODE, served=(served(),), **SERVING)
    said = stated(seen, rules=rules)
    assert any(f["code"] == "cert.missing" for f in said["certs_dirs"][0]["findings"])
    assert {file for _, file, _ in values(said, "file_unverified")} == {"ca", "node"}


def bundle(*cas: tuple[str, int]) -> Any:
    """A bundle of CAs: for each a digit of its key, and how many days from now it ends."""
    found = [leaf("ca", n, spki=key * 64, not_after=NOW + days * DAY) for n, (key, days) in enumerate(cas)]
    made = pair("ca", found[0])
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, chain=tuple(found[1:])))


def test_metrics_of_bundle_have_each_ca_by_key() -> None:
    """One series for each key: of two certificates of one CA the later end counts."""
    found = values(stated(snapshot(bundle(("5", 5), ("6", 6), ("5", 9)), NODE)), "ca_not_after_timestamp_seconds")
    ends = {key: (NOW + days * DAY).timestamp() for key, days in (("5" * 16, 9), ("6" * 16, 6))}
    assert found == {("/certs", "ca", key): at for key, at in ends.items()}


def tried(outcome: Any, authority: str = "house", stem: str = "node") -> Attempt:
    return Attempt("issue", stem, NOW - DAY, outcome, authority=authority)


@pytest.mark.parametrize(
    ("attempts", "failed"),
    [
        ((), 0),
        ((tried("failed"), tried("refused", stem="client.root")), 2),
        ((tried("failed"), tried("ok"), tried("failed", "other")), 0),
        ((tried("failed"), tried("retry")), 0),
        ((tried("failed"), tried("asked")), 1),
    ],
)
def test_metrics_of_authority_count_failures_since_it_answered(attempts: tuple[Attempt, ...], failed: int) -> None:
    """Whatever the requests were for, in all directories: one that it accepted, or answers later, ends the count."""
    house = (Authority("house", "step"),)
    said = stated(snapshot(attempts=attempts, authorities=house), snapshot(authorities=house))
    assert values(said, "authority_failed_attempts") == {("config", "house"): failed}


TYPICAL = policy(*(want(stem) for stem in ("ca", "ca-client", "node", "client.node", "client.root")))


def test_metrics_of_typical_host_are_forty_at_most() -> None:
    """Five files, two CAs in each bundle, two authorities, a running process and four findings: 40 series."""
    two = bundle(("5", 50), ("6", 60))
    bundles = [two, replace(two, name=name_of("ca-client"))]
    pairs = [pair(stem, trust=TRUSTED) for stem in ("node", "client.node", "client.root")]
    known = (Authority("house", "step"), Authority("spare", "vault"))
    said = stated(
        snapshot(*bundles, *pairs, served=(served(),), authorities=known, processes=(process(),)), rules=TYPICAL
    )
    said["certs_dirs"][0]["findings"] = [{"code": f"some.code-{n}", "severity": "warning"} for n in range(2)]
    assert len(collected(said, "config")) <= 40


def test_metrics_are_bounded_whatever_the_directory_holds() -> None:
    """A thousand CAs in a bundle and a thousand clients: what is left out is counted, the node's pair never is."""
    users = [f"client.u{n}" for n in range(1000)]
    cas = bundle(*((f"{n:016x}", n) for n in range(1, 1001)))
    seen = snapshot(cas, NODE, *(pair(u, leaf(u, not_after=NOW + DAY)) for u in users))
    said = stated(seen, rules=policy(*(want(u) for u in users), want("ca"), want("node")))
    assert len(values(said, "file_unverified")) == 50
    assert len(values(said, "ca_not_after_timestamp_seconds")) == 10
    assert values(said, "left_out") == {("config",): 1002 - 50 + 1000 - 10}
    assert ("/certs", "node") in values(said, "certificate_not_after_timestamp_seconds")
    assert values(stated(snapshot()), "left_out") == {("config",): 0}


def test_metrics_have_the_labels_of_the_table() -> None:
    """Each sample belongs to a row of the table and has as many labels; no series is there twice."""
    known = {f.name: f for f in FAMILIES}
    found = collected(
        stated(snapshot(bundle(("5", 5), ("6", 6)), NODE, served=(served(),), **SERVING), snapshot()), "config"
    )
    assert {s.name for s in found} <= set(known)
    assert all(len(s.labels) == len(known[s.name].labels) for s in found)
    assert len({(s.name, s.labels) for s in found}) == len(found)


@pytest.mark.parametrize(
    ("path", "agent"), [("/etc/certagent/config.toml", "config"), ("db1.toml", "db1"), ("/etc/x.conf", "x.conf")]
)
def test_metrics_agent_is_named_by_its_configuration(path: str, agent: str) -> None:
    """Several agents of a host are told apart by the names of their configuration files."""
    assert agent_label(path) == agent


def test_metrics_text_escapes_labels_and_writes_numbers() -> None:
    """Backslashes, quotes and line breaks of a label are escaped; whole numbers have no fraction, others all digits."""
    odd = Sample(name="certagent_build_info", labels=('a\\b"c\nd', "1"), value=1.0)
    later = Sample(name="certagent_rescan_seconds", labels=("a",), value=0.25)
    assert exposition((later, odd)).splitlines() == [
        "# HELP certagent_build_info The version of the agent; the value is always 1.",
        "# TYPE certagent_build_info gauge",
        r'certagent_build_info{agent="a\\b\"c\nd",version="1"} 1',
        "# HELP certagent_rescan_seconds The longest time between two turns of the loop, as configured.",
        "# TYPE certagent_rescan_seconds gauge",
        'certagent_rescan_seconds{agent="a"} 0.25',
    ]
    assert exposition(()) == ""
