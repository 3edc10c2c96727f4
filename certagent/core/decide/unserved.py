"""What is said where a process cannot be asked what it serves, and where there is no process: each cause by name."""

from datetime import timedelta

from certagent.core.catalogue import (
    PROCESS_FORBIDDEN,
    PROCESS_INSECURE,
    PROCESS_NONE,
    PROCESS_OTHER_USER,
    PROCESS_PID_FILE,
    PROCESS_PROBE,
    PROCESS_STARTING,
    SERVED_STALE,
)
from certagent.core.decide.part import Part
from certagent.core.facts import Leaf, Listener, PassedOver, Process
from certagent.core.findings import Finding
from certagent.core.proof import owners
from certagent.core.spans import stamp
from certagent.core.timing import emergency_at
from certagent.core.view import View

LISTENS = timedelta(seconds=30)  # a port that is asked for that long in vain is the wrong one, or the process hangs
GRACE = timedelta(minutes=5)  # a node that joins a large cluster listens within seconds
PROBE = "set `probe` in [certs_dir.process] to an address where it can be asked"
WRONG = "correct `probe` in [certs_dir.process]: an address where the process answers a TLS handshake"
RULES = {
    "insecure": (PROCESS_INSECURE, "warning"),
    "other-user": (PROCESS_OTHER_USER, "info"),  # it may use another directory
    "pid-file": (PROCESS_PID_FILE, "warning"),
    "pid-file-old": (PROCESS_PID_FILE, "info"),  # cockroach leaves the file when it stops
}


def nobody(view: View) -> Part:
    """No process uses the directory: what was passed over says why, else cockroach does not run."""
    path = view.snapshot.directory.path
    if view.snapshot.passed_over:
        return Part(findings=tuple(_passed_over(path, p) for p in view.snapshot.passed_over))
    message = "no cockroach process uses this directory; nothing to reload or verify"
    if probe := view.policy.process.probe:
        named = ", ".join(Listener(*each).address for each in probe)
        message += f"; `probe` ({named}) is asked only once a process is found"
    return Part(findings=(PROCESS_NONE.found(path, message),))


def _passed_over(path: str, passed: PassedOver) -> Finding:
    rule, severity = RULES[passed.why]
    return rule.found(f"pid {passed.pid}" if passed.pid else path, passed.detail, severity)  # type: ignore[arg-type]


def not_serving(view: View, process: Process) -> Part:
    """A process in start-up, or one that cannot be asked or signalled; and what it may serve until it ends."""
    return Part(findings=(_state(view, process), *_unseen(view, process)))


def _state(view: View, process: Process) -> Finding:
    file, owner = f"pid {process.pid}", view.policy.owner
    if process.state == "starting":
        if process.by_probe and view.now - process.started >= LISTENS and (dead := _deaf(view, process)):
            message = f"`probe` names {dead}; where pid {process.pid} listens cannot be seen, so no SIGHUP is sent"
            return PROCESS_PROBE.found(file, message, remedy=WRONG)
        if view.now - process.started < GRACE:
            message = f"pid {process.pid} is starting; a SIGHUP now could kill it"
            return PROCESS_STARTING.found(file, message)
        since = f"pid {process.pid} has run since {stamp(process.started)}, and"
        if process.by_probe:
            named = ", ".join(port.address for port in process.listeners)
            message = f"{since} no address of `probe` has answered ({named}): no SIGHUP is sent"
            return PROCESS_STARTING.found(file, message, "warning", WRONG)
        return PROCESS_STARTING.found(file, f"{since} no port of it can be seen: no SIGHUP is sent", "warning", PROBE)
    if process.state == "forbidden" and process.found_by == "arguments" and owner.uid not in {0, process.uid}:
        message = f"pid {process.pid} runs as {process.user}, not as {owner.user}: this agent can neither inspect nor"
        return PROCESS_OTHER_USER.found(file, f"{message} signal it")
    message = process.problem or f"pid {process.pid} is {process.state} and cannot be reloaded"
    return PROCESS_FORBIDDEN.found(file, message, remedy=process.advice or None)


def _deaf(view: View, process: Process) -> str:
    """The addresses of `probe`, each with the reason, where every one of them was asked in vain; "" otherwise."""
    answers = {s.address: s for s in view.snapshot.served if s.process == process.identity}
    asked = [answers.get(port.address) for port in process.listeners]
    silent = [s for s in asked if s is not None and s.outcome == "unreachable"]
    reasons = (f"{s.address}, which does not answer ({s.reason or 'no connection'})" for s in silent)
    return ", ".join(reasons) if len(silent) == len(asked) else ""


def _unseen(view: View, process: Process) -> tuple[Finding, ...]:
    """What a process that cannot be asked loaded at its start, where that was replaced: it serves it until it ends."""
    if process not in owners(view.snapshot) or view.now - process.started < GRACE or process.state == "ignoring":
        return ()
    replaced = {a.subject for a in view.history.swaps if a.at > process.started and a.at <= view.now}
    stems = [p.name.stem for p in view.snapshot.live.loaded if p.name.stem in replaced and not p.name.is_bundle]
    old = [(stem, leaf) for stem in stems if (leaf := _loaded_at_start(view, process, stem))]
    if not old:
        return ()
    stem, leaf = min(old, key=lambda row: row[1].not_after)
    message = (
        f"pid {process.pid} started before {stem}.crt was replaced, and cannot be asked what it serves: the one that it"
        f" loaded ends at {stamp(leaf.not_after)}"
    )
    late = view.now >= emergency_at(leaf)
    remedy = f"{PROBE}, or restart the process"
    return (SERVED_STALE.found(f"{stem}.crt", message, "critical" if late else "warning", remedy),)


def _loaded_at_start(view: View, process: Process, stem: str) -> Leaf | None:
    """The newest earlier certificate of that name that was there when the process started."""
    kept = [g.pair.leaf for g in view.snapshot.generations if g.pair.name.stem == stem and g.pair.leaf]
    before = [leaf for leaf in kept if leaf.not_before <= process.started]
    return max(before, key=lambda leaf: leaf.not_before, default=None)
