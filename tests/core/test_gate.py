"""What bars an install bars a SIGHUP: no process loads what is worse than what it has loaded."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Plan, RejectCommand, Reload
from certagent.core.decide import decide
from certagent.core.decide.gate import bar
from certagent.core.facts import Attempt, CertFile, KeyFile, Leaf, Listener, Loaded, Pair, Request, Snapshot, Trust
from certagent.core.policy import OcspRule, Policy, ProcessRule, RotationRule
from certagent.core.serving import material
from certagent.core.view import View
from tests.core.building import DAY, NOW, VOLUME, file, leaf, pair, policy, process, revocation, served, snapshot, want

SECOND = timedelta(seconds=1)
WHO = process().identity
ALONE = RotationRule(peers=(), outside_clients=False)
RULES = policy(want("ca"), want(), want("client.root"), rotation=ALONE)
CA = pair("ca")
OTHER_CA = pair("ca", leaf("ca", 2, not_after=NOW + 3000 * DAY))
BOTH_CAS = replace(OTHER_CA, cert=CertFile(file("ca.crt"), "both", leaf("ca", 2), chain=(leaf("ca"),)))
BEFORE = (CA, pair(), pair("client.root"))
BY_OTHER = Trust("ca", anchors=("spki-ca-2",))
UNKNOWN_CA = Trust("ca", "signed by unknown authority")


def next_leaf(stem: str = "node", **changes: Any) -> Leaf:
    return leaf(stem, 2, **changes)


def without_key(found: Pair) -> Pair:
    return replace(found, key=None, trust=found.trust)


def kept(*pairs: Pair, breaks: tuple[str, ...] = ()) -> Loaded:
    """What the process was last seen to have loaded; `breaks`: stems, a dash before one that was replaced."""
    made = Snapshot(snapshot().directory, pairs)
    loaded = tuple(without_key(p) for p in pairs if p.name.kind.loaded)
    live = tuple(b for b in breaks if b[0] != "-")
    return Loaded(material(made), loaded, live, tuple(b[1:] for b in breaks if b[0] == "-"))


def host(*disk: Pair, loaded: Loaded | None, **changes: Any) -> Snapshot:
    """A process that was verified a day ago, while another tool has just put other files there."""
    proven = Attempt("reload", WHO, NOW - DAY, "ok", material=loaded.material if loaded else "gone")
    found = snapshot(*disk, processes=(process(),), served=(served("node-1"),), attempts=(proven,))
    return replace(found, loaded=(loaded,) if loaded else (), **changes)


def reloads(made: Plan) -> list[Reload]:
    return [a for a in made.actions if isinstance(a, Reload)]


def told(made: Plan) -> list[str]:
    return [f.message for f in made.findings if (f.code, f.severity) == ("served.stale", "critical")]


SOUND = pair(cert=next_leaf())
EMPTY = replace(CA, cert=CertFile(file("ca.crt"), "other", leaf("ca", 3, not_after=NOW + DAY), pooled=False))
UNREADABLE = KeyFile(file("node.key"), "key-bom", None, "", "it starts with a BOM", "unparsable")
BROKEN_UI = replace(pair("ui"), cert=CertFile(file("ui.crt"), "", None, (), "broken", "unparsable"))
NO_TENANT = pair("client-tenant.foo")
WORSE: list[tuple[str, tuple[Pair, ...], tuple[str, ...], str]] = [
    ("node.crt of another CA", (CA, pair(cert=next_leaf(), trust=UNKNOWN_CA)), (), "not trusted by ca.crt"),
    ("without clientAuth", (CA, pair(cert=next_leaf(eku=("serverAuth",)))), (), "lacks clientAuth"),
    ("expired", (CA, pair(cert=next_leaf(not_after=NOW - SECOND))), (), "expired at"),
    ("not yet valid", (CA, pair(cert=next_leaf(not_before=NOW + DAY))), (), "not valid before"),
    ("names nobody", (CA, pair(cert=next_leaf(common_names=("db1",)))), (), "not the principal 'node'"),
    ("loses a configured name", (CA, pair(cert=next_leaf(dns=()))), (), "lacks the configured names"),
    ("ca.crt of another CA", (OTHER_CA, pair(trust=UNKNOWN_CA)), ("node",), "not trusted by ca.crt"),
    ("both of another CA", (OTHER_CA, SOUND), ("-node",), "no longer verifies the loaded node.crt"),
    (
        "a bundle that client.root needs",
        (OTHER_CA, pair(), pair("client.root")),
        ("client.root",),
        "no longer verifies client.root.crt",
    ),
    ("a bundle whose blocks all have headers", (EMPTY, pair()), (), "without PEM headers"),
    ("no key", (CA, replace(SOUND, key=None)), (), "node.key is missing"),
    (
        "a key that Go cannot read",
        (CA, replace(SOUND, key=UNREADABLE)),
        (),
        "node.key cannot be used: it starts with a BOM",
    ),
    ("a new ui.crt that cannot be read", (CA, SOUND, BROKEN_UI), (), "ui.crt cannot be used"),
    ("a tenant that is no number", (CA, SOUND, NO_TENANT), (), "refuses the whole directory"),
    (
        "a new client.node that is no client's",
        (CA, SOUND, pair("client.node", leaf("client.node", eku=()))),
        (),
        "lacks",
    ),
    (
        "a new ui.crt that neither ca.crt nor the system verifies",
        (CA, SOUND, replace(pair("ui"), trust=UNKNOWN_CA)),
        (),
        "ui.crt: the certificate is not trusted",
    ),
    ("a new ui.crt that is no server's", (CA, SOUND, pair("ui", leaf("ui", eku=()))), (), "lacks serverAuth"),
]


@pytest.mark.parametrize(("label", "disk", "breaks", "why"), WORSE, ids=[r[0] for r in WORSE])
@pytest.mark.parametrize("managed", [True, False])
def test_reload_onto_worse_material_is_blocked(
    label: str, disk: tuple[Pair, ...], breaks: tuple[str, ...], why: str, *, managed: bool
) -> None:
    """No SIGHUP, whatever wrote the files; one critical finding says what would break, and that the process goes on."""
    found = host(*disk, loaded=kept(*BEFORE, breaks=breaks))
    if not managed:
        found = replace(found, directory=replace(found.directory, observe_only=VOLUME))
    made = decide(RULES, found, NOW)
    assert reloads(made) == [], label
    assert [(why in m, "keeps using what it has loaded" in m) for m in told(made)] == [(True, True)], told(made)
    assert not [f for f in made.findings if "under way" in f.remedy]


@pytest.mark.parametrize(("label", "disk", "breaks", "why"), WORSE, ids=[r[0] for r in WORSE])
def test_reload_on_request_is_refused_or_forced(
    label: str, disk: tuple[Pair, ...], breaks: tuple[str, ...], why: str
) -> None:
    """Without `--force` the command is refused with the reason; with it the signal goes."""
    found = host(*disk, loaded=kept(*BEFORE, breaks=breaks))
    asked = Request("reload", "", NOW - SECOND)
    made = decide(RULES, replace(found, requests=(asked,)), NOW)
    refused = [a.reason for a in made.actions if isinstance(a, RejectCommand)]
    assert [why in reason and "--force" in reason for reason in refused] == [True], label
    assert reloads(made) == []
    forced = decide(RULES, replace(found, requests=(replace(asked, force=True),)), NOW)
    assert [1] == [len(reloads(forced))]


LESS = "db2.example.com"
DUAL = want(names=("db1.example.com", LESS))
WORSE_STILL: list[tuple[str, Leaf, Leaf]] = [
    ("another usage is gone", leaf(eku=("serverAuth",)), next_leaf(eku=("clientAuth",))),
    ("both usages are gone", leaf(eku=("serverAuth",)), next_leaf(eku=())),
    ("another name is gone", leaf(dns=("db1.example.com",)), next_leaf(dns=(LESS,))),
    ("every name is gone", leaf(dns=("DB1.example.com",)), next_leaf(dns=(), ips=())),
]


@pytest.mark.parametrize(("label", "before", "after"), WORSE_STILL, ids=[r[0] for r in WORSE_STILL])
def test_reload_onto_more_of_same_fault_is_blocked(label: str, before: Leaf, after: Leaf) -> None:
    """A fault that is loaded already excuses no other usage or name that is lost."""
    found = host(CA, pair(cert=after), loaded=kept(CA, pair(cert=before)))
    assert reloads(decide(policy(want("ca"), DUAL), found, NOW)) == [], label


def test_reload_onto_revoked_certificate_is_blocked() -> None:
    """With OCSP in strict mode every handshake would fail; a loaded one that is revoked as well blocks nothing."""
    rules = replace(RULES, ocsp=OcspRule(mode="strict"))
    found = host(CA, SOUND, loaded=kept(*BEFORE), revocations=(revocation("node-2", "revoked"),))
    assert reloads(decide(rules, found, NOW)) == []
    both = replace(found, revocations=(revocation("node-2", "revoked"), revocation("node-1", "revoked")))
    assert [1] == [len(reloads(decide(rules, both, NOW)))]


EXPIRED = pair(cert=leaf(not_after=NOW - SECOND))
ENDED = Trust("ca", ends=NOW - SECOND, ends_by="CN=between")
NO_WORSE: list[tuple[str, Snapshot]] = [
    ("a sound pair", host(CA, SOUND, loaded=kept(*BEFORE))),
    (
        "a client pair that nobody configured",
        host(
            OTHER_CA, replace(SOUND, trust=BY_OTHER), pair("client.old"), loaded=kept(*BEFORE, breaks=("client.old",))
        ),
    ),
    (
        "what was loaded could not be read, or may go",
        host(CA, SOUND, loaded=kept(CA, pair(), replace(BROKEN_UI, key=None), pair("client-tenant.5"))),
    ),
    ("a root is added", host(BOTH_CAS, pair(), loaded=kept(*BEFORE))),
    (
        "the CA is another one that suffices, and nobody else is there",
        host(OTHER_CA, pair(trust=BY_OTHER), loaded=kept(*BEFORE)),
    ),
    (
        "what is loaded has expired: it cannot become worse",
        host(CA, pair(cert=next_leaf(), trust=UNKNOWN_CA), loaded=kept(CA, EXPIRED)),
    ),
    (
        "the chain of what is loaded has ended: the same",
        host(CA, pair(cert=next_leaf(), trust=UNKNOWN_CA), loaded=kept(CA, pair(trust=ENDED))),
    ),
    (
        "the same fault was loaded before",
        host(CA, pair(cert=next_leaf(dns=())), loaded=kept(CA, pair(cert=leaf(dns=())))),
    ),
    (
        "ui has expired, and was loaded so",
        host(
            CA,
            SOUND,
            pair("ui", leaf("ui", not_after=NOW - SECOND)),
            loaded=kept(CA, pair(), pair("ui", leaf("ui", not_after=NOW - SECOND))),
        ),
    ),
    (
        "every handshake fails already",
        host(
            CA, pair(cert=next_leaf(), trust=UNKNOWN_CA), loaded=kept(*BEFORE), served=(served("", outcome="refused"),)
        ),
    ),
    ("nothing is known of what is loaded", host(CA, SOUND, loaded=None)),
    (
        "a CA that nobody trusts issues ui.crt, as before",
        host(
            CA,
            SOUND,
            replace(pair("ui"), trust=UNKNOWN_CA),
            loaded=kept(CA, pair(), replace(pair("ui", leaf("ui", 2)), trust=UNKNOWN_CA)),
        ),
    ),
    (
        "nothing is known, and another CA issues ui.crt",
        host(CA, SOUND, replace(pair("ui"), trust=UNKNOWN_CA), loaded=None),
    ),
    (
        "nothing is known, and a wanted name is missing",
        host(CA, pair(cert=next_leaf(dns=())), loaded=None),
    ),
]


@pytest.mark.parametrize(("label", "found"), NO_WORSE, ids=[r[0] for r in NO_WORSE])
def test_reload_onto_no_worse_material_is_signalled(label: str, found: Snapshot) -> None:
    """If nothing gets worse the signal goes."""
    assert [1] == [len(reloads(decide(RULES, found, NOW)))], label


UNKNOWN: list[tuple[str, Snapshot]] = [
    ("node.crt of another CA", host(CA, pair(cert=next_leaf(), trust=UNKNOWN_CA), loaded=None)),
    ("client.root does not verify", host(CA, SOUND, replace(pair("client.root"), trust=UNKNOWN_CA), loaded=None)),
    (
        "a CA that the process names is gone",
        host(OTHER_CA, SOUND, loaded=None, served=(served("node-1", client_cas=("subject-old",)),)),
    ),
]


@pytest.mark.parametrize(("label", "found"), UNKNOWN, ids=[r[0] for r in UNKNOWN])
def test_reload_with_unknown_loaded_material_is_blocked(label: str, found: Snapshot) -> None:
    """An agent that never saw what is loaded judges the files alone, and by what the process names."""
    made = decide(RULES, found, NOW)
    assert (reloads(made), len(told(made))) == ([], 1), label


ROOT = leaf("ca", 2, not_after=NOW + 3000 * DAY, spki="root-2")
OLD_ROOT = replace(ROOT, fingerprint="ca-1", spki="root-1")
ADMIN = replace(pair("client.root"), trust=Trust("ca", anchors=("root-2",)))
OFFERED: Any = served("", client="client.root", client_fingerprint="client.root-1", outcome="refused")
TAKEN = replace(OFFERED, outcome="served", fingerprint="node-1")
SAME_NAME = "of the same subject as what is loaded, "
DECIDED: list[tuple[str, tuple[Leaf, ...], tuple[Any, ...], int, int]] = [
    (f"{SAME_NAME}not offered yet", (ROOT,), (), 0, 0),
    (f"{SAME_NAME}refused", (ROOT,), (OFFERED,), 0, 1),
    (f"{SAME_NAME}taken", (ROOT,), (TAKEN,), 1, 0),
    (f"{SAME_NAME}refused, and the old root is there as well", (ROOT, OLD_ROOT), (OFFERED,), 1, 0),
    (f"{SAME_NAME}the log-in is refused", (ROOT,), (replace(OFFERED, sqlstate="28000"),), 1, 0),
    (f"{SAME_NAME}an earlier pair was refused", (ROOT,), (replace(OFFERED, client_fingerprint="gone"),), 1, 0),
    (f"{SAME_NAME}no answer", (ROOT,), (replace(OFFERED, outcome="unreachable"),), 1, 0),
]


@pytest.mark.parametrize(("label", "roots", "answers", "signals", "blocked"), DECIDED, ids=[r[0] for r in DECIDED])
@pytest.mark.parametrize("bundle", ["ca", "ca-client"])
def test_reload_onto_bundle_of_same_subject_asks_clients_first(
    label: str, roots: tuple[Leaf, ...], answers: tuple[Any, ...], signals: int, blocked: int, *, bundle: str
) -> None:
    """Nothing is known of what is loaded, and the names of CAs are the same: a client's pair tells bundles apart."""
    made = pair(bundle, roots[0])
    assert made.cert is not None
    made = replace(made, cert=replace(made.cert, chain=roots[1:]))
    admin = replace(ADMIN, trust=replace(ADMIN.trust, bundle=bundle))
    others = () if bundle == "ca" else (CA,)
    found = host(*others, made, SOUND, admin, loaded=None, served=(served("node-1"), *answers))
    plan = decide(RULES, found, NOW)
    assert (len(reloads(plan)), len(told(plan))) == (signals, blocked), label


