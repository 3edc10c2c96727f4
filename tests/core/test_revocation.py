"""Revocation: what is asked and when, what the answers mean, what a revoked pair may no longer do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import AskRevocation, Install, Issue, Quarantine, RejectStaged, Rollback
from certagent.core.decide import decide
from certagent.core.facts import Answer, Attempt, CertFile, Checked, InFlight, Pair, Request, Revocation, Snapshot
from certagent.core.policy import OcspRule, Policy
from certagent.core.predict import forecast
from tests.core.building import DAY, NOW, generation, leaf, pair, policy, revocation, snapshot, staged, want

URL = "http://ocsp.example.com"
MINUTE = timedelta(minutes=1)
LAX, STRICT = (policy(ocsp=OcspRule(mode)) for mode in ("lax", "strict"))
NODE = leaf(ocsp=(URL,))
NEXT = leaf(serial=2, ocsp=(URL,), not_before=NOW, not_after=NOW + 30 * DAY)


def world(*found: Revocation, node: Any = NODE, **changes: Any) -> Snapshot:
    return snapshot(pair("ca"), pair("node", node), revocations=found, **changes)


def done(rules: Policy, found: Snapshot, kind: Any, now: Any = NOW) -> list[Any]:
    return [a for a in decide(rules, found, now).actions if isinstance(a, kind)]


def codes(rules: Policy, found: Snapshot) -> dict[str, str]:
    return {f.code: f.severity for f in decide(rules, found, NOW).findings if f.code.startswith("ocsp.")}


FINDINGS = [
    ("good", NODE, ("good",), {}, {}),
    ("unknown", NODE, ("unknown",), {"ocsp.unknown": "warning"}, {"ocsp.unknown": "critical"}),
    ("unreachable", NODE, ("unreachable",), {"ocsp.unreachable": "warning"}, {"ocsp.unreachable": "critical"}),
    ("the second knows", NODE, ("unreachable", "good"), {}, {}),
    ("neither", NODE, ("unreachable", "unknown"), {"ocsp.unknown": "warning"}, {"ocsp.unknown": "critical"}),
    ("revoked", NODE, ("revoked",), {"ocsp.revoked": "critical"}, {"ocsp.revoked": "critical"}),
    ("no URL", leaf(), (), {"ocsp.no-url": "warning"}, {"ocsp.no-url": "warning"}),
]


@pytest.mark.parametrize(("what", "node", "statuses", "lax", "strict"), FINDINGS, ids=[f[0] for f in FINDINGS])
def test_ocsp_answers_severity_by_mode(what: str, node: Any, statuses: Any, lax: Any, strict: Any) -> None:
    """Revoked is critical in every mode, an answer other than good is critical in strict; off reports nothing."""
    found = world(*([revocation("node-1", *statuses)] if statuses else []), node=node)
    assert (what, codes(LAX, found), codes(STRICT, found), codes(policy(), found)) == (what, lax, strict, {})


def test_ocsp_issuer_counts_as_well() -> None:
    """A revoked or unanswered intermediate is a finding of the leaf's file, which names it."""
    good = Answer("ocsp", URL, "good", NOW)
    issuer = Checked("inter-1", "CN=inter", (replace(good, status="revoked", reason="cACompromise"),), (URL,))
    known = Revocation("node-1", NOW, (Checked("node-1", "CN=node", (good,), (URL,)), issuer))
    messages = [f.message for f in decide(LAX, world(known), NOW).findings if f.code == "ocsp.revoked"]
    assert ["the issuer CN=inter was revoked (cACompromise), according to" in m for m in messages] == [True]
    silent = replace(known, chain=(known.chain[0], Checked("inter-1", "CN=inter")))
    assert codes(LAX, world(silent)) == {"ocsp.no-url": "warning"}


def test_crl_revoked_counts_good_does_not() -> None:
    """A list that says revoked counts; one that says good does not hide what cockroach would meet in strict."""
    answers = revocation("node-1", "unreachable").chain[0].answers
    for status, expected in (("good", {"ocsp.unreachable": "critical"}), ("revoked", {"ocsp.revoked": "critical"})):
        listed = Answer("crl", "http://x/crl", status, NOW)  # type: ignore[arg-type]
        chain = (Checked("node-1", "CN=node", (*answers, listed), (URL,)),)
        assert codes(STRICT, world(Revocation("node-1", NOW, chain))) == expected


