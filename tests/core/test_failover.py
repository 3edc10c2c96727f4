"""Whom to ask, where several authorities are in order."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certagent.core.actions import Issue, Plan, RejectStaged
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Authority, Request, Snapshot, Trust
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, staged, want

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
RULES = policy(want("ca"), want(authorities=("house", "backup", "third")))
DUE = snapshot(pair("ca"), pair(cert=leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY)))
OURS, OTHERS = leaf("ca"), leaf("ca", 77, spki="another root")


def failed(name: str, ago: timedelta = SECOND, **changes: Any) -> Attempt:
    return replace(Attempt("issue", "node", NOW - ago, "failed", "unreachable", authority=name), **changes)


def done(ago: timedelta) -> Attempt:
    return Attempt("install", "node", NOW - ago, "ok", fingerprint="node-1")


def known(**roots: Any) -> tuple[Authority, ...]:
    return tuple(Authority(name, "est", (root,)) for name, root in roots.items())


def plan(found: Snapshot, now: datetime = NOW) -> Plan:
    return decide(RULES, found, now)


def asked(found: Snapshot, now: datetime = NOW) -> list[str]:
    return [a.authority for a in plan(found, now).actions if isinstance(a, Issue) and a.subject == "node"]


REFUSED = {"outcome": "refused", "reason": "policy"}
LIMITED = {"retry_at": NOW + HOUR}
WAITING = {"outcome": "retry", "reason": "a person decides", "retry_at": NOW + HOUR}
OVER = {"outcome": "retry", "reason": "a person decides", "retry_at": NOW - SECOND}
ROWS = [
    ("nothing failed: the first", (), ["house"]),
    ("the first failed a second ago: the next, at once", (failed("house"),), ["backup"]),
    ("refused by policy moves on too", (failed("house", **REFUSED),), ["backup"]),
    ("a Retry-After keeps nobody else waiting", (failed("house", **LIMITED),), ["backup"]),
    ("two failed: the third", (failed("house"), failed("backup")), ["third"]),
    ("all failed just now: everybody has a pause", (failed("house"), failed("backup"), failed("third")), []),
    (
        "all failed long ago: the first again",
        (failed("house", HOUR), failed("backup", HOUR), failed("third", HOUR)),
        ["house"],
    ),
    (
        "the least tried one first",
        (failed("house", HOUR), failed("house", HOUR / 2), failed("third", HOUR)),
        ["backup"],
    ),
    ("a new renewal begins with the first", (failed("house", 9 * DAY), done(8 * DAY)), ["house"]),
    (
        "an answer that the pre-install checks refused moves on",
        (failed("house", outcome="ok"), Attempt("install", "node", NOW, "refused", "untrusted")),
        ["backup"],
    ),
    ("a failure whose authority is not known counts for all", (failed(""),), []),
    ("an authority that left the order counts for nobody", (failed("gone"),), ["house"]),
    ("whoever has the request is waited for", (failed("house"), failed("backup", **WAITING)), []),
    ("and asked again when it said so", (failed("house"), failed("backup", **OVER)), ["backup"]),
    ("after it failed, the next", (failed("backup", HOUR, **OVER), failed("backup")), ["house"]),
]


@pytest.mark.parametrize(("label", "attempts", "names"), ROWS, ids=[r[0] for r in ROWS])
def test_fallback_order_picks_one_authority(label: str, attempts: tuple[Attempt, ...], names: list[str]) -> None:
    """Given the past attempts, exactly one authority is asked, or none until its pause is over."""
    assert names == asked(replace(DUE, attempts=attempts)), label


MINUTE = timedelta(minutes=1)
ALONE = policy(want("ca"), want())


def refused(ago: timedelta, **changes: Any) -> tuple[Attempt, Attempt]:
    """A certificate that was issued, and that the pre-install checks refused."""
    why = replace(Attempt("install", "node", NOW - ago, "refused", "lacks clientAuth"), **changes)
    return failed("house", ago, outcome="ok", reason=""), why


def changed_ca(ago: timedelta) -> Snapshot:
    """The bundle was changed a while ago."""
    made, at = pair("ca"), int((NOW - ago).timestamp() * 1e9)
    assert made.cert is not None
    return replace(
        DUE, pairs=(replace(made, cert=replace(made.cert, file=replace(made.cert.file, ctime_ns=at))), DUE.pairs[1])
    )


FOR_ITS_ROOT = {"retry_at": NOW + 22 * HOUR}
BLAMELESS = {"retry_at": NOW - MINUTE}
DROPBOX = (Authority("house", "dropbox", by_hand=True),)
ANSWERED = [
    ("59 minutes ago", replace(DUE, attempts=refused(59 * MINUTE)), False),
    ("an hour ago", replace(DUE, attempts=refused(61 * MINUTE)), True),
    ("twice, the second an hour ago", replace(DUE, attempts=(*refused(9 * HOUR), *refused(61 * MINUTE))), False),
    ("twice, the second two hours ago", replace(DUE, attempts=(*refused(9 * HOUR), *refused(121 * MINUTE))), True),
    ("then the CA was down", replace(DUE, attempts=(*refused(30 * MINUTE), failed("house", 20 * MINUTE))), False),
    (
        "a swap that failed, and the staged pair is gone",
        replace(DUE, attempts=refused(MINUTE, outcome="failed")),
        False,
    ),
    ("for its root, two hours ago", replace(DUE, attempts=refused(2 * HOUR, **FOR_ITS_ROOT)), False),
    ("the bundle changed since", replace(changed_ca(HOUR), attempts=refused(2 * HOUR, **FOR_ITS_ROOT)), True),
    ("it changed a minute ago", replace(changed_ca(MINUTE), attempts=refused(2 * MINUTE, **FOR_ITS_ROOT)), True),
    ("it changed before", replace(changed_ca(3 * MINUTE), attempts=refused(2 * MINUTE, **FOR_ITS_ROOT)), False),
    ("it changed, which mends no usage", replace(changed_ca(MINUTE), attempts=refused(2 * MINUTE)), False),
    (
        "it changes again and again",
        replace(changed_ca(MINUTE), attempts=refused(2 * MINUTE, **FOR_ITS_ROOT) * 5),
        False,
    ),
    ("of a person", replace(DUE, attempts=refused(MINUTE, **FOR_ITS_ROOT), authorities=DROPBOX), True),
    ("it only waited too long, as while no agent ran", replace(DUE, attempts=refused(MINUTE, **BLAMELESS)), True),
    ("by the CA's policy, without a certificate", replace(DUE, attempts=(failed("house", MINUTE, **REFUSED),)), True),
    (
        "renew --force",
        replace(DUE, attempts=refused(MINUTE), requests=(Request("renew", "node", NOW, force=True),)),
        True,
    ),
]


@pytest.mark.parametrize(("label", "found", "asks"), ANSWERED, ids=[r[0] for r in ANSWERED])
def test_answer_refused_delays_next_request_by_an_hour(label: str, found: Snapshot, asks: bool) -> None:
    """An answer that the pre-install checks refused was a certificate, of which public CAs issue five a week.

    The next one waits an hour, then two; for another root a day, unless the trust bundle has changed: then as long as
    after any failure. An operator who forces it does not wait, nor does a person who answers.
    """
    assert asks == any(isinstance(a, Issue) for a in decide(ALONE, found, NOW).actions), label


def test_answer_of_other_root_delays_next_request_by_a_day() -> None:
    """A CA that left the pinned root answers the same tomorrow: it is asked once a day until an operator acts."""
    stranger = staged()
    stranger = replace(
        stranger, pair=replace(stranger.pair, trust=Trust("ca", "its issuer CN=other is not in the bundle"))
    )
    rejected = [a for a in decide(ALONE, replace(DUE, staged=(stranger,)), NOW).actions if isinstance(a, RejectStaged)]
    assert [NOW + DAY] == [a.again_at for a in rejected]


STAGED_LONG_AGO = [
    ("good when it came, expired while no agent ran", 10 * DAY, timedelta(0), NOW),
    ("good when it came, too little of it is left", 10 * DAY, 2 * HOUR, NOW),
    ("too short when it came", HOUR, 2 * HOUR, None),
]


@pytest.mark.parametrize(("label", "ago", "left", "again"), STAGED_LONG_AGO, ids=[r[0] for r in STAGED_LONG_AGO])
def test_staged_pair_expired_while_agent_was_down_has_no_backoff(
    label: str, ago: timedelta, left: timedelta, again: datetime | None
) -> None:
    """A pair that expired while the agent was down is asked for again soon: an hour later is past the live pair."""
    short = staged(cert=leaf(serial=2, not_before=NOW - 20 * DAY, not_after=NOW + left), at=NOW - ago)
    rejected = [a for a in decide(ALONE, replace(DUE, staged=(short,)), NOW).actions if isinstance(a, RejectStaged)]
    assert [again] == [a.again_at for a in rejected], label


def test_answer_refused_delay_names_force() -> None:
    """An operator whose command waits an hour reads immediately how to proceed."""
    (block,) = (b for b in decide(ALONE, replace(DUE, attempts=refused(MINUTE)), NOW).blocked if b.subject == "node")
    assert "`certagent renew node --force` does not wait" in block.reason


def test_answers_all_refused_cost_five_certificates_a_day() -> None:
    """A CA whose template lacks clientAuth issues five certificates in a day, not one every five minutes."""
    found, now, count = (
        replace(DUE, pairs=(pair("ca"), pair(cert=leaf(not_before=NOW - 60 * DAY, not_after=NOW + 30 * DAY)))),
        NOW,
        0,
    )
    while now < NOW + DAY:
        made = decide(ALONE, found, now)
        for action in made.actions:
            if isinstance(action, Issue):
                count += 1
                tried = (failed("house", NOW - now, outcome="ok"), Attempt("install", "node", now, "refused", "no"))
                found = replace(found, attempts=(*found.attempts, *tried))
        now = max(now + MINUTE, made.wake_at or now)
    assert count == 5


def test_backoff_of_all_failed_is_the_soonest() -> None:
    """All have failed: the next check is when the first of their pauses ends."""
    attempts = (failed("house", **LIMITED), failed("backup"), failed("third", **LIMITED))
    made = plan(replace(DUE, attempts=attempts))
    held = [h for h in made.blocked if h.subject == "node"]
    assert [True] == [h.until is not None and NOW < h.until < NOW + timedelta(seconds=30) for h in held]
    assert ["backup"] == asked(replace(DUE, attempts=attempts), NOW + timedelta(seconds=30))


def test_renew_force_ignores_backoff() -> None:
    """`renew --force` waits for no pause; it asks the least tried authority among those not tried since."""
    attempts = (failed("house"), failed("backup"), failed("third"), failed("house"))
    forced = (Request("renew", "node", NOW, force=True),)
    found = replace(DUE, attempts=attempts, requests=forced)
    assert [("backup", True)] == [(a.authority, a.forced) for a in plan(found).actions if isinstance(a, Issue)]
    assert [False] == [a.forced for a in plan(DUE).actions if isinstance(a, Issue)]


def test_backoff_of_each_authority_is_its_own() -> None:
    """A day in which every CA is down: each is asked as often as if it were alone, no more."""
    found, now, count = DUE, NOW, dict.fromkeys(("house", "backup", "third"), 0)
    while now < NOW + DAY:
        made = decide(RULES, found, now)
        asks = [a for a in made.actions if isinstance(a, Issue)]
        for action in asks:
            count[action.authority] += 1
            attempt = Attempt("issue", "node", now, "failed", "unreachable", authority=action.authority)
            found = replace(found, attempts=(*found.attempts, attempt))
        now = now + SECOND if asks else (made.wake_at or now + DAY)
    assert max(count.values()) <= 16
    assert max(count.values()) - min(count.values()) <= 1


def codes(found: Plan) -> list[tuple[str, str]]:
    return [(f.code, f.severity) for f in found.findings if f.code.startswith(("authority", "renewal"))]


def test_authority_untrusted_is_skipped() -> None:
    """An authority whose root is not in the bundle is not asked; that is a finding before it is needed."""
    healthy = replace(snapshot(), authorities=known(house=OURS, backup=OTHERS, third=OURS))
    assert [("authority.untrusted", "warning")] == codes(plan(healthy))
    message = next(f.message for f in plan(healthy).findings if f.code == "authority.untrusted")
    assert "ca.crt does not contain the root of authority 'backup'" in message
    assert ["third"] == asked(replace(DUE, authorities=healthy.authorities, attempts=(failed("house"),)))
    first = replace(DUE, authorities=known(house=OTHERS, backup=OURS))
    assert ["backup"] == asked(first)


def test_authorities_all_untrusted_are_not_asked() -> None:
    """No embedded CA's root is in the bundle: no CA is asked, and an operator decides."""
    embedded = tuple(Authority(name, "local", (OTHERS,)) for name in ("house", "backup", "third"))
    made = plan(replace(DUE, authorities=embedded))
    assert not [a for a in made.actions if isinstance(a, Issue)]
    assert ("renewal.refused", "critical") in codes(made)
    assert [None] == [h.until for h in made.blocked if h.subject == "node"]