def test_reload_waits_until_every_port_told_what_it_serves() -> None:
    """The console has answered first: whether the SQL port takes the clients' pairs is not known yet.

    A port that hangs is offered no pair, and delays nothing.
    """
    ports = (Listener("127.0.0.1", 8080, "http"), Listener("127.0.0.1", 26257))
    console = served("node-1", address="127.0.0.1:8080", kind="http")
    found = host(pair("ca", ROOT), SOUND, ADMIN, loaded=None, served=(console,), processes=(process(listeners=ports),))
    assert reloads(decide(RULES, found, NOW)) == []
    both = replace(found, served=(console, served("node-1"), TAKEN))
    assert [1] == [len(reloads(decide(RULES, both, NOW)))]
    silent = served("", address="127.0.0.1:8080", outcome="unreachable")  # it has not shown what it speaks
    hanging = replace(both, served=(silent, served("node-1"), TAKEN))
    assert [1] == [len(reloads(decide(RULES, hanging, NOW)))]


def test_reload_onto_bundle_of_other_ca_names_bundle() -> None:
    """node.crt is served as it is on disk, and the bundle on disk does not verify it: the bundle is what changed."""
    untrusted = replace(pair(), trust=UNKNOWN_CA)
    found = host(CA, untrusted, loaded=None)
    made = decide(RULES, found, NOW)
    assert (reloads(made), [f.file for f in made.findings if f.code == "served.stale"]) == ([], ["ca.crt"])


