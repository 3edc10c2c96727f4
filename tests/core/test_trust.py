"""Which bundles have to verify a certificate, and as what."""

from dataclasses import replace

import pytest

from certagent.core.actions import Issue
from certagent.core.decide import decide
from certagent.core.facts import Authority, CertFile, Pair
from certagent.core.rules import pair_findings
from certagent.core.trust import is_split, verifications
from tests.core.building import DAY, NOW, file, leaf, name_of, pair, policy, snapshot, want

ROWS = [
    ("node", ("serverAuth", "clientAuth"), {"ca-client"}, False, [("ca", "server"), ("ca-client", "client")]),
    ("node", ("serverAuth",), {"ca-client"}, False, [("ca", "server"), ("ca-client", "any")]),
    ("node", ("serverAuth",), {"ca-client"}, True, [("ca", "server")]),
    ("node", None, set(), True, [("ca", "server")]),
    ("client.root", ("any",), {"ca-client"}, True, [("ca-client", "client")]),
    ("client-tenant.7", ("clientAuth",), {"ca-client-tenant"}, False, [("ca-client-tenant", "client")]),
    (
        "client-tenant.7",
        ("serverAuth", "clientAuth"),
        {"ca-client"},
        False,
        [("ca-client", "client"), ("ca-client", "server")],
    ),
    ("tenant-signing.7", None, set(), False, []),
]


@pytest.mark.parametrize(("stem", "eku", "bundles", "split", "expected"), ROWS)
def test_verifications_by_usage_and_bundles(
    stem: str, eku: tuple[str, ...] | None, bundles: set[str], expected: list[tuple[str, str]], *, split: bool
) -> None:
    """A dual-purpose node is verified twice, a tenant as a server too where it may serve; "any" stands for a lack."""
    found = verifications(name_of(stem), leaf(stem, eku=eku), bundles=frozenset({"ca", *bundles}), split=split)
    assert [(v.bundle, v.usage) for v in found] == expected


def test_system_roots_only_for_ui_without_ca_ui() -> None:
    """Browsers verify the DB Console: by the roots of the system, unless there is a ca-ui.crt."""
    found = [
        verifications(name_of(stem), leaf(stem), bundles=frozenset(bundles), split=True)[0].system
        for stem, bundles in (("ui", {"ca"}), ("ui", {"ca", "ca-ui"}), ("node", {"ca"}))
    ]
    assert found == [True, False, False]


def unreadable(stem: str, kind: str = "file") -> Pair:
    """A certificate that cannot be read, or a directory of that name."""
    entry = replace(file(f"{stem}.crt"), kind=kind)
    return Pair(name_of(stem), CertFile(entry, "", None, (), "cannot be read", "irregular"))


def test_client_node_unreadable_still_counts() -> None:
    """cockroach skips directories; a client.node.crt that cannot be read is still the node's client certificate."""
    found = [
        is_split(pairs, wanted=wanted)
        for pairs, wanted in (
            ((), False),
            ((), True),
            ((pair("client.node"),), False),
            ((unreadable("client.node"),), False),
            ((unreadable("client.node", "directory"),), False),
        )
    ]
    assert found == [False, True, True, True, False]


def test_node_is_not_asked_of_an_authority_that_client_ca_does_not_know() -> None:
    """The pre-install checks would refuse it: an authority whose root is in ca.crt alone is passed over, and why."""
    house, clients = leaf("ca"), leaf("ca-client", 7, spki="another root")
    due = pair(cert=leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
    known = snapshot(pair("ca"), pair("ca-client", clients), due, authorities=(Authority("house", "local", (house,)),))
    plan = decide(policy(), known, NOW)
    assert [a for a in plan.actions if isinstance(a, Issue)] == []
    assert any("ca-client.crt does not contain the root of" in h.reason for h in plan.blocked)


def test_client_ca_unreadable_asks_nothing() -> None:
    """cockroach does not fall back on ca.crt: a node that is a client too waits for a ca-client.crt that is usable."""
    due = pair(cert=leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
    for kind, issued in (("file", 0), ("directory", 1)):
        plan = decide(policy(), snapshot(pair("ca"), unreadable("ca-client", kind), due), NOW)
        assert issued == sum(isinstance(a, Issue) for a in plan.actions)
        assert issued or any("ca-client.crt is needed first" in h.reason for h in plan.blocked)


def test_pair_unconfigured_needs_usage_of_its_role() -> None:
    """A client certificate without clientAuth is a finding of its extended key usage, configured or not."""
    found = pair("client.app", leaf("client.app", eku=("serverAuth",)))
    for wanted in (None, want("client.app")):
        assert [f.code for f in pair_findings(wanted, found, NOW)] == ["cert.eku"]
