"""When: renewal points, backoff, jitter."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.facts import Attempt, History, Window
from certagent.core.facts.history import counted
from certagent.core.policy import RenewAt
from certagent.core.timing import (
    emergency_at,
    expires_soon,
    lifetime,
    reload_retry_at,
    renew_at,
    retry_at,
    unit,
)
from certagent.core.windows import ask_at
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, want

SECOND = timedelta(seconds=1)
LIVES = st.integers(20, 400 * 86400).map(lambda s: timedelta(seconds=s))


def tried(outcome: str = "failed", at: timedelta = timedelta(0), kind: str = "issue", **changes: object) -> Attempt:
    return Attempt(kind, "node", NOW + at, outcome, **{"reason": "because", **changes})  # type: ignore[arg-type]


POINTS = [
    ("explicit two thirds", RenewAt(fraction=Fraction(2, 3)), 30 * DAY, 20 * DAY),
    ("an explicit half", RenewAt(fraction=Fraction(1, 2)), 9 * DAY, 4.5 * DAY),
    ("an explicit fraction", RenewAt(fraction=Fraction(1, 3)), 30 * DAY, 10 * DAY),
    ("a duration before expiry", RenewAt(before=7 * DAY), 30 * DAY, 23 * DAY),
    ("a duration longer than the leaf lives", RenewAt(before=90 * DAY), 30 * DAY, 10 * DAY),
]


@pytest.mark.parametrize(("label", "rule", "life", "point"), POINTS, ids=[r[0] for r in POINTS])
def test_renewal_point_follows_rule_and_jitter(label: str, rule: RenewAt, life: timedelta, point: timedelta) -> None:
    """The configured renewal point is where the rule puts it, less a jitter of at most 5 % of the lifetime."""
    cert = leaf(not_before=NOW, not_after=NOW + life)
    at = renew_at(want(renew_at=rule), cert, "db1")
    assert NOW + point - life / 20 < at <= NOW + point, label


@given(LIVES, st.text(), st.sampled_from([RenewAt(), RenewAt(before=DAY), RenewAt(fraction=Fraction(99, 100))]))
def test_renewal_point_is_never_later_than_emergency(life: timedelta, host: str, rule: RenewAt) -> None:
    """Whatever is configured, a leaf is renewed before 5 % of its lifetime is left, never before it is issued."""
    cert = leaf(not_before=NOW, not_after=NOW + life)
    at = renew_at(want(renew_at=rule), cert, host)
    assert NOW < at <= emergency_at(cert) < cert.not_after


@given(LIVES, st.floats(0, 0.999), st.booleans())
def test_renewal_point_of_backdated_leaf_is_not_now(life: timedelta, gone: float, windowed: bool) -> None:
    """However far back a CA dates its leaf, it is not due on arrival: its successor would be as well, without end."""
    cert = leaf(not_before=NOW - life * gone, not_after=NOW + life * (1 - gone))
    done = [tried("ok", kind="install", fingerprint=cert.fingerprint)]
    if windowed:
        late = Window(cert.not_after - min(SECOND, life * (1 - gone) / 2), cert.not_after)
        done.append(tried("ok", kind="window", fingerprint=cert.fingerprint, window=late))
    at = renew_at(want(), cert, "db1", History(tuple(done)))
    assert NOW + life * (1 - gone) / 5 <= at < cert.not_after


def test_jitter_is_a_hash() -> None:
    """Two runs agree on the moment, two hosts do not."""
    points = [renew_at(want(), leaf(), host) for host in ("db1", "db1", "db2")]
    assert points[0] == points[1] != points[2]
    assert 0 <= unit("a", 1) < 1


@given(st.integers(1, 60), LIVES, st.integers(-5, 100))
def test_backoff_bounds(count: int, life: timedelta, left: int) -> None:
    """A pause is its backoff, from half to one and a half of it, a minute at most once expired; there is a next one."""
    cert = leaf(not_before=NOW - life * (100 - left) / 100, not_after=NOW + life * left / 100)
    floor = min(timedelta(seconds=15), lifetime(cert) / 200)
    remaining = cert.not_after - NOW
    cap = min(timedelta(hours=6), remaining / 20) if remaining > timedelta(0) else timedelta(seconds=40)
    at = retry_at(tuple(tried() for _ in range(count)), want(), cert, "db1")
    assert at is not None
    assert floor / 2 <= at - NOW <= max(cap, floor) * 1.5
    assert remaining > timedelta(0) or at - NOW <= timedelta(minutes=1)


@given(st.integers(1, 30), st.integers(60, 20 * 86400), st.integers(1, 400))
def test_backoff_after_a_long_outage_spreads_the_fleet(count: int, away: int, days: int) -> None:
    """A pause is a quarter of the outage where that is over 6 h, and 5 % of what is left at most."""
    first = tried(at=-away * SECOND)
    failed = (first, *(tried() for _ in range(count)))
    left = days * DAY
    at = retry_at(failed, want(), leaf(not_before=NOW - left, not_after=NOW + left), "db1")
    assert at is not None
    pause = min(15 * SECOND * 2.0**count, max(timedelta(hours=6), away * SECOND / 4), left / 20)
    assert pause / 2 <= at - NOW <= pause * 1.5


def test_backoff_of_a_clock_that_was_set_back_is_the_usual_one() -> None:
    """A first failure that lies in the future makes no pause shorter."""
    failed = (tried(at=9 * DAY), *(tried() for _ in range(20)))
    assert retry_at(failed, want(), leaf(), "db1") == retry_at((tried(),) * 21, want(), leaf(), "db1")


def test_backoff_grows() -> None:
    """Each failure doubles the pause: the tenth waits longer than the second."""
    pauses = [retry_at(tuple(tried() for _ in range(n)), want(), leaf(), "db1") for n in (2, 10)]
    assert pauses[0] is not None
    assert pauses[1] is not None
    assert pauses[0] < pauses[1]


@pytest.mark.parametrize("gone", [timedelta(0), 40 * DAY])
def test_backoff_honours_retry_after(gone: timedelta) -> None:
    """A CA's Retry-After is the earliest moment, also once expired; no two hosts of a fleet come at the same one."""
    asked, cert = NOW + timedelta(hours=3), leaf(not_after=NOW + 20 * DAY - gone)
    moments = [retry_at((tried(retry_at=asked),), want(), cert, f"db{n}") for n in range(100)]
    assert 100 == len(set(moments))
    assert all(at is not None and asked <= at <= asked + timedelta(seconds=15) for at in moments)


