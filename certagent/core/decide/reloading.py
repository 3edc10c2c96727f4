"""SIGHUP, its verification, and the rollback if (and only if) handshakes fail with the new pair.

A signal that was sent is not yet a reload. It is recorded before it is sent and repeated with a backoff, five times at
most for the same material; then it is a critical finding.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from certagent.core.actions import AssumeLoaded, RecordProof, Reload
from certagent.core.catalogue import PROCESS_FORBIDDEN, PROCESS_NONE, PROCESS_STARTING, SERVED_STALE
from certagent.core.decide.generations import going_back
from certagent.core.decide.part import Part, blocked, total
from certagent.core.facts import Attempt, Pair, Process, Served, Snapshot
from certagent.core.findings import Finding
from certagent.core.names import CA, CLIENT_NODE, NODE
from certagent.core.principals import NODE_USER, refused_principal
from certagent.core.proof import answers, unloaded, unverified
from certagent.core.requests import after
from certagent.core.rules import key_mode_accepted
from certagent.core.serving import differs, expected, loaded_pairs, material, of_process
from certagent.core.timing import PROOF_WAIT, RELOAD_TRIES, reload_retry_at, swap_retry_at
from certagent.core.view import View

BEFORE_ROLLBACK = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What a process should load, the signals that had no effect, and why another one should be sent."""

    material: str
    sent: tuple[Attempt, ...]
    reason: str


def part(view: View) -> Part:
    """Every process that uses the directory."""
    if view.snapshot.processes_at is None:
        return Part()
    if not view.snapshot.processes:
        message = "no cockroach process uses this directory; nothing to reload or verify"
        return Part(findings=(PROCESS_NONE.found(view.snapshot.directory.path, message),))
    return total([_process(view, p) for p in view.snapshot.processes])


def _process(view: View, process: Process) -> Part:
    if process.state != "serving":
        return _not_serving(process)
    digest = material(view.snapshot)
    wrong = [(s, reason) for s in of_process(view.snapshot, process) if (reason := differs(view.snapshot, s))]
    stale = wrong[0][1] if wrong else unloaded(view.snapshot, process)
    sent = view.history.unanswered(process, digest)
    asked = _requested(view.snapshot, process)
    if stale is None and asked is None:
        return _settled(view, process, digest, sent)
    found = Part(findings=(_stale(process, sent, stale, view.now),)) if stale else Part()
    back = _rollback(view, sent, [s for s, _ in wrong])
    step = back or _signal(view, process, Loading(material=digest, sent=sent, reason=asked or stale or ""))
    return found + step


def _not_serving(process: Process) -> Part:
    file = f"pid {process.pid}"
    if process.state == "starting":
        message = f"pid {process.pid} is starting; a SIGHUP now could kill it"
        return Part(findings=(PROCESS_STARTING.found(file, message),))
    message = process.problem or f"pid {process.pid} is {process.state} and cannot be reloaded"
    return Part(findings=(PROCESS_FORBIDDEN.found(file, message),))


def _requested(snapshot: Snapshot, process: Process) -> str | None:
    """An operator's command, once the processes were looked for after it: one that is gone is not signalled for it."""
    looked = snapshot.processes_at
    asked = [r for r in snapshot.requests if r.kind == "reload" and looked is not None and r.at <= looked]
    if not asked or any(after(a, asked[-1]) for a in snapshot.history.signals(process)):
        return None
    return "requested by an operator"


def _settled(view: View, process: Process, digest: str, sent: tuple[Attempt, ...]) -> Part:
    """Nothing that it shows differs from what is on disk: take note of it once, of a signal when all is verified."""
    if sent:
        shown = ", ".join(x.address for x in process.listeners)
        done = RecordProof(process.identity, digest, f"served by pid {process.pid}: {shown}")
        return Part() if unverified(view.snapshot, process, answers(view.snapshot, view.now)) else Part((done,))
    known = [s for s in of_process(view.snapshot, process) if not s.client]
    if len(known) < len(process.listeners) or view.history.signals(process):
        return Part()
    first = f"pid {process.pid} is new and serves what is on disk"
    return Part((AssumeLoaded(process.identity, digest, first),))