def test_reload_of_new_process_compares_with_last_seen() -> None:
    """A new process is compared with the last seen state of any: a restart of cockroach forgets nothing."""
    found = host(OTHER_CA, SOUND, loaded=kept(*BEFORE, breaks=("-node",)))
    other = replace(found, processes=(process(start=7000),), served=(served("node-1", process="100:7000"),))
    assert reloads(decide(RULES, other, NOW)) == []


def test_restart_that_would_fail_is_finding() -> None:
    """A node that is started with a broken pair does not come up; one with another CA's comes up, and fails."""
    mismatch = host(CA, replace(SOUND, key=pair(cert=leaf(serial=9)).key), loaded=kept(*BEFORE))
    assert [
        "a restart would fail (node.key does not match node.crt)" in m for m in told(decide(RULES, mismatch, NOW))
    ] == [True]
    other = host(CA, pair(cert=next_leaf(), trust=UNKNOWN_CA), loaded=kept(*BEFORE))
    assert ["a restart would load it too" in m for m in told(decide(RULES, other, NOW))] == [True]


def test_reload_that_would_lose_a_file_is_blocked() -> None:
    """cockroach refuses to lose a valid file: the signal would have no effect."""
    gone = host(CA, SOUND, loaded=kept(CA, pair(), pair("ca-client", leaf("ca-client", is_ca=True))))
    made = decide(RULES, gone, NOW)
    assert (reloads(made), ["refuse a reload that loses ca-client.crt" in m for m in told(made)]) == ([], [True])


