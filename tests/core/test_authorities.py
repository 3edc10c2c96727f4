"""What is wrong with an authority is said before a renewal needs it, once, and with a remedy that works."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Install, Issue
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Authority, Pairs, Request, Snapshot, Trust
from certagent.core.policy import Policy
from tests.core.building import DAY, NOW, leaf, pair, policy, process, served, snapshot, staged, want

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
OTHER = leaf("ca", 77, spki="new root", subject_digest="new")
RULES = policy(want("ca"), want(), want("client.root"))
FRESH = snapshot(pair("ca"), pair(), pair("client.root"))
DUE = snapshot(pair("ca"), pair(cert=leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY)), pair("client.root"))
SPLIT = policy(want("ca"), want(principal=None, client=False), want("client.node"))


def known(kind: str, **changes: Any) -> tuple[Authority, ...]:
    return (replace(Authority("house", kind, (OTHER,)), **changes),)


def tried(outcome: str, ago: timedelta = SECOND, reason: str = "it says no", **changes: Any) -> Attempt:
    return replace(Attempt("issue", "node", NOW - ago, outcome, reason, authority="house"), **changes)  # type: ignore[arg-type]


def said(found: Snapshot, rules: Policy = RULES) -> list[tuple[str, str, str]]:
    """Code, severity and file of what is said of authorities and renewals."""
    plan = decide(rules, found, NOW)
    return [(f.code, f.severity, f.file) for f in plan.findings if f.code.startswith(("authority", "renewal"))]


def remedies(found: Snapshot, rules: Policy = RULES) -> set[str]:
    return {f.remedy for f in decide(rules, found, NOW).findings}


def asked(found: Snapshot, rules: Policy = RULES) -> list[str]:
    """What is asked for; that a bundle is there and gets a pinned root has tests of its own."""
    issues = [a for a in decide(rules, found, NOW).actions if isinstance(a, Issue)]
    return [a.subject for a in issues if a.carried_over_bundle != a.subject]


@pytest.mark.parametrize("kind", ["local", "est", "step"])
def test_authority_root_missing_from_bundle_warns_months_ahead(kind: str) -> None:
    """`status` said ok until the renewal was due: it is one warning now, not one for each file."""
    assert said(replace(FRESH, authorities=known(kind))) == [("authority.untrusted", "warning", "node.crt")]
    assert said(replace(FRESH, authorities=(Authority("house", kind, (leaf("ca"),)),))) == []


def test_authority_pinned_root_missing_from_bundle_warns_months_ahead() -> None:
    """Only fingerprints are configured, and the bundle has none of these roots: a warning; it may still be asked."""
    house = leaf("ca")
    assert said(replace(FRESH, authorities=known("step", roots=(), pins=("f" * 64, house.fingerprint)))) == []
    other = known("step", roots=(), pins=("f" * 64,))
    assert said(replace(FRESH, authorities=other)) == [("authority.untrusted", "warning", "node.crt")]
    assert asked(replace(DUE, authorities=other)) == ["node"]
    assert said(replace(FRESH, authorities=known("step", roots=(house,), pins=("f" * 64,)))) == []


PROBLEM = "cannot read authority.house.password: /etc/certagent/est: Permission denied"


def test_authority_secret_unreadable_warns_months_ahead() -> None:
    """One warning that names the file; while renewals fail, their finding names it."""
    found = replace(FRESH, authorities=known("est", roots=(), problem=PROBLEM))
    [finding] = [f for f in decide(RULES, found, NOW).findings if f.code == "authority.unusable"]
    assert (finding.severity, PROBLEM in finding.message) == ("warning", True)
    failing = replace(DUE, authorities=found.authorities, attempts=(tried("failed"),))
    assert ("renewal.failing", "warning", "node.crt") in said(failing, policy())
    assert "authority.unusable" not in {code for code, _, _ in said(failing, policy())}


def test_authority_none_has_no_authority_findings() -> None:
    """The files are externally managed: no renewal of ours will fail."""
    rules = policy(want("ca", authorities=()), want(authorities=()))
    assert said(replace(FRESH, authorities=known("est", problem=PROBLEM)), rules) == []


def test_authority_root_missing_is_one_finding_when_due() -> None:
    """The refused renewal says it, and its remedy does not send the reader in a circle of `plan` and `explain`."""
    found = replace(DUE, authorities=known("local"))
    assert said(found, policy()) == [("renewal.refused", "critical", "node.crt")]
    assert "certagent bundle add FILE with its root, on every node; or remove it from `authority`" in remedies(
        found, policy()
    )


def test_authority_root_missing_remedy_names_the_file() -> None:
    """The command that adds the root, with the file where it is known, as shell words; of a refused renewal too."""
    found = replace(FRESH, authorities=known("local", source="/var/lib/my ca/ca.crt"))
    told = "certagent bundle add '/var/lib/my ca/ca.crt' with its root, on every node; or remove it from `authority`"
    assert told in remedies(found)
    assert told in remedies(replace(DUE, authorities=found.authorities), policy())


def of_another_root(ago: timedelta) -> tuple[Attempt, ...]:
    """A certificate that the pre-install checks refused for its root."""
    when = NOW - ago
    return tried("ok", ago), Attempt("install", "node", when, "refused", "untrusted", retry_at=when + DAY)


CROSS = [
    ("never asked: its root may be cross-signed by one in the bundle", (), True),
    ("refused for its root an hour ago: it was not", of_another_root(HOUR), False),
    ("refused 23 hours ago", of_another_root(23 * HOUR), False),
    ("refused yesterday: the CA may cross-sign by now", of_another_root(25 * HOUR), True),
    ("unreachable an hour ago: that is no word about its root", (tried("failed", HOUR),), True),
]


@pytest.mark.parametrize(("label", "attempts", "expected"), CROSS, ids=[r[0] for r in CROSS])
def test_issuing_roots_outside_bundle_is_judged_by_path(
    label: str, attempts: tuple[Attempt, ...], expected: bool
) -> None:
    """`issuing_roots` names the new root alone: the CA is asked, once a day at most if it does not cross-sign."""
    del label
    found = replace(DUE, authorities=known("step"), attempts=attempts)
    assert asked(found) == ["node"] * expected
    if len(attempts) > 1:
        assert "certagent bundle add FILE with its root, on every node; or remove it from `authority`" in remedies(
            found
        )


def test_cross_signed_answer_is_installed() -> None:
    """An answer that the bundle verifies is installed, whatever root is pinned."""
    found = replace(DUE, authorities=known("step"), staged=(staged(),))
    assert [a.stem for a in decide(RULES, found, NOW).actions if isinstance(a, Install)] == ["node"]


def test_client_node_of_cross_signed_root() -> None:
    """The other nodes verify it by the root that they have: it is asked for; a certificate of another root waits."""
    narrow = leaf(common_names=("db1.example.com",), eku=("serverAuth",))
    live = pair("client.node", leaf("client.node", not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
    trust = replace(live.trust, anchors=("spki-ca-1",))  # type: ignore[type-var]
    shows = {"processes": (process(),), "authorities": known("step")}
    found = snapshot(pair("ca"), pair(cert=narrow), replace(live, trust=trust), **shows)
    assert asked(found, SPLIT) == ["client.node"]
    made = staged("client.node")
    for anchor, installed in (("spki-ca-1", ["client.node"]), ("new root", [])):
        answer = replace(made, pair=replace(made.pair, trust=replace(trust, anchors=(anchor,))))
        plan = decide(SPLIT, replace(found, staged=(answer,)), NOW)
        assert [a.stem for a in plan.actions if isinstance(a, Install)] == installed


def test_client_of_cross_signed_root_is_asked_for() -> None:
    """The server names only the old root among its client CAs: that is no reason to wait."""
    due = pair("client.root", leaf("client.root", not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
    shows = {"processes": (process(),), "served": (served(client_cas=("subject-ca",)),)}
    assert asked(snapshot(pair("ca"), pair(), due, authorities=known("step"), **shows)) == ["client.root"]


def installed(ago: timedelta) -> Attempt:
    return Attempt("install", "node", NOW - ago, "ok", fingerprint="node-1")


MANUAL = [
    ("refused by the CA", (tried("refused", HOUR),), ["renewal.refused"]),
    ("not answered", (tried("failed", HOUR),), ["renewal.failing"]),
    ("refused by the pre-install checks", (tried("ok", HOUR), Attempt("install", "node", NOW, "refused", "no")), [
        "renewal.refused"
    ]),
    ("refused, and then one was installed", (tried("refused", 2 * HOUR), installed(HOUR)), []),
    ("refused before the live pair was put there", (tried("refused", 11 * DAY),), []),
    ("it runs", (tried("asked"),), []),
]  # fmt: skip


@pytest.mark.parametrize(("label", "attempts", "codes"), MANUAL, ids=[r[0] for r in MANUAL])
def test_manual_renewal_failure_stays_a_warning(label: str, attempts: tuple[Attempt, ...], codes: list[str]) -> None:
    """Nothing is due for weeks, but the next renewal will end as the one that the operator asked for."""
    del label
    found = said(replace(FRESH, attempts=attempts))
    assert found == [(code, "warning", "node.crt") for code in codes]


RUNNING = [
    ("one failed", (tried("failed", HOUR),)),
    ("one was refused", (tried("refused", HOUR),)),
    ("four failed", tuple(tried("failed", hours * HOUR) for hours in (9, 5, 3, 1))),
    ("an answer was refused", (tried("ok", HOUR), Attempt("install", "node", NOW - HOUR, "refused", "untrusted"))),
]  # fmt: skip


@pytest.mark.parametrize(("label", "attempts"), RUNNING, ids=[r[0] for r in RUNNING])
def test_renewal_findings_stay_while_attempt_runs(label: str, attempts: tuple[Attempt, ...]) -> None:
    """An attempt that runs, or whose answer is staged, changes no finding: none appears or clears with it."""
    del label

    def shown(*more: Attempt, **changes: Any) -> list[tuple[str, str, str]]:
        found = replace(DUE, attempts=(*attempts, *more), **changes)
        return [(f.code, f.severity, f.message) for f in decide(policy(), found, NOW).findings]

    before = shown()
    assert {code for code, _, _ in before} & {"renewal.failing", "renewal.refused"}
    assert shown(tried("asked")) == before
    assert shown(tried("ok"), staged=(staged(),)) == before


def test_remedy_never_names_a_refused_renewal() -> None:
    """A name is added and another removed in the configuration: `renew` is refused until the removal is confirmed."""
    rules = policy(want("ca"), want(names=("db2.example.com",)))
    shown = {f.remedy for f in decide(rules, snapshot(), NOW).findings if f.file == "node.crt"}
    assert shown == {"add the names of the live certificate to `names`, or set drop_names = true"}
    assert "certagent renew node" in remedies(snapshot(), policy(want("ca"), want(names=("db2", *want().names))))  # type: ignore[misc]
    refused = decide(rules, replace(snapshot(), requests=(Request("renew", "node", NOW),)), NOW)
    assert not [a for a in refused.actions if isinstance(a, Issue)]


EMPTY = snapshot(replace(pair("ca"), cert=None), replace(pair("node"), cert=None, key=None))
MISSING = snapshot(replace(pair("ca"), cert=None), pair())
MOVING = policy(want("ca"), want("ca-client", authorities=("clients",)), want(), want("client.root"))
LOST = [
    ("an empty directory", EMPTY, policy(), True),
    ("the ledger knows of its certificates", replace(EMPTY, attempts=(tried("ok", DAY),)), policy(), False),
    ("those of another authority", replace(EMPTY, attempts=(tried("ok", DAY, authority="old"),)), policy(), True),
    ("it was asked, and never answered", replace(EMPTY, attempts=(tried("failed", DAY),)), policy(), True),
    ("a live pair that hangs on the bundle", MISSING, policy(), False),
    ("the console's pair of a public CA", snapshot(pair("ui"), issued=frozenset()), policy(), True),
    ("a first CA of clients, who have been verified by ca.crt", FRESH, MOVING, True),
]


@pytest.mark.parametrize(("label", "found", "rules", "first"), LOST, ids=[r[0] for r in LOST])
def test_embedded_ca_is_created_only_if_it_never_existed(
    label: str, found: Snapshot, rules: Policy, first: bool
) -> None:
    """A lost CA that is replaced in silence separates all hosts: only an operator may decide on that."""
    del label
    asks = [a for a in decide(rules, found, NOW).actions if isinstance(a, Issue) and a.want.name.is_bundle]
    assert [a.first for a in asks] == [first]


def test_bundle_missing_is_one_finding() -> None:
    """No leaf verifies without it: no further finding for each certificate, and no remedy that would wait for it."""
    verified = replace(pair(), trust=Trust("ca", "ca.crt does not exist"))
    found = snapshot(replace(pair("ca"), cert=None), verified, replace(pair("client.root"), cert=None))
    plan = decide(RULES, replace(found, authorities=known("est", roots=(), problem=PROBLEM)), NOW)
    codes = {f.code: f.remedy for f in plan.findings if f.file.endswith(".crt")}
    assert set(codes) == {"ca.missing", "cert.missing", "authority.unusable"}
    assert codes["cert.missing"] == "see ca.crt: this follows by itself once the bundle is there"


@pytest.mark.parametrize(("outcome", "code"), [("failed", "renewal.failing"), ("refused", "renewal.refused")])
def test_bundle_that_was_asked_for_in_vain_points_to_the_cause(outcome: str, code: str) -> None:
    """A CA that gives no root is to be mended; nobody has to copy the bundle there by hand."""
    found = replace(snapshot(), pairs=Pairs(()), authorities=known("step", roots=()))
    tries = tried(outcome, subject="ca")
    told = {f.code: f.remedy for f in decide(RULES, replace(found, attempts=(tries,)), NOW).findings if "ca" in f.file}
    assert told["ca.missing"] == f"see {code} of ca.crt: certagent creates the bundle once that is mended"
    assert code in told
    untried = {f.code: f.remedy for f in decide(RULES, found, NOW).findings}
    assert untried["ca.missing"].startswith("copy the trust bundle there")


@pytest.mark.parametrize(
    ("authorities", "remedy"), [(("house",), "restore it"), (("other", "house"), "certagent renew node")]
)
def test_missing_pair_names_no_renewal_that_no_authority_can_answer(authorities: tuple[str, ...], remedy: str) -> None:
    """While no authority can be asked, what to do about that is the remedy; one that can be asked is enough."""
    rules = policy(want("ca"), want(authorities=authorities))
    found = snapshot(pair("ca"), replace(pair(), cert=None, key=None))
    lost = replace(found, authorities=known("local", roots=(), problem="its CA is missing", advice="restore it"))
    assert {f.remedy for f in decide(rules, lost, NOW).findings if f.code == "cert.missing"} == {remedy}


def test_authority_finding_stays_beside_other_causes() -> None:
    """Another authority failed, or the names block the renewal: this authority's problem is still reported."""
    rules = policy(want("ca"), want(authorities=("other", "house")))
    down = replace(DUE, authorities=known("est"), attempts=(tried("failed", authority="other"),))
    assert {"renewal.failing", "authority.untrusted"} <= {code for code, _, _ in said(down, rules)}
    names = policy(want("ca"), want(names=("db2.example.com",)))
    blocked = replace(FRESH, authorities=known("est", roots=(), problem=PROBLEM))
    assert {"renewal.refused", "authority.unusable"} <= {code for code, _, _ in said(blocked, names)}


