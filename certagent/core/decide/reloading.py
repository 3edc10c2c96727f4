"""SIGHUP, its verification, and the rollback if (and only if) handshakes fail with the new pair.

A signal that was sent is not yet a reload. It is recorded before it is sent and repeated with a backoff, five times at
most for the same material; then it is a critical finding.
"""

from dataclasses import dataclass
from datetime import timedelta

from certagent.core.actions import AssumeLoaded, RecordProof, Reload
from certagent.core.catalogue import SERVED_STALE
from certagent.core.decide import unserved
from certagent.core.decide.gate import Bar, bar, restarts, undecided
from certagent.core.decide.generations import going_back, paced
from certagent.core.decide.part import NOTHING, Part, blocked, saying, total
from certagent.core.facts import Attempt, Pair, Process, Request, Served, Snapshot
from certagent.core.findings import Finding
from certagent.core.proof import answers, ended, owners, silent, unloaded, unverified
from certagent.core.requests import after
from certagent.core.serving import arrived, differs, expected, material, of_process
from certagent.core.spans import stamp
from certagent.core.timing import PROOF_WAIT, RELOAD_TRIES, reload_retry_at
from certagent.core.view import View

BEFORE_ROLLBACK = timedelta(seconds=2)
REQUESTED = "requested by an operator"
LOG = "see the log of the process; a restart loads what is on disk"
AGAIN = "see the log of the process; certagent repeats the SIGHUP"
BY_HAND = "reload it with the tool that does so here"
FORCED = "the reload follows by itself; `certagent reload --force` sends the SIGHUP regardless"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What a process should load, the signals that had no effect, and why another one should be sent."""

    material: str
    sent: tuple[Attempt, ...]
    reason: str
    asked: bool  # by an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """How a process differs from what is on disk, the signals sent for that, and what bars another one."""

    sent: tuple[Attempt, ...]
    reason: str
    bar: Bar | None


def part(view: View) -> Part:
    """Every process that uses the directory."""
    if view.snapshot.processes_at is None:
        return NOTHING
    ended = _ended(view)
    if not view.snapshot.processes:
        return saying(ended) + unserved.nobody(view)
    return saying(ended) + total([_process(view, p) for p in view.snapshot.processes])


def _ended(view: View) -> tuple[Finding, ...]:
    """A process that is gone since our signal to it, which it never answered, is an alarm of its own for a while."""
    last = ended(view.snapshot, view.now)
    if last is None:
        return ()
    pid = last.subject.partition(":")[0]
    message = f"pid {pid} has ended since the SIGHUP of {stamp(last.at)}, without having served what is on disk"
    return (SERVED_STALE.found("node.crt", message, "critical", "see the log of the process, then start it again"),)


def _process(view: View, process: Process) -> Part:
    if process.state != "serving":
        return unserved.not_serving(view, process)
    digest = material(view.snapshot)
    wrong = [(s, reason) for s in of_process(view.snapshot, process) if (reason := differs(view.snapshot, s))]
    stale = wrong[0][1] if wrong else unloaded(view.snapshot, process, digest)
    sent = view.history.unanswered(process, digest)
    asked = _requested(view.snapshot, process)
    if stale is None and asked is None:
        return _settled(view, process, digest, sent)
    forced = asked is not None and asked.force
    barred = None if forced else bar(view, process)
    found = saying([_said(view, process, Stale(sent=sent, reason=stale, bar=barred))] if stale else [])
    if barred is None and not forced and undecided(view, process):
        return found  # its answer to the clients' pairs, which are offered now, decides
    back = _rollback(view, sent, [s for s, _ in wrong])
    reason = REQUESTED if asked else stale or ""
    step = back or _signal(
        view, process, Loading(material=digest, sent=sent, reason=reason, asked=asked is not None), barred
    )
    return found + step


def _requested(snapshot: Snapshot, process: Process) -> Request | None:
    """An operator's command, once the processes were looked for after it: one that is gone is not signalled for it."""
    looked = snapshot.processes_at
    asked = [r for r in snapshot.requests if r.kind == "reload" and looked is not None and r.at <= looked]
    if not asked or any(after(a, asked[-1]) for a in snapshot.history.signals(process)):
        return None
    return asked[-1]