def test_reload_waits_for_not_before() -> None:
    """A certificate of the future is loaded once it is valid."""
    soon = NOW + 60 * SECOND
    made = decide(RULES, host(CA, pair(cert=next_leaf(not_before=soon)), loaded=kept(*BEFORE)), NOW)
    assert [soon] == [h.until for h in made.blocked if h.action == "reload"]


def test_reload_false_finding_announces_no_reload() -> None:
    """`reload = false`: no reload is under way, so none is announced."""
    rules: Policy = policy(process=ProcessRule(reload=False))
    made = decide(rules, host(CA, SOUND, loaded=kept(*BEFORE)), NOW)
    assert [("served.stale", "warning")] == [(f.code, f.severity) for f in made.findings]


def test_handshakes_failing_after_sighup_are_critical() -> None:
    """No handshake succeeds since the SIGHUP: that is an alarm in the same reconcile, not after five signals."""
    found = host(CA, SOUND, loaded=kept(*BEFORE))
    signal = Attempt("reload", WHO, NOW - 3 * SECOND, "unproven", material=material(found))
    for outcome in ("refused", "unreachable"):
        answer: Any = served("", outcome=outcome, at=NOW - SECOND)
        after = replace(found, served=(answer,), attempts=(*found.attempts, signal))
        assert ["critical"] == [f.severity for f in decide(RULES, after, NOW).findings if f.code.startswith("served.")][
            :1
        ]