def test_renewal_refused_for_lost_ca_remedy_is_restore() -> None:
    """A lost CA was refused: restore it, not "change the configuration"."""
    lost = known("local", roots=(), problem="its CA is missing", advice="restore it")
    found = replace(DUE, authorities=lost, attempts=(tried("refused"),))
    assert "restore it" in {f.remedy for f in decide(policy(), found, NOW).findings if f.code == "renewal.refused"}
    [now] = [f for f in decide(policy(), replace(FRESH, authorities=lost), NOW).findings if f.code[:4] == "auth"]
    assert (now.code, now.remedy) == ("authority.unusable", "restore it")


def test_embedded_ca_that_does_not_exist_beside_other_bundle_warns_months_ahead() -> None:
    """A bundle is there: an embedded CA is not made then, and the remedy is to copy the CA of the bundle.

    Whoever made the bundle, `cockroach cert` or this agent while its configuration named another directory.
    """
    none = known("local", roots=(), uncreated=True)
    fresh, due = (replace(found, authorities=none, issued=frozenset()) for found in (FRESH, DUE))
    for found in (fresh, replace(FRESH, authorities=none)):
        assert said(found) == [("authority.unusable", "warning", "node.crt")]
    [copy] = [r for r in remedies(fresh) if "copy the ca.crt and ca.key" in r]
    refused = replace(due, attempts=(tried("refused"),))
    assert copy in {f.remedy for f in decide(policy(), refused, NOW).findings if f.code == "renewal.refused"}