def test_backoff_first_pause_spreads_a_fleet() -> None:
    """A thousand hosts whose CA failed in one second come back between half and one and a half of the first pause."""
    moments = sorted(at for n in range(1000) if (at := retry_at((tried(),), want(), leaf(), f"db{n}")))
    assert NOW + 7.5 * SECOND <= moments[0] < NOW + 8 * SECOND
    assert NOW + 22 * SECOND < moments[-1] < NOW + 22.5 * SECOND


BROKEN_OFF = tried(interrupted=True)
ENDINGS = [
    ("none", (), None),
    ("once", (BROKEN_OFF,), None),
    ("twice", (BROKEN_OFF, BROKEN_OFF), 2),
    ("three times", (BROKEN_OFF,) * 3, 3),
    ("after a failure", (tried(), BROKEN_OFF), 1),
    ("before a failure", (BROKEN_OFF, tried()), 2),
]


@pytest.mark.parametrize(("label", "failed", "like"), ENDINGS, ids=[r[0] for r in ENDINGS])
def test_backoff_after_interruption_is_none_once(label: str, failed: tuple[Attempt, ...], like: int | None) -> None:
    """An attempt that the agent's own end broke off delays nothing; the second in a row does: a crash loop waits."""
    expected = retry_at((tried(),) * like, want(), leaf(), "db1") if like else None
    assert expected == retry_at(failed, want(), leaf(), "db1"), label


def test_policy_seed_tells_hosts_of_one_image_apart() -> None:
    """Hosts of one image have one name; by machine-id and path each directory has a jitter of its own."""
    made = policy()
    others = (replace(made, machine="b"), replace(made, host="db2"), replace(made, path="/other"))
    assert 4 == len({made.seed, *(p.seed for p in others)})


def test_backoff_without_failure_is_none() -> None:
    """Without a failure there is no pause."""
    assert retry_at((), want(), leaf(), "db1") is None


