"""When: renewal points, backoff, jitter, the emergency point. All of them functions of their arguments.

Jitter is a hash of machine, host, directory and file (`Policy.seed`), never random: two runs agree, a fleet spreads,
and `status` can show the moment. bench/fleet.py has the same in arrays, for 10^6 hosts. Rejected: random jitter (not
testable, not visible), doubling without a cap (cert-manager reached 32 h between tries), and a jitter of 5 % alone:
certificates that were issued together would be renewed together, year after year, at ten times the mean rate.
"""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from certagent.core.backoff import Backoff
from certagent.core.facts import Attempt, History, Leaf, Pair, counted
from certagent.core.policy import Want
from certagent.core.windows import not_before

NOTHING = History()
NONE = timedelta(0)
SHORT = timedelta(days=10)
FLOOR = timedelta(seconds=15)
CEILING = timedelta(hours=6)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
USUAL, SOONER = Fraction(2, 3), Fraction(1, 2)  # of the lifetime; the second one under ten days
BACKDATED = 40  # a CA may date a leaf back by a 40th of its lifetime: Let's Encrypt by an hour, step-ca by a minute
ONCE_EXPIRED = timedelta(seconds=40)  # the jitter makes a minute of it, at most
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ASSUMED_LIFETIME = timedelta(days=30)
LEEWAY = timedelta(seconds=1)
AHEAD = timedelta(minutes=5)  # how far a CA's clock may be ahead of this host's; Kerberos allows the same
SETTLES = timedelta(seconds=10)  # longer than two files take to be copied, by a person's shell or by Ansible