def test_embedded_ca_that_comes_with_its_bundle_is_no_finding() -> None:
    """Without a bundle it is made, and `ui` needs none."""
    none = known("local", roots=(), uncreated=True)
    without = snapshot(replace(pair("ca"), cert=None), pair(), pair("client.root"))
    alone = replace(snapshot(pair("ca"), pair("ui")), issued=frozenset())
    for found, rules in ((without, RULES), (alone, policy(want("ui")))):
        assert "authority.unusable" not in {code for code, _, _ in said(replace(found, authorities=none), rules)}


EMPTY = snapshot(replace(pair("ca"), cert=None), authorities=known("local", roots=(), uncreated=True))


def test_signing_pair_waits_for_embedded_ca() -> None:
    """No bundle verifies it, so none has to be there first; its CA does, and is created with the first bundle."""
    rules = policy(want("ca"), want("tenant-signing.7"))
    assert asked(EMPTY, rules) == ["ca"]
    blocked = {(b.subject, b.reason.partition("; ")[2]) for b in decide(rules, EMPTY, NOW).blocked}
    why = "the CA of authority 'house' does not exist yet; it is created together with ca.crt"
    assert blocked == {("tenant-signing.7", why)}
    assert said(EMPTY, rules) == []
    there = replace(EMPTY, authorities=known("local"))
    assert asked(there, rules) == ["ca", "tenant-signing.7"]
    installed = replace(snapshot(pair("ca")), authorities=EMPTY.authorities)
    assert asked(installed, rules) == ["tenant-signing.7"], "its files may have been read before it was created"