def _settled(view: View, process: Process, digest: str, sent: tuple[Attempt, ...]) -> Part:
    """Nothing that it shows differs from what is on disk: take note of it once, of a signal when all is verified."""
    if sent:
        shown = ", ".join(x.address for x in process.listeners)
        done = RecordProof(process.identity, digest, f"served by pid {process.pid}: {shown}")
        return NOTHING if unverified(view.snapshot, process, answers(view.snapshot, view.now)) else Part((done,))
    known = [s for s in of_process(view.snapshot, process) if not s.client]
    if len(known) < len(process.listeners) or view.history.signals(process):
        return NOTHING
    first = f"pid {process.pid} is new and serves what is on disk"
    return Part((AssumeLoaded(process.identity, digest, first),))


def _said(view: View, process: Process, stale: Stale) -> Finding:
    """What is wrong with a file itself, whoever would reload the process; else how far the reload is."""
    barred = stale.bar
    if barred is None or barred.rule is SERVED_STALE:
        return _stale(view, process, stale)
    message = f"pid {process.pid} has not loaded it: {barred.reason}; {restarts(view, process)}"
    return barred.rule.found(barred.file, message, "critical", f"{barred.rule.advice}; {FORCED}")


def _stale(view: View, process: Process, stale: Stale) -> Finding:
    """A reload under way is info; without effect a warning; critical if blocked, given up, or followed by silence."""
    message, sent = f"pid {process.pid}: {stale.reason}", stale.sent
    if not view.policy.process.reload:
        return SERVED_STALE.found("node.crt", f"{message}; `reload = false` is configured", "warning", BY_HAND)
    if stale.bar is not None:
        message = (
            f"{message}; reload blocked: {stale.bar.reason}. The process keeps using what it has loaded;"
            f" {restarts(view, process)}"
        )
        return SERVED_STALE.found(stale.bar.file, message, "critical", f"repair {stale.bar.file}; {FORCED}")
    if silent(view.snapshot, process):
        message += "; no handshake succeeds since the SIGHUP"
        return SERVED_STALE.found("node.crt", message, "critical", LOG)
    if len(sent) >= RELOAD_TRIES:
        message += f"; {len(sent)} SIGHUPs had no effect"
        return SERVED_STALE.found("node.crt", message, "critical", LOG)
    if len(sent) > 1 or (sent and view.now - sent[-1].at > PROOF_WAIT):
        return SERVED_STALE.found("node.crt", message, "warning", AGAIN)
    return SERVED_STALE.found("node.crt", message, "info", "nothing to do: a reload is under way")


def _signal(view: View, process: Process, loading: Loading, barred: Bar | None) -> Part:
    """Signal, or say what blocks it."""
    sent, reason = loading.sent, loading.reason
    subject = process.identity
    if view.running("reload", subject):
        return NOTHING
    if not view.policy.process.reload:
        return blocked("reload", subject, f"{reason}; `reload = false` is configured")
    if barred is not None:
        return blocked("reload", subject, f"{reason}; {barred.reason}", barred.until, refused=loading.asked)
    if len(sent) >= RELOAD_TRIES and not loading.asked:
        return blocked("reload", subject, f"{reason}; {len(sent)} SIGHUPs had no effect")
    again = reload_retry_at(sent)
    if again is not None and view.now < again and not loading.asked:
        return blocked("reload", subject, f"{reason}; SIGHUP #{len(sent) + 1} follows unless verified by then", again)
    return Part((Reload(process.pid, process.start, process.uid, process.gid, loading.material, reason, len(sent)),))


def _rollback(view: View, sent: tuple[Attempt, ...], wrong: list[Served]) -> Part | None:
    """Back to the last valid generation, if every handshake fails since a signal was sent for the new pair."""
    refused = [s for s in wrong if s.outcome == "refused" and sent]
    pair = expected(view.snapshot, refused[0].kind) if refused else None
    if pair is None or pair.leaf is None or not view.snapshot.directory.managed:
        return None
    had_another = [
        p for p in owners(view.snapshot) if p.started < arrived(view.snapshot, pair)
    ]  # the others never served the one before
    if not had_another or not all(_fails(view, p, pair) for p in had_another):
        return None
    back = going_back(view, pair.name.stem, refused[0].reason or "handshakes fail", worst=True)
    return paced(view, back) if back else None


def _fails(view: View, process: Process, pair: Pair) -> bool:
    """Whether every handshake that should return the pair failed, a moment after the last signal to the process."""
    sent = view.history.unanswered(process, material(view.snapshot))
    told = [s for s in of_process(view.snapshot, process) if not s.client and expected(view.snapshot, s.kind) == pair]
    if process.state != "serving" or not sent or not told:
        return False
    return all(s.outcome == "refused" and s.at >= sent[-1].at + BEFORE_ROLLBACK for s in told)