def test_authority_roots_unknown_is_asked() -> None:
    """If an authority's roots are not known beforehand it is asked; the pre-install checks judge the answer."""
    assert ["backup"] == asked(replace(DUE, authorities=known(house=OURS), attempts=(failed("house"),)))


def test_bundle_missing_is_made_by_first_authority() -> None:
    """A missing ca.crt is made by the first authority alone: another one's roots would be another trust."""
    rules = policy(want("ca", authorities=("house", "backup")), want())
    empty = snapshot(replace(pair("ca"), cert=None))
    lost = replace(empty, attempts=(replace(failed("house", HOUR), subject="ca"),))
    found = [a.authority for a in decide(rules, lost, NOW).actions if isinstance(a, Issue)]
    assert ["house"] == found
    just = replace(empty, attempts=(replace(failed("house"), subject="ca"),))
    assert not [a for a in decide(rules, just, NOW).actions if isinstance(a, Issue)]


def test_fallback_failures_are_named_each() -> None:
    """Each authority's newest failure is reported; refused is told apart from not answered."""
    attempts = (failed("house"), failed("backup", **REFUSED), failed("house", reason="no route"))
    said = {f.code: f.message for f in plan(replace(DUE, attempts=attempts)).findings}
    assert said["renewal.failing"] == "after 3 attempts: the attempt with authority house failed: no route"
    assert said["renewal.refused"] == "after 3 attempts: the attempt with authority backup was refused: policy"


