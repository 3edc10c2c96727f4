"""What servers, clients and other nodes make of files that load and verify."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.actions import Issue, RejectCommand
from certagent.core.decide import decide
from certagent.core.decide.peers import names
from certagent.core.facts import Authority, CertFile, Leaf, Loaded, LoaderFlags, Pair, Request, Trust
from certagent.core.policy import under
from tests.core.building import DAY, NOW, file, leaf, pair, policy, process, served, snapshot, want

NEW = LoaderFlags(release=(25, 4))


def found(*pairs: Pair, terms: LoaderFlags = NEW) -> list[tuple[str, str, str]]:
    plan = decide(under(policy(), (terms,)), snapshot(*pairs), NOW)
    codes = {"cert.login", "cert.address", "cert.pinned", "ca.ui-alone"}
    return [(f.code, f.file, f.severity) for f in plan.findings if f.code in codes]


DEBUG = pair("client.debug_user")
REFUSED = [("cert.login", "client.debug_user.crt", "critical")]
DEBUGGING = [
    (NEW, REFUSED),
    (LoaderFlags(release=(26, 1)), REFUSED),
    (LoaderFlags(), REFUSED),
    (LoaderFlags(release=(25, 3)), []),
    (replace(NEW, debug_user=True), []),
]


@pytest.mark.parametrize(("terms", "expected"), DEBUGGING)
def test_debug_user_needs_a_flag(terms: LoaderFlags, expected: list[tuple[str, str, str]]) -> None:
    """From 25.4 on; a version that is not known may be one of these."""
    assert found(pair("ca"), pair(), DEBUG, terms=terms) == expected


HOSTS = [
    ("db1.example.com", True),
    ("DB1.example.com.", True),
    ("db9.example.com", False),
    ("10.0.0.5", True),
    ("10.0.0.6", False),
    ("::1", False),
]


@pytest.mark.parametrize(("host", "named"), HOSTS)
def test_advertised_address_missing_is_warning(host: str, named: bool) -> None:
    """A warning if node.crt does not name it: a peer that dials it cannot verify the node."""
    told = found(pair("ca"), pair(), terms=replace(NEW, advertised=(host,)))
    assert told == ([] if named else [("cert.address", "node.crt", "warning")])


CONSOLES = [
    ("by node.crt", (pair(),), "10.0.0.9", [("cert.address", "node.crt", "info")]),
    (
        "by ui.crt",
        (pair(), pair("ui", leaf("ui", dns=("console",)))),
        "db1.example.com",
        [("cert.address", "ui.crt", "info")],
    ),
    ("by ui.crt, which names it", (pair(), pair("ui", leaf("ui", dns=("console",)))), "console", []),
    ("without a certificate", (), "10.0.0.9", []),
]


@pytest.mark.parametrize(("label", "pairs", "host", "expected"), CONSOLES, ids=[c[0] for c in CONSOLES])
def test_advertised_console_address_missing_is_info(
    label: str, pairs: tuple[Pair, ...], host: str, expected: list[tuple[str, str, str]]
) -> None:
    """cockroach does not check it: only its own pages of other nodes fail, so it is not a warning."""
    assert found(pair("ca"), *pairs, terms=replace(NEW, advertised_http=host)) == expected, label


def test_advertised_address_is_told_once() -> None:
    """An address that SQL and the DB Console share is one finding."""
    both = replace(NEW, advertised=("db9",), advertised_http="db9")
    assert found(pair("ca"), pair(), terms=both) == [("cert.address", "node.crt", "warning")]


@pytest.mark.parametrize(("authorities", "remedy"), [(("house",), "certagent renew node"), ((), "the tool that")])
def test_advertised_address_remedy_is_whoever_issues(authorities: tuple[str, ...], remedy: str) -> None:
    """An externally managed certificate is not renewed by a command of ours."""
    terms = replace(NEW, advertised=("db9",))
    plan = decide(under(policy(want("ca"), want(authorities=authorities)), (terms,)), snapshot(pair("ca"), pair()), NOW)
    assert [remedy in f.remedy for f in plan.findings if f.code == "cert.address"] == [True]


def test_wildcard_matches_one_label() -> None:
    """As in Go: neither for none, nor for two."""
    wild = leaf(dns=("*.example.com",))
    assert [names(wild, h) for h in ("a.example.com", "example.com", "a.b.example.com")] == [True, False, False]


def test_advertised_address_missing_asks_no_ca() -> None:
    """Its answer would have the configured names again."""
    known = snapshot(pair("ca"), pair(), processes=(process(terms=replace(NEW, advertised=("db9",))),))
    assert not [a for a in decide(policy(), known, NOW).actions if isinstance(a, Issue)]


def bundle(stem: str, *cas: Leaf) -> Pair:
    return Pair(pair(stem).name, CertFile(file(f"{stem}.crt"), f"crt-{stem}", cas[0], cas[1:]))


HOUSE = leaf("ca", subject="CN=house", not_after=NOW + 3000 * DAY)
OTHER = leaf("ca", 2, subject="CN=other", not_after=NOW + 3000 * DAY)
MIDDLE = leaf("ca", 3, subject="CN=middle", issuer="CN=house")
PINNED = [("cert.pinned", "node.crt", "critical")]
BUNDLES = [
    ("its CA", (bundle("ca", HOUSE), pair()), []),
    ("itself", (bundle("ca", OTHER, leaf()), pair()), PINNED),
    ("itself and its CA", (bundle("ca", HOUSE, leaf()), pair()), []),
    ("itself among CAs of servers", (bundle("ca", OTHER, leaf()), bundle("ca-client", HOUSE), pair()), []),
    ("itself among CAs of clients", (bundle("ca", HOUSE), bundle("ca-client", OTHER, leaf()), pair()), PINNED),
    ("tenants' CA", (bundle("ca", OTHER, leaf()), bundle("ca-client-tenant", HOUSE), pair()), []),
    ("a server alone", (bundle("ca", OTHER, leaf(), HOUSE), pair(), pair("client.node")), []),
]


@pytest.mark.parametrize(("label", "pairs", "expected"), BUNDLES, ids=[b[0] for b in BUNDLES])
def test_bundle_pinned_leaf_is_finding(label: str, pairs: tuple[Pair, ...], expected: list[object]) -> None:
    """It verifies, but no server asks for its issuer, so a Go client never sends it."""
    assert found(*pairs) == expected, label


def test_client_chain_intermediate_issuer_counts() -> None:
    """The issuer of any certificate that is sent may be the one that is asked for."""
    node = pair(cert=leaf(issuer="CN=middle"))
    assert node.cert is not None
    sent = replace(node, cert=replace(node.cert, chain=(MIDDLE,)))
    assert found(bundle("ca", HOUSE, leaf(issuer="CN=middle")), sent) == []


ALONE = [("ca.ui-alone", "ca-ui.crt", "warning")]


def test_ui_ca_without_ui_pair_must_verify_node() -> None:
    """node.crt serves the console then, and has to verify by ca-ui.crt: it does if both have its CA."""
    node = replace(pair(), trust=Trust("ca", anchors=("spki-ca-1",)))
    assert found(pair("ca"), node, bundle("ca-ui", OTHER)) == ALONE
    assert found(pair("ca"), node, bundle("ca-ui", OTHER, HOUSE)) == []
    assert found(pair("ca"), node, bundle("ca-ui", OTHER), pair("ui")) == []
    assert found(pair("ca"), bundle("ca-ui", OTHER)) == []


def test_disallowed_root_is_not_asked() -> None:
    """Servers would refuse every CA's answer: the finding and `plan` say why, and no CA is asked."""
    root = want("client.root")
    live = pair("client.root", leaf("client.root", not_before=NOW - 25 * DAY, not_after=NOW + 5 * DAY))
    barred = process(terms=LoaderFlags(root_login=False))
    plan = decide(policy(want("ca"), root), snapshot(pair("ca"), live, processes=(barred,)), NOW)
    assert not [a for a in plan.actions if isinstance(a, Issue)]
    found = [f for f in plan.findings if f.file == "client.root.crt" and f.severity == "critical"]
    assert [f.code for f in found] == ["cert.principal"]
    assert "without --disallow-root-login, or remove client.root" in found[0].remedy
    assert [b.refused for b in plan.blocked if b.subject == "client.root"] == [True]