@pytest.mark.parametrize("bundle", ["ca-client", "ca-client-tenant", "ca-ui"])
def test_signing_pair_waits_for_whichever_bundle_creates_its_ca(bundle: str) -> None:
    """The CA of clients, of tenants or of the DB Console may be another one than that of `ca.crt`."""
    own = replace(EMPTY.authorities[0], name="own")
    rules = policy(want("ca"), want(bundle, authorities=("own",)), want("tenant-signing.7", authorities=("own", "x")))
    assert asked(replace(EMPTY, authorities=(own,)), rules) == ["ca", bundle]


def test_client_waits_for_embedded_ca_while_other_bundle_is_there() -> None:
    """A bundle that was put there by hand verifies clients; the CA that is to issue them is still being created."""
    rules = policy(want("ca"), want("client.root"))
    found = replace(snapshot(pair("ca-client")), authorities=EMPTY.authorities)
    assert asked(found, rules) == ["ca"]


def test_signing_pair_of_ca_that_nothing_creates_is_asked_for() -> None:
    """No bundle here comes from that authority, or others show that its CA is lost: the answer says what to do."""
    rules = policy(want("ca", authorities=("other",)), want("tenant-signing.7"))
    assert asked(EMPTY, rules) == ["ca", "tenant-signing.7"]
    lost = replace(EMPTY, pairs=(*EMPTY.pairs, pair()))
    assert "tenant-signing.7" in asked(lost, policy(want("ca"), want("tenant-signing.7")))