BROKEN_OFF = {"interrupted": True, "reason": "the agent stopped before the result was known"}
INTERRUPTED = [
    ("once: the same authority, at once", (failed("house", **BROKEN_OFF),), ["house"], False),
    ("twice: the next authority", (failed("house", **BROKEN_OFF),) * 2, ["backup"], True),
    ("after a failure of the first", (failed("house"), failed("backup", **BROKEN_OFF)), ["backup"], True),
    ("while a request waits", (failed("house", HOUR, **WAITING), failed("house", **BROKEN_OFF)), [], False),
    ("a request due", (failed("house", HOUR, **OVER), failed("house", **BROKEN_OFF)), ["house"], False),
    ("a request due, twice", (failed("house", HOUR, **OVER), *[failed("house", **BROKEN_OFF)] * 2), [], True),
]


@pytest.mark.parametrize(("label", "attempts", "names", "failing"), INTERRUPTED, ids=[r[0] for r in INTERRUPTED])
def test_interrupted_attempt_is_no_refusal(
    label: str, attempts: tuple[Attempt, ...], names: list[str], failing: bool
) -> None:
    """The agent's own end says nothing of the CA: no pause, no other authority, no finding, no request taken back."""
    found = replace(DUE, attempts=attempts)
    assert names == asked(found), label
    assert failing == any(code == "renewal.failing" for code, _ in codes(plan(found))), label