def _stale(process: Process, sent: tuple[Attempt, ...], reason: str, now: datetime) -> Finding:
    """A reload that is under way is info; one without effect a warning; critical once all attempts are used up."""
    message, file = f"pid {process.pid}: {reason}", "node.crt"
    if len(sent) >= RELOAD_TRIES:
        message += f"; {len(sent)} SIGHUPs had no effect"
        return SERVED_STALE.found(
            file, message, "critical", "see the log of the process; a restart loads what is on disk"
        )
    if len(sent) > 1 or (sent and now - sent[-1].at > PROOF_WAIT):
        return SERVED_STALE.found(file, message, "warning", "see the log of the process; certagent repeats the SIGHUP")
    return SERVED_STALE.found(file, message, "info", "nothing to do: a reload is under way")


def _signal(view: View, process: Process, loading: Loading) -> Part:
    """Signal, or say what blocks it."""
    sent, reason = loading.sent, loading.reason
    subject = process.identity
    if view.running("reload", subject):
        return Part()
    if bar := _barred(view, process):
        return blocked("reload", subject, f"{reason}; {bar}")
    asked = _requested(view.snapshot, process) is not None
    if len(sent) >= RELOAD_TRIES and not asked:
        return blocked("reload", subject, f"{reason}; {len(sent)} SIGHUPs had no effect")
    again = reload_retry_at(sent)
    if again is not None and view.now < again and not asked:
        return blocked("reload", subject, f"{reason}; SIGHUP #{len(sent) + 1} follows unless verified by then", again)
    return Part((Reload(process.pid, process.start, process.uid, process.gid, loading.material, reason, len(sent)),))


def _barred(view: View, process: Process) -> str | None:
    """Why no signal may go: cockroach would report success and then fail every new connection, or lose a file."""
    if not view.policy.process.reload:
        return "`reload = false` is configured"
    own = expected(view.snapshot, "sql")
    needed = (CA.stem, own.name.stem if own else NODE.stem)
    missing = [stem for stem in needed if (found := view.pair(stem)) is None or found.cert is None]
    if missing:
        return f"{missing[0]}.crt is missing"
    if problem := _nameless(view, process):
        return problem
    return next((problem for pair in loaded_pairs(view.snapshot) if (problem := _unloadable(pair, process))), None)


def _nameless(view: View, process: Process) -> str | None:
    """A node that names no `node` needs a `client.node`: without one cockroach refuses the reload."""
    want, node = view.want(NODE.stem), view.pair(NODE.stem)
    if node is None or node.leaf is None or view.pair(CLIENT_NODE.stem) is not None:
        return None
    principal = (want.principal if want else None) or NODE_USER
    problem = refused_principal(NODE, principal, node.leaf, process.terms)
    return f"there is no client.node.crt, and node.crt {problem}; cockroach would refuse it" if problem else None


def _unloadable(pair: Pair, process: Process) -> str | None:
    stem = pair.name.stem
    if pair.leaf is None:
        return f"{stem}.crt cannot be used"
    if pair.name.is_bundle:
        return None
    if not pair.matched or pair.key is None:
        return f"{stem}.key does not match {stem}.crt"
    if not process.terms.skip_key_check and not key_mode_accepted(pair.key.file, process.gid):
        return f"{stem}.key has mode {pair.key.file.mode:04o}; cockroach would refuse it"
    return None


def _rollback(view: View, sent: tuple[Attempt, ...], wrong: list[Served]) -> Part | None:
    """Back to the last valid generation, if handshakes fail since a signal was sent for the new pair."""
    refused = [s for s in wrong if s.outcome == "refused" and sent and s.at >= sent[-1].at + BEFORE_ROLLBACK]
    pair = expected(view.snapshot, refused[0].kind) if refused else None
    if pair is None or pair.leaf is None or not view.snapshot.directory.managed:
        return None
    back = going_back(view, pair.name.stem, refused[0].reason or "handshakes fail")
    if back is None:
        return None
    again = swap_retry_at(view.history.failed_swaps(back.stem, back.fingerprint))
    return Part((back,)) if again is None or view.now >= again else blocked("rollback", back.stem, back.reason, again)
