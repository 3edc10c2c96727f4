"""Invariants over arbitrary worlds: they go quiet, only what is sound is installed, the agent stays polite."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certagent.core.actions import Action, AskRevocation, Install, Issue, Reload, Restrict, subject_of
from certagent.core.decide import decide
from certagent.core.facts import (
    Attempt,
    History,
    Leaf,
    Pair,
    Pairs,
    Process,
    Repair,
    Revocation,
    Snapshot,
    Staged,
    Trust,
)
from certagent.core.policy import OcspRule, Policy
from certagent.core.predict import forecast, predict
from tests.core.building import (
    DAY,
    NOW,
    generation,
    leaf,
    pair,
    policy,
    process,
    revocation,
    served,
    snapshot,
    staged,
    want,
)
from tests.core.outages import KEPT

STEMS = ("node", "ui", "client.root")
RULES = policy(want("ca"), *(want(stem) for stem in STEMS), ocsp=OcspRule("strict", min_interval=timedelta(minutes=30)))
ASKED = 6 * 24 * 2 + 6 * 20  # every half hour for each pair, live and staged; each new certificate once more


@st.composite
def pairs(draw: st.DrawFn, stem: str) -> Pair | None:
    """A pair in any state."""
    if draw(st.integers(0, 5)) == 0:
        return None
    begin = NOW - draw(st.integers(-2, 40)) * DAY
    cert = leaf(stem, draw(st.integers(1, 3)), not_before=begin, not_after=begin + draw(st.integers(1, 60)) * DAY)
    cert = replace(cert, ocsp=draw(st.sampled_from([(), ("http://ocsp.example.com",)])))
    if draw(st.integers(0, 4)) == 0:
        cert = replace(cert, dns=(), common_names=draw(st.sampled_from([(), ("node",), ("root",)])))
    made = pair(stem, cert, draw(st.sampled_from([0o600, 0o600, 0o640, 0o666])))
    broken = draw(st.integers(0, 7))
    if broken == 0:
        return replace(made, key=None)
    if broken == 1:
        return replace(made, cert=None)
    if broken == 2:
        return replace(made, key=pair(stem, leaf(stem, 9)).key)
    return replace(made, trust=Trust("ca", draw(st.sampled_from([None, None, None, "no chain"]))))


@st.composite
def answers(draw: st.DrawFn) -> Staged:
    """Something staged, sound or not."""
    stem = draw(st.sampled_from(STEMS))
    made = draw(pairs(stem)) or staged(stem).pair
    problem = draw(st.sampled_from([None, None, "bad"]))
    return Staged(made, NOW, asked=draw(st.booleans()), handshake=problem)


@st.composite
def verdicts(draw: st.DrawFn) -> Revocation:
    """What a responder said of a leaf."""
    mark = f"{draw(st.sampled_from(STEMS))}-{draw(st.integers(1, 3))}"
    return revocation(mark, draw(st.sampled_from(["good", "revoked", "unknown", "unreachable"])))


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    """A directory, perhaps with a process that serves something."""
    found = [p for stem in STEMS if (p := draw(pairs(stem)))]
    bundle = [pair("ca")] if draw(st.integers(0, 5)) else []
    made = snapshot(*bundle, *found, pair("client.other"))
    ours = draw(st.booleans())
    running: tuple[Process, ...] = (
        (process(started=NOW - draw(st.integers(0, 3)) * DAY),) if draw(st.booleans()) else ()
    )
    shown = draw(st.sampled_from(["node-1", "node-2", ""]))
    outcome = draw(st.sampled_from(["served", "refused", "unreachable"]))
    return replace(
        made,
        issued=made.issued if ours else frozenset(),
        staged=tuple({s.pair.name: s for s in draw(st.lists(answers(), max_size=2))}.values()),
        processes=running,
        served=(served(shown, outcome=outcome),) if running and draw(st.booleans()) else (),
        generations=(generation(),) if draw(st.booleans()) else (),
        euid=draw(st.sampled_from([0, 999])),
        revocations=tuple({r.fingerprint: r for r in draw(st.lists(verdicts(), max_size=4))}.values()),
    )


@given(worlds())
def test_any_host_becomes_idle_if_actions_succeed(found: Snapshot) -> None:
    """If every action succeeds, a few rounds leave nothing to do."""
    now = NOW
    for _ in range(30):
        made = decide(RULES, found, now)
        if not made.actions:
            return
        for action in made.actions:
            found = predict(found, action, now)
        now += timedelta(milliseconds=10)
    raise AssertionError([type(a).__name__ for a in made.actions])


def is_sound(pair: Pair, now: datetime) -> bool:
    """The oracle, in its own words: not that of the pre-install checks."""
    cert, key = pair.leaf, pair.key
    if cert is None or key is None or key.spki != cert.spki:
        return False
    if not cert.not_before <= now < cert.not_after or (pair.trust and pair.trust.problem):
        return False
    role = pair.name.role.value
    names = set(cert.dns) | set(cert.ips)
    if role in {"node", "ui"} and not {"db1.example.com", "10.0.0.5"} <= names:
        return False
    needed = {"node": "node", "client": pair.name.subject}.get(role)
    return needed is None or needed in (*cert.common_names, *cert.dns)


@given(worlds())
def test_install_only_valid_pairs(found: Snapshot) -> None:
    """Whatever is staged, an installed pair matches, is valid, trusted, has the required names, and shook hands."""
    for action in decide(RULES, found, NOW).actions:
        if isinstance(action, Install):
            answer = next(s for s in found.staged if s.pair.name.stem == action.stem)
            assert is_sound(answer.pair, NOW)
            assert not answer.handshake
            assert not found.revoked(answer.pair.leaf)
            assert answer.pair.digests == action.digests


@given(worlds())
def test_reload_never_onto_a_broken_pair(found: Snapshot) -> None:
    """No signal goes while a pair that the server loads does not match on disk."""
    signalled = [a for a in decide(RULES, found, NOW).actions if isinstance(a, Reload)]
    broken = [p for p in found.pairs if p.name.role.value in {"node", "ui"} and p.cert and not p.matched]
    assert not (signalled and broken)


@given(worlds())
def test_idle_plan_names_its_next_wake(found: Snapshot) -> None:
    """When nothing is left to do and the agent renews something, the plan has the time of the next check."""
    for action in forecast(RULES, found, NOW):
        found = predict(found, action, NOW)
    made = decide(RULES, found, NOW)
    if not made.actions:
        assert made.wake_at is not None
        assert made.wake_at > NOW


@given(worlds())
def test_finding_severities_are_in_the_catalogue(found: Snapshot) -> None:
    """The catalogue lists every severity that a finding can have, and each finding has a remedy."""
    made = decide(RULES, found, NOW).findings
    assert [f for f in made if f.severity not in f.rule.severities or not f.remedy] == []


@given(worlds())
def test_plan_depends_on_values_alone(found: Snapshot) -> None:
    """What was found once for an object is what is found for an equal one, and for one that shares its fingerprints."""
    first = decide(RULES, found, NOW)
    assert decide(deepcopy(RULES), deepcopy(found), NOW) == first
    kept = replace(found, pairs=Pairs(found.pairs), attempts=History(found.attempts))
    for at in (NOW, NOW + DAY, NOW - DAY, NOW):
        assert decide(RULES, replace(kept), at) == decide(RULES, found, at)
    others = tuple(
        replace(p, cert=replace(p.cert, leaf=altered(p.leaf))) if p.cert and p.leaf else p for p in found.pairs
    )
    decide(RULES, replace(found, pairs=others), NOW)
    assert decide(RULES, replace(found), NOW) == first


def altered(cert: Leaf) -> Leaf:
    """A certificate that no CA makes: the same fingerprint, and everything else another."""
    return replace(cert, dns=("other.example.com",), common_names=("other",), eku=(), not_after=cert.not_after + DAY)


@given(worlds())
def test_renewal_due_stays_due(found: Snapshot) -> None:
    """What is asked for now would still be asked for an hour later, if nothing happened."""
    first = {a.subject for a in decide(RULES, found, NOW).actions if isinstance(a, Issue)}
    later = {a.subject for a in decide(RULES, found, NOW + timedelta(hours=1)).actions if isinstance(a, Issue)}
    assert first <= later


@given(worlds())
def test_plan_asks_once_for_each_name(found: Snapshot) -> None:
    """A plan never asks twice for one pair, nor installs twice, nor signals one process twice."""
    made = decide(RULES, found, NOW).actions
    about = [(type(a).__name__, subject_of(a)) for a in made]
    assert len(about) == len(set(about))


def disobedient(found: Snapshot, action: Action, now: datetime, mood: int) -> Snapshot:  # noqa: PLR0911 - one arm each
    """A host that fails, does nothing, or answers rubbish; attempts are recorded all the same."""
    match action:
        case Issue() if mood == 0:
            return replace(found, attempts=(*found.attempts, Attempt("issue", action.subject, now, "failed", "no")))
        case Issue() if mood == 1:
            bad = predict(found, action, now)
            return replace(bad, staged=tuple(replace(s, handshake="rubbish") for s in bad.staged))
        case Install() if mood == 2:
            gone = tuple(s for s in found.staged if s.pair.name.stem != action.stem)
            tried = Attempt("install", action.stem, now, "failed", "disk")
            return replace(found, staged=gone, attempts=(*found.attempts, tried))
        case Install() if mood == 3:
            tried = Attempt("install", action.stem, now, "failed", "disk", fingerprint=action.fingerprint)
            return replace(found, attempts=(*found.attempts, tried))
        case Reload():
            tried = Attempt("reload", action.subject, now, "unproven", material=action.material)
            return replace(found, attempts=(*found.attempts, tried))
        case AskRevocation() if mood != 2:
            says = ("unreachable", "revoked", "", "unknown")[mood]
            fresh = {m: revocation(m, says, at=now) for _, m in action.leaves}
            kept = {r.fingerprint: r for r in found.revocations} | fresh
            return replace(found, revocations=tuple(kept.values()))
        case Restrict():
            done = found if mood == 0 else predict(found, action, now)
            return replace(done, repairs=(*found.repairs, Repair(action.file, now, ok=mood != 0)))
    return predict(found, action, now)


def kept(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """What the ledger returns of them: the newest of each kind and subject, oldest first."""
    newer: Counter[tuple[str, str]] = Counter()
    found = []
    for attempt in reversed(attempts):
        newer[attempt.kind, attempt.subject] += 1
        found += [attempt] if newer[attempt.kind, attempt.subject] <= KEPT else []
    return tuple(reversed(found))


def a_day(found: Snapshot, mood: int, rules: Policy) -> list[Action]:
    """Every action of a simulated day, each turn at the wake the plan named (or thirty seconds later)."""
    done: list[Action] = []
    now = NOW
    while now < NOW + DAY:
        made = decide(rules, found, now)
        for action in made.actions:
            found = disobedient(found, action, now, mood)
        found = replace(found, attempts=kept(found.attempts))
        done += made.actions
        now = min(max(made.wake_at or now, now + timedelta(seconds=1)), now + timedelta(minutes=10))
    return done


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 6)  # each is thousands of decisions
@given(worlds(), st.integers(0, 3))
def test_requests_signals_repairs_are_bounded_in_a_day(found: Snapshot, mood: int) -> None:
    """A day of failures, no-ops and rubbish: a bounded number of requests per pair, of signals and of repairs."""
    done = a_day(found, mood, RULES)
    for stem in ("ca", *STEMS):
        # at most every 20 seconds once expired; where no certificate can be installed, every hour
        assert sum(isinstance(a, Issue) and a.subject == stem for a in done) <= (
            26 if mood in {1, 2} and stem != "ca" else 24 * 180 + 5  # a bundle is no certificate that its CA counts
        )
        assert sum(isinstance(a, Install) and a.stem == stem for a in done) <= 320  # at most every five minutes
    assert sum(isinstance(a, Reload) for a in done) <= 5 * 8
    assert sum(isinstance(a, AskRevocation) for a in done) <= ASKED + sum(isinstance(a, Issue) for a in done)
    for key in {a.file for a in done if isinstance(a, Restrict)}:
        assert sum(isinstance(a, Restrict) and a.file == key for a in done) <= 24 * 60 * 6 + 5