LATER = Attempt("issue", "node", NOW - HOUR, "retry", "a person decides", authority="house", retry_at=NOW + DAY)


def test_pending_request_inbox_changed_is_polled() -> None:
    """A file came after the last poll of the request: it is polled now; an older or future one changes nothing."""
    for news, names in ((NOW - SECOND, ["house"]), (NOW - 2 * HOUR, []), (NOW + HOUR, []), (None, [])):
        authorities = (Authority("house", "dropbox", inbox_changed=news),)
        assert names == asked(replace(DUE, attempts=(LATER,), authorities=authorities)), news
    elsewhere = (Authority("backup", "dropbox", inbox_changed=NOW - SECOND),)
    assert [] == asked(replace(DUE, attempts=(LATER,), authorities=elsewhere))


def test_pending_request_is_polled_after_command_is_gone() -> None:
    """The command is gone, and the live pair is not due: the request that a CA has is still polled."""
    waits = replace(snapshot(), attempts=(replace(LATER, retry_at=NOW - SECOND),))
    assert ["house"] == asked(waits)
    assert [] == asked(replace(waits, attempts=(*waits.attempts, done(SECOND))))
    assert () == decide(policy(want("ca"), want(authorities=("other",))), waits, NOW).actions


def silent(**how: Any) -> tuple[Authority, ...]:
    return tuple(Authority(name, "est", (OURS,), unreadable=word) for name, word in how.items())