FAILURES = [
    ("none", [], 0),
    ("two failures", [tried(), tried()], 2),
    ("a success clears", [tried(), tried("ok", kind="install")], 0),
    ("issued, then refused by the pre-install checks", [tried("ok"), tried("refused", kind="install")], 1),
    ("a rollback counts", [tried("ok", kind="install"), tried("ok", kind="rollback")], 1),
    ("another pair's", [Attempt("issue", "ui", NOW, "failed")], 0),
]


@pytest.mark.parametrize(("label", "attempts", "count"), FAILURES, ids=[r[0] for r in FAILURES])
def test_backoff_counts_failures_since_last_installation(label: str, attempts: list[Attempt], count: int) -> None:
    """Failures since the last installation delay the next attempt."""
    assert len(History(tuple(attempts)).failures("node")) == count, label


def test_pre_install_refusal_gives_the_reason() -> None:
    """An issuance that the pre-install checks refused counts as refused, with their reason."""
    found = History((tried("ok"), Attempt("install", "node", NOW, "refused", "expired"))).failures("node")
    assert (found[0].outcome, found[0].reason) == ("refused", "expired")


def test_pair_that_only_waited_after_a_broken_swap_costs_its_ca_no_pause() -> None:
    """A swap that the agent's end broke off, then a refusal for age alone: the CA's answer was right."""
    broken = Attempt("install", "node", NOW, "failed", "the agent stopped before the result was known")
    aged = Attempt("install", "node", NOW + SECOND, "refused", "the remaining lifetime is too short", retry_at=NOW)
    wrong = replace(aged, retry_at=None)
    for (last, answered), ended in product(((aged, False), (wrong, True)), (False, True)):
        (found,) = History((tried("ok"), replace(broken, interrupted=ended), last)).failures("node")
        assert (found.outcome, found.answered) == ("refused", answered)


def test_swap_that_agents_end_broke_off_is_no_failure_of_its_ca() -> None:
    """Recovery may have completed it: the next renewal waits no longer than after an issuance that was broken off."""
    broken = Attempt("install", "node", NOW, "failed", "the agent ended before it was known", interrupted=True)
    once = History((tried("ok"), broken)).failures("node")
    assert [(a.outcome, a.interrupted, a.answered) for a in once] == [("failed", True, False)]
    assert counted(once) == ()
    twice = History((tried("ok"), broken, tried("ok"), broken)).failures("node")
    assert counted(twice) == twice


def test_swap_that_recovery_completed_succeeded() -> None:
    """The certificate of the newest swap is live: however many were broken off before, no renewal waits for it."""
    mark, live = leaf(serial=2).fingerprint, pair("node", leaf(serial=2))
    broken = Attempt("install", "node", NOW, "failed", "the agent ended", interrupted=True, fingerprint="another")
    attempts = (tried("ok"), broken, tried("ok"), replace(broken, fingerprint=mark))
    torn = replace(live, key=pair("node", leaf(serial=3)).key)
    for found, failures in ((live, 0), (torn, 2), (pair("node", leaf(serial=1)), 2)):
        history = replace(snapshot(), pairs=(found,), attempts=attempts).history
        assert len(history.failures("node")) == failures
        assert (history.last_install("node", mark) is None) == bool(failures)


@pytest.mark.parametrize(("stem", "outcome"), [("node", "ok"), ("ca", "failed")])
def test_bundle_whose_swap_was_broken_off_is_not_told_by_its_first_root(stem: str, outcome: str) -> None:
    """The root of the bundle that is live may be the first one of the bundle that was not installed."""
    root = leaf(stem)
    live = pair(stem, root, key=pair("node", root).key)
    broken = Attempt("install", stem, NOW, "failed", "the agent ended", interrupted=True, fingerprint=root.fingerprint)
    found = replace(snapshot(), pairs=(live,), attempts=(broken,)).history
    assert outcome == found[-1].outcome


def test_backoff_of_sighup() -> None:
    """The second signal waits ten seconds, the third twenty."""
    sent = tuple(tried(at=SECOND * n, kind="reload") for n in range(2))
    assert reload_retry_at(()) is None
    assert reload_retry_at(sent[:1]) == NOW + 10 * SECOND
    assert reload_retry_at(sent) == NOW + 21 * SECOND