def test_process_ended_after_sighup_is_critical() -> None:
    """It was signalled and is gone without an answer: an alarm, until another process is seen or for ten minutes."""
    found = replace(host(CA, SOUND, loaded=kept(*BEFORE)), processes=(), served=())
    signal = Attempt("reload", WHO, NOW - 3 * SECOND, "unproven", material=material(found))
    codes = {
        label: [
            (f.code, f.severity)
            for f in decide(RULES, replace(found, attempts=(attempt,)), at).findings
            if f.code.startswith(("served", "process"))
        ][:1]
        for label, attempt, at in (
            ("gone", signal, NOW),
            ("verified before", replace(signal, outcome="ok"), NOW),
            ("not looked for since", replace(signal, at=NOW), NOW),
            ("long ago", signal, NOW + 700 * SECOND),
        )
    }
    alarm, none = [("served.stale", "critical")], [("process.none", "info")]
    assert codes == {"gone": alarm, "verified before": none, "not looked for since": none, "long ago": none}


def test_served_certificate_is_not_judged_again_where_nothing_is_known() -> None:
    """What a port returns already works: a weakness of it is no reason against the reload that another file needs."""
    for found, reason in ((leaf(eku=("serverAuth",)), None), (next_leaf(eku=("serverAuth",)), "lacks clientAuth")):
        snap = host(CA, pair(cert=found), pair("client.root"), loaded=None)
        barred = bar(View(policy=RULES, snapshot=snap, now=NOW), process())
        assert (barred is None) == (reason is None)
        assert barred is None or str(reason) in barred.reason