SILENT = [
    ("not read yet: waited for, though others are known", silent(house="unread", backup="", third=""), (), []),
    ("a later one is not read yet: nobody is hurried", silent(house="", backup="unread", third=""), (), []),
    ("its files hang: the next", silent(house="hung", backup="", third=""), (), ["backup"]),
    ("a later one's hang: the first", silent(house="", backup="hung", third="hung"), (), ["house"]),
    ("all hang: nobody", silent(house="hung", backup="hung", third="hung"), (), []),
    (
        "one that hangs has the request: it is waited for",
        silent(house="hung", backup=""),
        (failed("house", **OVER),),
        [],
    ),
]


@pytest.mark.parametrize(("label", "authorities", "attempts", "expected"), SILENT, ids=[r[0] for r in SILENT])
def test_authority_files_hanging_is_not_asked(
    label: str, authorities: tuple[Authority, ...], attempts: tuple[Attempt, ...], expected: list[str]
) -> None:
    """An authority whose files hang is not asked, and that is blocked by name; nothing else is affected."""
    del label
    found = replace(DUE, authorities=authorities, attempts=attempts)
    assert expected == asked(found)
    held = [h.reason for h in plan(found).blocked if h.subject == "node"]
    assert [not expected] * len(held) == ["have not responded yet" in reason for reason in held]
    assert bool(held) is not bool(expected)


def test_bundle_waits_for_hanging_first_authority() -> None:
    """Its files hang: no other authority's roots come in their place."""
    found = replace(snapshot(pair()), authorities=silent(house="hung", backup="", third=""))
    rules = policy(want("ca", authorities=("house", "backup")), want(authorities=("backup",)))
    assert not [a for a in decide(rules, found, NOW).actions if isinstance(a, Issue)]


def test_pending_request_of_untrusted_authority_is_dropped() -> None:
    """Its request is not waited for: while the first one's files hang no CA can be asked, and the finding says so."""
    later = replace(failed("backup"), **WAITING)
    house, *others = (*silent(house="hung"), *known(backup=OTHERS, third=OTHERS))
    made = plan(replace(DUE, attempts=(later,), authorities=(house, *others)))
    assert not [a for a in made.actions if isinstance(a, Issue)]
    assert any("the files of authority house have not responded" in h.reason for h in made.blocked)