SOON = [(10, None), (4, "warning"), (1, "critical"), (-1, "critical")]


@pytest.mark.parametrize(("days", "severity"), SOON)
def test_expires_soon_thresholds(days: int, severity: str) -> None:
    """A warning under a sixth of the lifetime, critical under 5 %."""
    assert expires_soon(leaf(not_before=NOW - (30 - days) * DAY, not_after=NOW + days * DAY), None, NOW) == severity


def window(start: timedelta, end: timedelta, about: str | None = None, **changes: object) -> Attempt:
    told = Window(NOW + start, NOW + end, "https://ca.example/why")
    of = about or leaf().fingerprint
    return tried("ok", kind="window", **{"fingerprint": of, "window": told, **changes})  # type: ignore[arg-type]


WINDOWS = [
    ("later than ours", (25 * DAY, 26 * DAY), RenewAt(), (25 * DAY, 26 * DAY)),
    ("earlier than ours", (2 * DAY, 3 * DAY), RenewAt(), (2 * DAY, 3 * DAY)),
    ("in the past", (-3 * DAY, -2 * DAY), RenewAt(), (-3 * DAY, -2 * DAY)),
    ("beyond the emergency point", (40 * DAY, 41 * DAY), RenewAt(), (28.5 * DAY, 28.5 * DAY)),
    ("explicit and earlier", (25 * DAY, 26 * DAY), RenewAt(before=20 * DAY), (8.5 * DAY, 10 * DAY)),
    ("explicit and later", (2 * DAY, 3 * DAY), RenewAt(before=DAY), (2 * DAY, 3 * DAY)),
]


@pytest.mark.parametrize(("label", "span", "rule", "between"), WINDOWS, ids=[r[0] for r in WINDOWS])
def test_renewal_window_point_is_stable(
    label: str, span: tuple[timedelta, timedelta], rule: RenewAt, between: tuple[timedelta, timedelta]
) -> None:
    """A point of the window, always the same; an explicit renew_at that is earlier wins, the emergency over all."""
    cert = leaf(not_before=NOW, not_after=NOW + 30 * DAY)
    points = {renew_at(want(renew_at=rule), cert, "db1", History((window(*span),))) for _ in range(3)}
    assert 1 == len(points)
    assert NOW + between[0] <= points.pop() <= NOW + between[1], label


def test_renewal_window_of_another_leaf_is_ignored() -> None:
    """A window of the previous certificate does not apply to this one; an unreadable one is ignored."""
    cert = leaf(not_before=NOW, not_after=NOW + 30 * DAY)
    plain = renew_at(want(), cert, "db1")
    others = (window(DAY, 2 * DAY, about="other"), window(DAY, 2 * DAY, window=None))
    assert plain == renew_at(want(), cert, "db1", History(others))


def test_renewal_windows_in_past_back_off() -> None:
    """The first renewal by a window is free; then a pause that doubles from a quarter of an hour."""
    cert = leaf(not_before=NOW, not_after=NOW + 30 * DAY)
    past = window(-2 * DAY, -DAY)
    minute = timedelta(minutes=1)
    issues = [tried("ok", i * 20 * minute) for i in range(4)]
    points = [renew_at(want(), cert, "db1", History((*issues[:n], past))) for n in range(1, 5)]
    assert points[0] < NOW
    assert [NOW + (20 + 15) * minute, NOW + (40 + 30) * minute, NOW + (60 + 60) * minute] == points[1:]


def test_renewal_window_next_question_time() -> None:
    """As the CA said; after a failure six hours later, without a window a day; immediately if it was never asked."""
    cert = leaf()
    assert ask_at(History(), "node", cert) is None
    again = NOW + timedelta(minutes=2)
    assert again == ask_at(History((window(DAY, 2 * DAY, retry_at=again),)), "node", cert)
    failed = tried("failed", kind="window", fingerprint=cert.fingerprint)
    assert NOW + timedelta(hours=6) == ask_at(History((failed,)), "node", cert)
    for leafs in (cert.fingerprint, "another"):
        assert NOW + DAY == ask_at(History((replace(failed, outcome="refused", fingerprint=leafs),)), "node", cert)
    assert ask_at(History((replace(failed, fingerprint="another"),)), "node", cert) is None