def test_embedded_ca_that_expired_is_named_with_its_file() -> None:
    """It signs nothing that is valid: no renewal is tried, and the finding says expired, when, and which file.

    Before a renewal is due it is a warning; of a CA elsewhere only that CA knows.
    """
    old = leaf("ca", not_after=NOW - DAY, subject="CN=old house")
    gone = Authority("house", "local", (old,), source="/ca/ca.crt")
    ended = pair(cert=leaf(not_after=NOW - DAY))
    plan = decide(policy(want()), snapshot(pair("ca", old), ended, authorities=(gone,)), NOW)
    assert [a for a in plan.actions if isinstance(a, Issue)] == []
    told = "CN=old house expired at 2026-11-23T12:00:00Z (/ca/ca.crt)"
    assert [f.message for f in plan.findings if f.code == "renewal.refused"] == [f"renewal cannot help: {told}"]
    assert "rotate the CA" in next(f.remedy for f in plan.findings if f.code == "ca.expired")
    early = decide(policy(want()), snapshot(authorities=(gone,)), NOW).findings
    assert [(f.severity, f.message) for f in early if f.code == "authority.unusable"] == [
        ("warning", f"authority 'house' cannot issue: {told}")
    ]
    other = decide(policy(want()), snapshot(authorities=(replace(gone, kind="vault"),)), NOW).findings
    assert "authority.unusable" not in {f.code for f in other}
