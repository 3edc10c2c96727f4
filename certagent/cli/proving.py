"""Whether a command is done and proven, by the daemon's own status and history: a function of those two documents."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from certagent.core.catalogue import RENEWAL_WAITING

Row = dict[str, Any]
PENDING = {"state": "pending", "reason": "not proven in time"}
QUEUED = "it stays queued until that is over, an hour at most"
DONE = {"renew": "install", "rollback": "rollback"}
STEPS = {
    ("issue", "asked"): "the authority is being asked",
    ("issue", "ok"): "the authority answered",
    ("install", "ok"): "installed; waiting until it is served",
    ("rollback", "ok"): "rolled back; waiting until it is served",
    ("reload", "unproven"): "SIGHUP sent; waiting until the new files are served",
}


class Command(NamedTuple):
    """What was asked of the daemon: renew, rollback or reload, of which file, where, after which row, and when."""

    kind: str
    file: str
    where: str
    since: int
    at: str = ""  # by the daemon's clock


def seen(command: Command, status: Row | None, history: Row | None) -> dict[str, str]:
    """Given the daemon's two answers (None: silence), return the state of a command and why."""
    if not status or not history:
        return {"state": "pending", "reason": "the daemon does not answer any more"}
    directories = _within(command.where, status)
    return judge(command, directories, history["rows"])


def blocked(command: Command, plan: Row | None) -> dict[str, str]:
    """Given the daemon's plan, return the state of a command that nothing was attempted for."""
    reason, refused = held_back(command.kind, command.file, _within(command.where, plan) if plan else [])
    if refused or not reason:
        return {"state": "refused", "reason": reason} if reason else PENDING
    return {"state": "pending", "reason": f"{reason}; {QUEUED}"}


def _within(where: str, answer: Row) -> list[Row]:
    """The certs-dirs of an answer that a command is about; without a directory, all of them."""
    return [d for d in answer["document"]["certs_dirs"] if where in ("", d["path"])]


def judge(command: Command, directories: Iterable[Row], rows: Iterable[Row]) -> dict[str, str]:
    """Given the certs-dirs of the status and the attempts, newest first, return the state of a command and why.

    Its `since` is the ledger's newest row when the command came; a clock that was set back changes nothing.
    "proven", "refused" (or undone again), else "pending" with what it waits for.
    """
    mine = [r for r in rows if r["id"] > command.since or r["id"] < 0]
    taken_back = ("command", command.kind, command.file)
    if declined := [r for r in mine if (r["kind"], r["digest"], r["subject"]) == taken_back]:
        return {"state": "refused", "reason": declined[0]["reason"]}
    if command.kind == "reload":
        return _reloaded(command.at, list(directories), [r for r in mine if r["kind"] == "reload"])
    about = [r for r in mine if r["subject"] == command.file and r["kind"] != "command"]
    return _swapped(command.kind, command.file, list(directories), about)


def held_back(kind: str, file: str, directories: Iterable[Row]) -> tuple[str, bool]:
    """Given the certs-dirs of a plan, return what holds a command back ("": nothing), and whether it refuses it."""
    action = "issue" if kind == "renew" else kind
    for directory in directories:
        for held in directory["held"]:
            if held["action"] == action and (held["file"] == file or kind == "reload"):  # a reload is of a process
                return held["reason"], bool(held.get("refused"))
    return "", False


def _swapped(kind: str, file: str, directories: list[Row], rows: list[Row]) -> dict[str, str]:
    done = next((r for r in rows if (r["kind"], r["outcome"]) == (DONE[kind], "ok")), None)
    undone = next((r for r in rows if (r["kind"], r["outcome"]) == ("rollback", "ok")), None)
    if kind == "renew" and undone is not None:
        return {"state": "refused", "reason": f"rolled back: {undone['reason']}"}
    if done is None:
        bad = [r for r in rows if r["outcome"] in {"failed", "refused"}]
        order = _order(file, directories) if kind == "renew" else 1
        return (
            {"state": "refused", "reason": bad[0]["reason"]}
            if len(bad) >= order
            else _answered_later(file, directories) or _waiting(rows)
        )
    shown = [f for d in directories for f in d["files"] if f["name"] == file and f["fingerprint"] == done["digest"]]
    if not shown or shown[0]["proof"] == "pending":
        return _waiting(rows)
    return {"state": "proven", "reason": shown[0]["proof"]}


def _answered_later(file: str, directories: list[Row]) -> dict[str, str]:
    """A CA has the request and answers later: what is waited for, in the finding's words; {} where it is not so."""
    found = [f for d in directories for f in d.get("findings", ()) if f["code"] == RENEWAL_WAITING.code]
    message = next((f["message"] for f in found if f["file"] == f"{file}.crt"), "")
    return {**PENDING, "reason": message, "step": "the authority answers later"} if message else {}


def _order(file: str, directories: list[Row]) -> int:
    """How many authorities there are to be asked, one after the other, before a renewal has failed."""
    mine = [f for d in directories for f in d["files"] if f["name"] == file]
    return max([1, *(len(f.get("authorities", ())) for f in mine)])


def _reloaded(at: str, directories: list[Row], rows: list[Row]) -> dict[str, str]:
    if any((d["processes_at"] or "") < at for d in directories):
        return _waiting(rows)  # what is known of the processes is older than the command
    processes = [p for d in directories for p in d["processes"]]
    serving = [p["pid"] for p in processes if p["state"] == "serving"]
    if directories and not serving:
        states = ", ".join(f"pid {p['pid']} is {p['state']}" for p in processes)
        return {"state": "refused", "reason": states or "no process owns the directory: there is nothing to reload"}
    ended = {int(r["subject"].partition(":")[0]): r for r in reversed(rows)}
    bad = [r["reason"] for r in ended.values() if r["outcome"] == "failed"]
    if bad:
        return {"state": "refused", "reason": bad[0]}
    if not serving or any(ended.get(pid, {}).get("outcome") != "ok" for pid in serving):
        return _waiting(rows)
    return {"state": "proven", "reason": "served"}


def _waiting(rows: list[Row]) -> dict[str, str]:
    step = next((s for r in rows if (s := STEPS.get((r["kind"], r["outcome"])))), None)
    return {**PENDING, "step": step} if step else PENDING