def test_disallowed_root_is_one_finding() -> None:
    """Missing, adopted or issued: one remedy, and none that is refused. An operator's renewal is answered with it."""
    root, barred = want("client.root"), (process(terms=LoaderFlags(root_login=False)),)
    request = Request("renew", "client.root", NOW)
    for live in ((), (pair("client.root"),)):
        for changes in ({}, {"issued": frozenset()}, {"requests": (request,)}):
            seen = replace(snapshot(pair("ca"), *live, processes=barred), **changes)
            plan = decide(policy(want("ca"), root), seen, NOW)
            found = [f for f in plan.findings if f.file == "client.root.crt"]
            refused = [f for f in found if f.code != "cert.missing"]
            assert [f.code for f in refused] == ["cert.principal" if live else "renewal.refused"]
            assert {f.remedy for f in found} == {refused[0].remedy}
            assert not any("certagent renew" in b.reason for b in plan.blocked)
            declined = [a for a in plan.actions if isinstance(a, RejectCommand)]
            assert bool(declined) == ("requests" in changes)


@pytest.mark.parametrize("flags", [{"root_login": False}, {"node_dn": "CN=x"}, {"principal_map": (("node", "x"),)}])
def test_flags_of_a_stranger_count_for_nothing(flags: dict[str, Any]) -> None:
    """Anybody may start a process that names the directory: the plan is what it is without."""
    wants = (want("ca"), want(), want("client.node"), want("client.root"))
    due = {"not_before": NOW - 25 * DAY, "not_after": NOW + 5 * DAY}
    pairs = [pair(x.name.stem, leaf(x.name.stem, **due)) for x in wants[1:]]
    stranger = process(pid=99, uid=7, state="forbidden", terms=LoaderFlags(**flags), strange=True)
    for own in ((), (process(),)):
        plan, told = (
            decide(policy(*wants, layout="split-node"), snapshot(pair("ca"), *pairs, processes=who), NOW)
            for who in (own, (stranger, *own))
        )
        assert plan.actions == told.actions
        assert {f.code for f in told.findings} - {f.code for f in plan.findings} <= {"process.other-user"}