def test_ocsp_off_or_without_responder_asks_nothing() -> None:
    """No question if OCSP is off, if a certificate names no responder, or while one is in flight."""
    assert done(policy(), world(), AskRevocation) == []
    assert done(LAX, world(node=leaf()), AskRevocation) == []
    assert done(LAX, world(in_flight=(InFlight("revocation", "", NOW),)), AskRevocation) == []
    assert [a.leaves for a in done(LAX, world(), AskRevocation)] == [(("node", "node-1"),)]


def test_crl_alone_is_asked_if_enabled() -> None:
    """A certificate with a distribution point and no responder."""
    found = world(node=leaf(crl=("http://x/crl",)))
    assert len(done(LAX, found, AskRevocation)) == 1
    assert done(policy(ocsp=OcspRule("lax", crl=False)), found, AskRevocation) == []


TIMES = [  # status, minutes until nextUpdate -> not yet after, again after (minutes; with a tenth of jitter at most)
    ("good", 30, 29, 30),
    ("good", 1, 4, 5.6),
    ("good", None, 4, 5.6),
    ("good", 600, 59, 60),
    ("unreachable", 600, 4, 5.6),
    ("unknown", 600, 4, 5.6),
    ("revoked", 1, 59, 60),
]


@pytest.mark.parametrize(("status", "valid", "early", "late"), TIMES)
def test_ocsp_next_question_time(status: str, valid: float | None, early: float, late: float) -> None:
    """At nextUpdate, within five minutes and an hour; an unusable answer is repeated after five minutes."""
    answer = Answer("ocsp", URL, status, NOW, next_update=NOW + valid * MINUTE if valid else None)  # type: ignore[arg-type]
    known = Revocation("node-1", NOW, (Checked("node-1", "CN=node", (answer,), (URL,)),))
    found = world(known, quarantined=frozenset({"node-1"}), issued=frozenset({"ca-1", "node-1"}))
    rules = policy(want("ca"), want(authorities=()), ocsp=OcspRule("lax"))
    assert done(rules, found, AskRevocation, NOW + early * MINUTE) == []
    assert len(done(rules, found, AskRevocation, NOW + late * MINUTE)) == 1


def test_ocsp_fifty_leaves_in_a_job() -> None:
    """Fifty leaves a job, staged ones first."""
    stems = [f"client.u{n}" for n in range(70)]
    pairs = [pair("ca"), *(pair(s, leaf(s, ocsp=(URL,))) for s in stems)]
    found = snapshot(*pairs, staged=(staged("client.u69", leaf("client.u69", 2, ocsp=(URL,))),))
    rules = policy(want("ca"), *(want(s) for s in stems), ocsp=OcspRule("lax"))
    (asked,) = done(rules, found, AskRevocation)
    assert (len(asked.leaves), asked.leaves[0]) == (50, ("client.u69", "client.u69-2"))


def test_revoked_is_reissued_immediately_with_new_key() -> None:
    """Issued without waiting for its time, never with the same key, and quarantined."""
    rules = policy(want("ca"), want(reuse_key=True), ocsp=OcspRule("lax"))
    found = world(revocation("node-1", "revoked"))
    (issue,) = done(rules, found, Issue)
    assert (issue.subject, issue.reuse_key) == ("node", False)
    assert "revoked" in issue.reason
    assert [(q.stem, q.fingerprint) for q in done(rules, found, Quarantine)] == [("node", "node-1")]
    assert done(rules, replace(found, quarantined=frozenset({"node-1"})), Quarantine) == []
    assert "Install" in [type(a).__name__ for a in forecast(rules, found, NOW)]


def test_revoked_with_authority_none_is_finding() -> None:
    """With authority none a revoked pair is an alarm, and the operator's task."""
    rules = policy(want("ca", authorities=()), want(authorities=()), ocsp=OcspRule("lax"))
    found = world(revocation("node-1", "revoked"))
    assert done(rules, found, Issue) == []
    assert "ocsp.revoked" in codes(rules, found)