def unit(*parts: object) -> float:
    """Given anything printable, return a number in [0, 1) that is always the same for it."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:6]) / (1 << 48)


def lifetime(leaf: Leaf) -> timedelta:
    """From notBefore to notAfter, at least one second."""
    return max(leaf.not_after - leaf.not_before, LEEWAY)


def emergency_at(leaf: Leaf) -> datetime:
    """When 5 % of the lifetime is left: from then on only the backoff delays a renewal."""
    return leaf.not_after - lifetime(leaf) / 20


def renew_at(want: Want, leaf: Leaf, seed: str, history: History = NOTHING, known: datetime | None = None) -> datetime:
    """Given a leaf, what was attempted and since when the agent has known the leaf, return when to renew it.

    At a point of the window that its CA suggests; without one at a point of the grid of this host and file (`_grid`).
    An explicit `renew_at` has a point of its own, less up to 1/20 of the lifetime, and wins where it is earlier than
    the window; the emergency point wins over all.
    Not before a quarter of what was left of a leaf when it was installed is over: one that a CA dates far back, or
    whose CA's clock is far behind ours, is due by its dates from its first moment, and so would the next one be.
    """
    least = _not_at_once(history, want.name.stem, leaf)
    own = max(_own_point(want, leaf, seed, known or leaf.not_before), least)
    point = _window_point(history, want.name.stem, leaf, seed)
    if point is None:
        return own
    return min(point, max(emergency_at(leaf), least), own if _explicit(want) else point)


def _explicit(want: Want) -> bool:
    return want.renew_at.before is not None or want.renew_at.fraction is not None


def _not_at_once(history: History, stem: str, leaf: Leaf) -> datetime:
    """A quarter after the leaf was installed, of what was left of it; its notBefore where that is not known."""
    installed = history.last_install(stem, leaf.fingerprint)
    at = installed.at if installed else leaf.not_before
    return at + (leaf.not_after - at) / 4 if leaf.not_before < at < leaf.not_after else leaf.not_before


def _window_point(history: History, stem: str, leaf: Leaf, seed: str) -> datetime | None:
    window = history.window(stem, leaf.fingerprint)
    if window is None:
        return None
    point = window.start + (window.end - window.start) * unit(seed, stem, leaf.fingerprint)
    return max(point, not_before(history, stem) or point)


@lru_cache(maxsize=4096)
def _own_point(want: Want, leaf: Leaf, seed: str, known: datetime) -> datetime:
    draw = unit(seed, want.name.stem)
    point = _jittered(want, leaf, draw) if _explicit(want) else _grid(leaf, draw, known)
    return min(point, emergency_at(leaf))


def _jittered(want: Want, leaf: Leaf, draw: float) -> datetime:
    """What is configured, less up to 1/20 of the lifetime.

    A duration that is longer than the leaf lives is brought in to a third of the lifetime: no storm.
    """
    life = lifetime(leaf)
    if want.renew_at.before is not None:
        point = max(leaf.not_after - want.renew_at.before, leaf.not_before + life / 3)
    else:
        point = leaf.not_before + life * float(want.renew_at.fraction or _fraction(life))
    return point - life / 20 * draw


def _fraction(life: timedelta) -> Fraction:
    return SOONER if life < SHORT else USUAL


def _grid(leaf: Leaf, draw: float, known: datetime) -> datetime:
    """The first point after half of the fraction: from a third to two thirds of the lifetime, a quarter to a half.

    The points of a host and file lie half the fraction apart, all over time. A fleet that was issued together is
    therefore spread evenly by its first renewal, and from then on each host renews after exactly the fraction. A leaf
    counts from when the agent had it, as far as CAs date back: by its notBefore it would be renewed after half of that.
    One that is past its point when the agent first sees it waits for the next point, and never beyond the fraction less
    a jitter: a fleet that begins to use the agent, or this grid, is not due at that moment.
    """
    life = lifetime(leaf)
    fraction = _fraction(life)
    step = life * fraction.numerator / (2 * fraction.denominator)
    early = leaf.not_before + min(max(known - leaf.not_before, NONE), life / BACKDATED) + step
    since = max(early, known)
    point = since + step - (since - EPOCH - step * draw) % step
    latest = leaf.not_before + step * 2 - life / 20 * draw
    return point if since == early else min(point, latest)


def retry_at(failed: tuple[Attempt, ...], want: Want, leaf: Leaf | None, seed: str) -> datetime | None:
    """Given what failed since the last success, return when to ask again; None: nothing failed, ask now.

    From min(15 s, lifetime/200) doubling up to 6 h, or a quarter of the time since the first failure where that is
    longer: the longer a CA was away, the more hosts wait for it, and the wider they spread. At most remaining/20, never
    below that floor, and times 0.5 to 1.5 by a hash of `seed`; a minute at most once expired. Not before a moment that
    the CA named (Retry-After), and not all hosts at that very moment. An answer that could not be installed was a
    certificate, and CAs limit their number: the next one waits an hour at least, then twice as long each time, up to a
    day. An attempt that the agent's own end broke off says nothing of the CA: it is made again immediately, but the
    next such waits.
    """
    delaying = counted(failed)
    if not delaying:
        return None
    last = delaying[-1]
    life = lifetime(leaf) if leaf else (want.lifetime or ASSUMED_LIFETIME)
    floor = min(FLOOR, life / 200)
    remaining = (leaf.not_after - last.at) if leaf else NONE
    away = (last.at - delaying[0].at) / 4
    cap = min(max(CEILING, away), remaining / 20) if remaining > NONE else ONCE_EXPIRED
    delay = Backoff(floor, max(cap, floor)).after(len(delaying))
    draw = unit(seed, want.name.stem, len(delaying))
    named = max(last.retry_at or last.at, _after_answers(delaying, want, remaining))
    return max(last.at + delay * (0.5 + draw), named + delay * draw)


def _after_answers(failed: tuple[Attempt, ...], want: Want, remaining: timedelta) -> datetime:
    """When the next certificate may be asked for, after those that could not be installed; a bundle is none."""
    answers = [a for a in failed if a.answered and not want.name.is_bundle]
    if not answers:
        return failed[-1].at
    pause = Backoff(HOUR, max(HOUR, min(DAY, remaining / 20))).after(len(answers))
    return max(answers[-1].at + pause, *(a.retry_at or a.at for a in answers))


SWAP_PAUSES = Backoff(timedelta(seconds=1), timedelta(minutes=5))


def swap_retry_at(failed: tuple[Attempt, ...]) -> datetime | None:
    """Given the failed swaps to a certificate, return when it may be tried again: 1 s, 2 s, 4 s ... 5 min after.

    None: it never failed, now. A disk that is full stays full for a while.
    """
    return failed[-1].at + SWAP_PAUSES.after(len(failed)) if failed else None


RELOAD_TRIES = 5
PROOF_WAIT = timedelta(seconds=10)
RELOAD_PAUSES = Backoff(PROOF_WAIT, timedelta(hours=3))


def reload_retry_at(sent: tuple[Attempt, ...]) -> datetime | None:
    """Given the signals sent for the same material, return when the next may go: 10 s, 20 s, 40 s ...; None: now."""
    return sent[-1].at + RELOAD_PAUSES.after(len(sent)) if sent else None


def expires_soon(leaf: Leaf, want: Want | None, now: datetime) -> Literal["critical", "warning"] | None:
    """Return "critical" under 1/20 of the lifetime, "warning" under 1/6 (or the configured durations), else None."""
    left = leaf.not_after - now
    critical = want.critical if want and want.critical else lifetime(leaf) / 20
    warn = want.warn if want and want.warn else lifetime(leaf) / 6
    return "critical" if left < critical else "warning" if left < warn else None


def settled_at(pair: Pair, now: datetime) -> datetime | None:
    """Until when a pair that is copied by hand may be incomplete: one file only, or two that do not match.

    None where there is nothing to wait for. A change in the future is a clock's, and no reason; within a second it is
    one that came after `now`, while the directory was read.
    """
    if pair.matched or pair.name.is_bundle:
        return None
    at = max((f.file.changed for f in (pair.cert, pair.key) if f is not None), default=None)
    return min(at, now) + SETTLES if at is not None and at - LEEWAY <= now < at + SETTLES else None


def of_the_future(leaf: Leaf | None, now: datetime) -> bool:
    """Whether a leaf begins later than any CA's clock may be ahead: the clock was wrong when it was installed."""
    return leaf is not None and now < leaf.not_before - AHEAD


def valid_soon(leaf: Leaf | None, now: datetime) -> datetime | None:
    """When a leaf becomes valid whose CA has a clock slightly ahead; None if that is not the case."""
    return leaf.not_before if leaf and now < leaf.not_before <= now + AHEAD else None
