"""Cancel operators' commands that cannot be carried out or that failed, and answer them.

Otherwise a command would be carried out when its operator no longer expects it. An obstacle that passes by itself (a
backoff after a failure, a bundle that is needed first) is waited for, an hour at most; one that only a person can
remove is not.
"""

from dataclasses import replace
from datetime import timedelta

from certagent.core.actions import RejectCommand
from certagent.core.catalogue import CLOCK_UNSOUND
from certagent.core.decide.gate import bar
from certagent.core.decide.generations import going_back, held_back, newest, nothing_to_go_back_to
from certagent.core.decide.part import NOTHING, Part, total
from certagent.core.facts import Process, Request
from certagent.core.requests import after
from certagent.core.rotation.serve import refusing, unseen
from certagent.core.view import View

LONGEST = timedelta(hours=1)


def part(view: View) -> Part:
    """The commands to take back, and when those that wait have waited long enough."""
    return total([_one(view, request) for request in view.snapshot.requests])


def without(view: View, taken_back: Part) -> View:
    """The same without the cancelled commands, so that they have no effect on this plan."""
    if not view.snapshot.requests:
        return view
    gone = {(a.command, a.stem) for a in taken_back.actions if isinstance(a, RejectCommand)}
    left = tuple(r for r in view.snapshot.requests if (r.kind, r.subject) not in gone)
    return replace(view, snapshot=replace(view.snapshot, requests=left))


def _one(view: View, request: Request) -> Part:
    only = view.snapshot.directory.observe_only
    if only and view.snapshot.directory.left_alone:
        return Part((RejectCommand(request.kind, request.subject, only.reason),))
    why = {"renew": _in_vain, "rollback": _nowhere, "reload": _barred}[request.kind](view, request)
    if why is None and view.now - request.at < LONGEST:
        return Part(wakes=(request.at + LONGEST,))
    if why is None and request.kind == "renew" and view.history.waiting(request.subject):
        return NOTHING  # the CA has it
    reason = why or "not carried out within an hour; cancelled"
    return Part((RejectCommand(request.kind, request.subject, reason),))


def _nowhere(view: View, request: Request) -> str | None:
    """Why there is nothing to go back to; one that members may accept is waited for until they were asked."""
    if view.snapshot.directory.observe_only or going_back(view, request.subject, ""):
        return None
    kept = newest(view, request.subject)
    waits = held_back(view, kept) if kept else None
    if waits and not waits.person and not refusing(waits.rows) and not unseen(waits.rows):
        return None
    return nothing_to_go_back_to(view, request.subject)


def _barred(view: View, request: Request) -> str | None:
    """What a process that may be signalled must not load, once the processes were looked for after the command."""
    looked = view.snapshot.processes_at
    if request.force or looked is None or looked < request.at or not view.policy.process.reload:
        return None
    serving = (p for p in view.snapshot.processes if p.state == "serving")
    found = next((why for p in serving if not _signalled(view, p, request) and (why := bar(view, p))), None)
    return f"{found.reason}; `--force` reloads regardless" if found else None


def _signalled(view: View, process: Process, request: Request) -> bool:
    return any(after(a, request) for a in view.history.signals(process))


def _in_vain(view: View, request: Request) -> str | None:
    """Why a renewal cannot come, or that everybody who could be asked was."""
    want = view.want(request.subject)
    if want is None or not want.authorities:
        return f"no authority is configured for {request.subject}; renew it with the tool that rotates it"
    if view.snapshot.directory.observe_only:
        return view.snapshot.directory.observe_only.reason
    if not view.snapshot.clock.sound:
        return f"{view.snapshot.clock.reason}; {CLOCK_UNSOUND.remedy}"
    failed = [a for a in view.history.issues(request.subject) if after(a, request) and a.failed]
    return failed[-1].reason if len(failed) >= len(want.authorities) else None