def test_revoked_three_times_in_an_hour_waits() -> None:
    """Three of the last hour revoked: the next waits until the hour is over, or an operator asks.

    Three that are not revoked are no reason to wait.
    """
    marks = {50: "node-8", 30: "node-9", 10: "node-1"}
    tries = tuple(Attempt("install", "node", NOW - n * MINUTE, "ok", fingerprint=m) for n, m in marks.items())
    found = world(revocation("node-1", "revoked"), attempts=tries, quarantined=frozenset({"node-8", "node-9"}))
    assert len(done(LAX, replace(found, attempts=tries[1:]), Issue)) == 1
    assert done(LAX, found, Issue) == []
    assert ["`certagent renew` does not" in h.reason for h in decide(LAX, found, NOW).blocked] == [True]
    assert len(done(LAX, found, Issue, NOW + 11 * MINUTE)) == 1
    assert len(done(LAX, replace(found, requests=(Request("renew", "node", NOW),)), Issue)) == 1
    assert len(done(LAX, replace(found, quarantined=frozenset()), Issue)) == 1


def test_rollback_never_to_revoked_generation() -> None:
    """An operator's rollback finds no generation that is revoked, by OCSP or by the quarantine."""
    asked = (Request("rollback", "node", NOW),)
    kept = generation()
    mark = kept.pair.leaf.fingerprint if kept.pair.leaf else ""
    assert len(done(LAX, world(requests=asked, generations=(kept,)), Rollback)) == 1
    assert done(LAX, world(revocation(mark, "revoked"), requests=asked, generations=(kept,)), Rollback) == []
    assert done(LAX, world(requests=asked, generations=(kept,), quarantined=frozenset({mark})), Rollback) == []


def entering(*found: Revocation, new: Any = NEXT, rules: Policy = LAX, **changes: Any) -> tuple[list[str], list[str]]:
    """What happens to a staged pair: actions about it, and why it is held."""
    made = world(*found, staged=(staged("node", new),), **changes)
    made = replace(made, issued=made.issued | {"node-2"})
    plan = decide(rules, made, NOW)
    acts = [type(a).__name__ for a in plan.actions if isinstance(a, Install | RejectStaged)]
    return acts, [h.reason for h in plan.blocked if h.action == "install"]


def test_staged_pair_is_checked_by_ocsp_first() -> None:
    """Blocked until its responder was asked, which a job always ends; without one, or with OCSP off, not at all."""
    acts, held = entering()
    assert (acts, ["waiting for an OCSP answer about the new certificate" in h for h in held]) == ([], [True])
    assert entering(rules=policy()) == (["Install"], [])
    assert entering(new=replace(NEXT, ocsp=())) == (["Install"], [])


@pytest.mark.parametrize(("status", "lax", "strict"), [
    ("good", "Install", "Install"),
    ("unreachable", "Install", "Install"),
    ("unknown", "Install", "held"),
    ("revoked", "RejectStaged", "RejectStaged"),
])  # fmt: skip
def test_staged_pair_revoked_or_unknown_in_strict_is_refused(status: str, lax: str, strict: str) -> None:
    """Revoked is refused; unknown would lock the node out in strict, if the old pair is good and has time."""
    for rules, expected in ((LAX, lax), (STRICT, strict)):
        acts, held = entering(revocation("node-1", "good"), revocation("node-2", status), rules=rules)
        assert (acts or ["held" for _ in held]) == [expected]


def test_staged_pair_unknown_in_strict_is_installed_in_emergency() -> None:
    """An old pair that is unknown as well, or in its emergency, is no reason to wait."""
    new = revocation("node-2", "unknown")
    assert entering(revocation("node-1", "unknown"), new, rules=STRICT)[0] == ["Install"]
    late = leaf(ocsp=(URL,), not_before=NOW - 99 * DAY, not_after=NOW + DAY)
    assert entering(revocation("node-1", "good"), new, rules=STRICT, node=late)[0] == ["Install"]


def test_staged_pair_with_revoked_key_is_discarded() -> None:
    """An answer that was asked for before the revocation, with the key that was revoked, is discarded."""
    same = replace(NEXT, spki=NODE.spki)
    assert entering(revocation("node-1", "revoked"), revocation("node-2", "good"), new=same)[0] == ["RejectStaged"]


def test_ocsp_intermediate_in_file_is_asked() -> None:
    """The leaf names no responder, the intermediate in its file does: there is a question to ask."""
    made = pair("node", leaf())
    inter = leaf("ca", 7, ocsp=(URL,))
    cert = replace(made.cert, chain=(inter,)) if isinstance(made.cert, CertFile) else None
    found = snapshot(pair("ca"), Pair(made.name, cert, made.key, made.trust))
    assert len(done(LAX, found, AskRevocation)) == 1
