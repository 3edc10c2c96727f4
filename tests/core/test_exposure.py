"""Modes of keys that do not stay repaired: the pace of the repairs, and what is said of the key."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.actions import Expose, Issue, Plan, Restrict, subject_of
from certagent.core.decide import decide
from certagent.core.decide.modes import part as repairs_only
from certagent.core.facts import Attempt, Exposure, Pair, Repair, Request, Snapshot
from certagent.core.predict import forecast, predict
from certagent.core.view import View
from tests.core.building import DAY, NOW, VOLUME, file, leaf, pair, policy, snapshot, want

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
MILLISECOND = SECOND / 1000
RENEWS = policy(want("ca"), want(), on_exposed="renew")


def repaired(*ago: timedelta, ok: bool = True, readable: timedelta = 2 * SECOND) -> tuple[Repair, ...]:
    return tuple(Repair("node.key", NOW - t, ok, "" if ok else "no", NOW - t - readable) for t in ago)


def seconds(*numbers: float) -> list[timedelta]:
    return [n * SECOND for n in numbers]


def world(*repairs: Repair, mode: int = 0o644, **changes: Any) -> Snapshot:
    return snapshot(pair("ca"), pair(mode=mode), repairs=repairs, **changes)


def plan(found: Snapshot, rules: Any = None) -> Plan:
    return decide(rules or policy(), found, NOW)


def exposed(**changes: Any) -> Exposure:
    known = Exposure(
        file="node.key", key="spki-node-1", since=NOW - HOUR, until=NOW - HOUR / 2, undone=5, readable=9 * SECOND
    )
    return replace(known, **changes)


TENTHS = seconds(*(n / 10 for n in range(9, -1, -1)))
PACE = [
    ("the first", (), None),
    ("undone five times within a minute", repaired(*seconds(50, 40, 30, 20, 10)), None),
    ("undone nine times within a second", repaired(*TENTHS[1:]), None),
    ("ten times within a second", repaired(*TENTHS), 0.1),
    ("failed a moment ago", repaired(0.5 * SECOND, ok=False), 0.5),
    ("failed a second ago", repaired(SECOND, ok=False), None),
    ("failed twice", repaired(*seconds(3, 1), ok=False), 1),
    ("failed four times", repaired(*seconds(15, 14, 12, 7), ok=False), 1),
    ("failed for long", repaired(*seconds(*range(200, 0, -9), 0), ok=False), 10),
    ("failed, then succeeded", (*repaired(2 * SECOND, ok=False), *repaired(0.1 * SECOND)), None),
    ("in the future: the clock was set back", repaired(*seconds(-60, -61), ok=False), None),
    ("of another file", tuple(replace(r, file="ui.key") for r in repaired(*TENTHS)), None),
]


@pytest.mark.parametrize(("label", "repairs", "waits"), PACE, ids=[r[0] for r in PACE])
def test_repair_of_wide_key_pace(label: str, repairs: tuple[Repair, ...], waits: float | None) -> None:
    """A wide key is repaired immediately, ten times a second at most; a failed repair after 1, 2, 4, 8, 10 s."""
    made = plan(world(*repairs))
    assert [waits is None] == [any(isinstance(a, Restrict) for a in made.actions)], label
    held = [h.until for h in made.blocked if h.action == "restrict"]
    assert held == ([] if waits is None else [NOW + waits * SECOND])


EXPOSED = [
    ("four undone, and wide", repaired(*seconds(5, 4, 3, 2)), 0o644, False),
    ("five repairs, the last one holds", repaired(*seconds(5, 4, 3, 2, 1)), 0o600, False),
    ("five undone", repaired(*seconds(6, 5, 4, 3, 2, 1)), 0o600, True),
    ("five undone over hours", repaired(*(n * HOUR for n in (20, 16, 12, 8, 4, 1))), 0o600, True),
    ("five undone, the first of them last week", repaired(*(n * DAY for n in (8, 6, 4, 3, 2, 0.5))), 0o600, False),
    ("five that failed", repaired(*seconds(6, 5, 4, 3, 2, 1), ok=False), 0o644, False),
]


@pytest.mark.parametrize(("label", "repairs", "mode", "expected"), EXPOSED, ids=[r[0] for r in EXPOSED])
def test_exposed_after_fifth_undone_repair(label: str, repairs: tuple[Repair, ...], mode: int, expected: bool) -> None:
    """After the fifth repair that is undone, however fast or slow: with the start, and how long it was readable."""
    made = [a.exposure for a in plan(world(*repairs, mode=mode)).actions if isinstance(a, Expose)]
    assert [expected] == [bool(made)], label
    if made:
        first, last = repairs[0].since, repairs[-1].at
        assert (first, last, 5, 12 * SECOND) == (made[0].since, made[0].until, made[0].undone, made[0].readable)


def test_exposed_key_is_critical_until_cleared() -> None:
    """The repair is no longer undone, and the key is still one that others could read: critical, with the remedy."""
    made = plan(world(mode=0o600, exposures=(exposed(),)))
    told = [(f.severity, f.message, f.remedy) for f in made.findings if f.code == "key.exposed"]
    message = "others could read the key since 2026-11-24T11:00:00Z, for 9 s in all; 5 repairs were undone"
    remedy = "certagent renew node --force for a new key, or certagent clear node"
    assert [("critical", message, True)] == [(s, m, remedy in r) for s, m, r in told]
    assert made.actions == ()


OTHERS: list[tuple[str, Snapshot, bool]] = [
    ("the key was replaced", snapshot(pair("ca"), pair(cert=leaf(serial=2)), exposures=(exposed(),)), False),
    ("and came back", snapshot(pair("ca"), pair(), exposures=(exposed(),)), True),
    ("another file's", snapshot(pair("ca"), pair(), exposures=(exposed(file="ui.key"),)), False),
    ("of a directory that another tool manages", snapshot(exposures=(exposed(),)), True),
    (
        "under an unknown name",
        snapshot(exposures=(exposed(file="old.key", key=""),), unmanaged_files=(file("old.key"),)),
        True,
    ),
]


@pytest.mark.parametrize(("label", "found", "said"), OTHERS, ids=[r[0] for r in OTHERS])
def test_exposed_follows_the_key_not_the_name(label: str, found: Snapshot, said: bool) -> None:
    """A new key under the same name was never exposed; the old one that a rollback restores was."""
    if "another tool" in label:
        found = replace(found, directory=replace(found.directory, observe_only=VOLUME))
    remedies = [f.remedy for f in plan(found).findings if f.code == "key.exposed"]
    assert [said] == [bool(remedies)], label
    if "another tool" in label or "unknown" in label:
        assert remedies[0].startswith("replace the key")


def test_exposed_key_wide_again_is_one_finding() -> None:
    """While an exposed key is wide again, `key.mode` does not come and go beside it."""
    made = plan(world(exposures=(exposed(),)))
    assert ["key.exposed"] == [f.code for f in made.findings if f.code.startswith("key.")]
    assert any(isinstance(a, Restrict) for a in made.actions)


def test_exposed_count_is_written_once_a_minute() -> None:
    """The ledger is not written ten times a second, and nothing is counted twice."""
    known = exposed(until=NOW - 30 * SECOND)
    early = world(*repaired(40 * SECOND, SECOND), exposures=(known,), mode=0o600)
    made = plan(early)
    assert (made.actions, made.wake_at) == ((), NOW + 30 * SECOND)
    late = decide(policy(), early, NOW + 30 * SECOND)
    (action,) = (a for a in late.actions if isinstance(a, Expose))
    assert (action.exposure.undone, action.exposure.readable) == (6, 11 * SECOND)
    assert [] == [
        a for a in forecast(policy(), predict(early, action, NOW), NOW + 30 * SECOND) if isinstance(a, Expose)
    ]


def test_exposed_ignores_repairs_of_previous_key() -> None:
    """They were made on the key that it replaced."""
    installed = Attempt("install", "node", NOW - 2.5 * SECOND, "ok", fingerprint="node-1")
    found = world(*repaired(*seconds(7, 6, 5, 4, 3, 2, 1)), mode=0o600, attempts=(installed,))
    assert not any(isinstance(a, Expose) for a in plan(found).actions)


def issues(found: Snapshot, rules: Any = RENEWS) -> list[Issue]:
    return [a for a in plan(found, rules).actions if isinstance(a, Issue)]


def test_exposed_key_is_renewed_by_setting() -> None:
    """`on_exposed = "renew"`: a new key immediately, also with `reuse_key`; by default it is only offered."""
    found = world(mode=0o600, exposures=(exposed(),))
    assert [] == issues(found, policy())
    (asked,) = issues(found, policy(want("ca"), want(reuse_key=True), on_exposed="renew"))
    assert (asked.reuse_key, "others could read node.key" in asked.reason) == (False, True)
    reused = replace(found, requests=(Request("renew", "node", NOW, force=True),))
    assert [False] == [a.reuse_key for a in issues(reused, policy(want("ca"), want(reuse_key=True)))]


def test_exposed_new_keys_cost_one_certificate_a_day() -> None:
    """A program that undoes every repair exposes the next key within a second: one certificate a day."""
    before = exposed(key="the key before", until=NOW - 2 * HOUR)
    found = world(mode=0o600, exposures=(before, exposed()))
    assert [] == issues(found)
    assert [before.until + DAY] == [h.until for h in plan(found, RENEWS).blocked if h.action == "issue"]
    assert issues(replace(found, exposures=(replace(before, until=NOW - 25 * HOUR), exposed())))


def fought(gap: timedelta, length: timedelta, *, ok: bool) -> list[datetime]:
    """When a key is repaired that somebody widens that long after each repair."""
    times: list[datetime] = []
    now, found = NOW, world()
    while now < NOW + length:
        view = View(policy=policy(), snapshot=found, now=now)
        made = repairs_only(view)
        if any(isinstance(a, Restrict) for a in made.actions):
            times.append(now)
            found = replace(found, repairs=(*found.repairs[-20:], Repair("node.key", now, ok)))
            now += gap
        now = max(now + MILLISECOND, *made.wakes) if made.wakes else now + MILLISECOND
    return times


@given(st.integers(1, 2000))
def test_repairs_are_at_most_ten_a_second(gap: int) -> None:
    """However fast they are undone: never more than ten within a second, and none later than that limit demands."""
    times = fought(gap * MILLISECOND, 5 * SECOND, ok=True)
    assert all(b - a >= SECOND for a, b in zip(times, times[10:], strict=False))
    assert all(b - a <= max(SECOND, (gap + 1) * MILLISECOND) for a, b in itertools.pairwise(times))


def test_repair_failing_backoff_is_bounded() -> None:
    """After 1, 2, 4, 8 and then every 10 s, for as long as it fails."""
    times = fought(MILLISECOND, 60 * SECOND, ok=False)
    gaps = [round((b - a) / SECOND) for a, b in itertools.pairwise(times)]
    assert gaps[:6] == [1, 2, 4, 8, 10, 10]


def unparsable(made: Pair) -> Pair:
    assert made.key is not None
    return replace(made, key=replace(made.key, spki=None, problem="no key", problem_kind="unparsable"))


def test_exposed_unparsable_key_is_known_by_its_file() -> None:
    """The exposed key is known by its file then."""
    found = replace(world(*repaired(*seconds(6, 5, 4, 3, 2, 1)), mode=0o600))
    found = replace(found, pairs=(pair("ca"), unparsable(pair())))
    made = [a for a in plan(found).actions if isinstance(a, Expose)]
    assert [""] == [a.exposure.key for a in made]


def test_exposure_is_about_the_file_of_its_key() -> None:
    """In the log and in `plan` the action names the key's file."""
    known = Exposure(file="node.key", key="spki-node-1", since=NOW - HOUR, until=NOW, undone=5, readable=MINUTE)
    assert subject_of(Expose(known, "undone five times")) == "node.key"