def test_login_refused_by_a_flag_is_one_finding() -> None:
    """The refusal of the log-in follows from the flag, which a finding names already; other refusals stay."""
    terms = LoaderFlags(root_login=False)
    told = served(client="client.root", client_fingerprint="client.root-1", outcome="refused", sqlstate="28000")
    root = want("client.root")
    for flags, live, expected in (
        (terms, (pair("client.root"),), ["cert.principal"]),
        (terms, (), ["renewal.refused"]),
        (LoaderFlags(), (pair("client.root"),), ["login.refused"]),
    ):
        seen = snapshot(pair("ca"), *live, processes=(process(terms=flags),), served=(told,))
        plan = decide(policy(want("ca"), root), seen, NOW)
        assert [f.code for f in plan.findings if f.file == "client.root.crt"] == expected


TURNED_AWAY = served(client="client.root", client_fingerprint="client.root-1", outcome="refused")
FAULTS = [
    ("another user", {"common_names": ("bob",)}, {"sqlstate": "28000"}, "cert.principal"),
    ("expired", {"not_after": NOW - DAY / 2}, {}, "cert.expired"),
    ("not valid yet", {"not_before": NOW + DAY / 2}, {}, "cert.not-yet-valid"),
    ("for servers only", {"eku": ("serverAuth",)}, {}, "cert.eku"),
]


@pytest.mark.parametrize(("label", "fault", "answer", "code"), FAULTS, ids=[row[0] for row in FAULTS])
def test_client_certificate_that_servers_refuse_is_one_finding(label: str, fault: Any, answer: Any, code: str) -> None:
    """What is wrong with the certificate is said; that a server refuses it follows."""
    live = pair("client.root", leaf("client.root", **fault))
    seen = snapshot(pair("ca"), live, processes=(process(),), served=(replace(TURNED_AWAY, **answer),))
    plan = decide(policy(want("ca"), want("client.root")), seen, NOW)
    found = [f.code for f in plan.findings if f.file == "client.root.crt" and f.code != "renewal.overdue"]
    assert found == [code], label


def test_client_certificate_of_untrusted_ca_is_one_finding() -> None:
    """The bundle on disk does not verify it either: the finding about the file names the bundle."""
    untrusted = replace(pair("client.root"), trust=Trust("ca", "its issuer is not in the bundle"))
    for live, bundle in ((untrusted, True), (pair("client.root"), False)):
        seen = snapshot(pair("ca"), live, processes=(process(),), served=(TURNED_AWAY,))
        plan = decide(policy(want("ca"), want("client.root")), seen, NOW)
        [found] = [f for f in plan.findings if f.file == "client.root.crt"]
        assert (found.code, "ca.crt" in found.message) == ("cert.untrusted", bundle)


def test_bundle_of_another_ca_is_one_finding_for_each_pair() -> None:
    """That the renewal would be refused follows; `plan` shows it as blocked. The reload names the bundle to repair."""
    live = replace(pair(), trust=Trust("ca", "its issuer is not in the bundle"))
    house = Authority("house", "local", (leaf("ca", 9, spki="house", subject="CN=house"),))
    loaded = Loaded("m", (pair("ca", leaf("ca", 8)), pair()))
    seen = snapshot(
        pair("ca"), live, processes=(process(),), served=(served(client_cas=("another",)),), loaded=(loaded,)
    )
    plan = decide(policy(), replace(seen, authorities=(house,)), NOW)
    found = [(f.code, f.file) for f in plan.findings if f.severity == "critical"]
    assert sorted(found) == [("cert.untrusted", "node.crt"), ("served.stale", "ca.crt")]
    assert [(b.action, b.refused) for b in plan.blocked if b.subject == "node"] == [("issue", True)]


APP = leaf("client.app", common_names=("db1",), uris=("crdb://tenant/1/user/app",))
NODE = leaf(common_names=("db1",), uris=("crdb://tenant/1/user/node",))
OLD = LoaderFlags(release=(24, 1))


@pytest.mark.parametrize(
    ("live", "terms", "expected"),
    [
        (pair("client.app", APP), LoaderFlags(), ["warning"]),
        (pair("node", NODE), LoaderFlags(), ["critical"]),
        (pair("client.app", APP), replace(OLD, release=(24, 2)), []),
        (pair("client.app", APP), OLD, []),
        (pair("client.app", leaf("client.app", common_names=("db1",))), LoaderFlags(), []),
        (pair("client.app"), LoaderFlags(), []),
    ],
)
def test_file_that_old_versions_refuse_is_doubtful(live: Pair, terms: LoaderFlags, expected: list[str]) -> None:
    """Where the version is not known; where it is, the loader decides. A wrong principal is wrong in each version."""
    wants = (want("ca"), want("node"), want("client.app"))
    others = [p for p in (pair("ca"), pair()) if p.name != live.name]
    plan = decide(under(policy(*wants), (terms,)), snapshot(*others, live), NOW)
    assert [f.severity for f in plan.findings if f.code == "cert.nonstandard"] == expected
