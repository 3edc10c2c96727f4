"""Whether a command is done and verified: the agent's status and history in words.

The agent itself decides whether a file or a reload is verified and which addresses have not verified it yet: `proof`
and `owed` of the status, `ok` of a reload in the history.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from certagent.core.catalogue import RENEWAL_WAITING
from certagent.core.names import Name, parse

Row = dict[str, Any]
PENDING = {"state": "pending", "reason": "the agent has not attempted it yet"}
QUEUED = "the command stays queued until this passes, for an hour at most"
DONE = {"renew": "install", "rollback": "rollback"}
REACHED = {
    ("issue", "asked"): "the authority has not answered yet",
    ("issue", "ok"): "the authority issued a certificate, not yet installed",
    ("install", "ok"): "installed, not yet ",
    ("rollback", "ok"): "rolled back, not yet ",
    ("reload", "asked"): "SIGHUP not yet sent",
    ("reload", "unproven"): "SIGHUP sent, not yet ",
    ("reload", "ok"): "SIGHUP sent, not yet ",
    ("reload", "presumed"): "cockroach was started in the meantime, not yet ",
}
BARRED = frozenset({"forbidden", "ignoring"})  # no signal goes to these
VERIFIED = frozenset({"ok", "presumed"})  # by the agent; presumed of one that began after the files came
HOW = {"served": "served", "accepted": "accepted"}  # by the best proof of a kind of file; else the file is loaded


class Command(NamedTuple):
    """What was asked of the daemon: renew, rollback or reload, of which file, where, after which row, and when."""

    kind: str
    file: str
    where: str
    since: int
    at: str = ""  # by the daemon's clock


def seen(command: Command, status: Row | None, history: Row | None) -> Row:
    """Given the daemon's two answers (None: silence), return the state of a command and why."""
    if not status or not history:
        return {"state": "pending", "reason": "the agent no longer answers"}
    if problems := [answer["error"] for answer in (status, history) if not answer["ok"]]:
        return {"state": "pending", "reason": problems[0]}
    directories = _within(command.where, status)
    return judge(command, directories, history["rows"])


def blocked(command: Command, plan: Row | None) -> Row:
    """Given the daemon's plan, return the state of a command that nothing was attempted for."""
    reason, refused = held_back(command.kind, command.file, _within(command.where, plan) if plan and plan["ok"] else [])
    if refused or not reason:
        return {"state": "refused", "reason": reason} if reason else PENDING
    return {"state": "pending", "reason": f"{reason}; {QUEUED}"}


def _within(where: str, answer: Row) -> list[Row]:
    """The certs-dirs of an answer that a command is about; without a directory, all of them."""
    return [d for d in answer["document"]["certs_dirs"] if where in ("", d["path"])]


def judge(command: Command, directories: Iterable[Row], rows: Iterable[Row]) -> Row:
    """Given the certs-dirs of the status and the attempts, newest first, return the state of a command and why.

    Its `since` is the ledger's newest row when the command came; a clock that was set back changes nothing.
    "proven", "refused" (or undone again), else "pending" with what was reached and the addresses that owe the rest.
    """
    mine = [r for r in rows if r["id"] > command.since or r["id"] < 0]
    taken_back = ("command", command.kind, command.file)
    if declined := [r for r in mine if (r["kind"], r["digest"], r["subject"]) == taken_back]:
        return _in_vain(declined[0]["reason"], [r for r in mine if r["subject"] == command.file])
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


def _in_vain(reason: str, rows: Iterable[Row]) -> Row:
    """Given why a command came to nothing, and the attempts, return its state; `outcome`: that was no refusal.

    A CA that cannot be reached has refused nothing: the attempt of that reason says so.
    """
    failed = any((r["outcome"], r["reason"]) == ("failed", reason) for r in rows if r["kind"] != "command")
    return {"state": "refused", "reason": reason, **({"outcome": "failed"} if failed else {})}


def _swapped(kind: str, file: str, directories: list[Row], rows: list[Row]) -> Row:
    done = next((r for r in rows if (r["kind"], r["outcome"]) == (DONE[kind], "ok")), None)
    undone = next((r for r in rows if (r["kind"], r["outcome"]) == ("rollback", "ok")), None)
    if kind == "renew" and undone is not None:
        return {"state": "refused", "reason": f"rolled back: {undone['reason']}"}
    if done is None:
        bad = [r for r in rows if r["outcome"] in {"failed", "refused"}]
        order = _order(file, directories) if kind == "renew" else 1
        return (
            _in_vain(bad[0]["reason"], bad)
            if len(bad) >= order
            else _answered_later(file, directories) or _waiting(rows)
        )
    shown = [f for d in directories for f in d["files"] if f["name"] == file and f["fingerprint"] == done["digest"]]
    if not shown or shown[0]["proof"] == "pending":
        return _waiting(rows, file, [who for f in shown for who in f.get("owed", ())])
    return {"state": "proven", "reason": shown[0]["proof"]}


def _answered_later(file: str, directories: list[Row]) -> Row:
    """A CA has the request and answers later: what is waited for, in the finding's words; {} where it is not so."""
    found = [f for d in directories for f in d.get("findings", ()) if f["code"] == RENEWAL_WAITING.code]
    message = next((f["message"] for f in found if f["file"] == f"{file}.crt"), "")
    return {**PENDING, "reason": message} if message else {}


def _order(file: str, directories: list[Row]) -> int:
    """How many authorities there are to be asked, one after the other, before a renewal has failed."""
    mine = [f for d in directories for f in d["files"] if f["name"] == file]
    return max([1, *(len(f.get("authorities", ())) for f in mine)])


def _reloaded(at: str, directories: list[Row], rows: list[Row]) -> Row:
    if any((d["processes_at"] or "") < at for d in directories):
        return _waiting(rows)  # what is known of the processes is older than the command
    processes = [p for d in directories for p in d["processes"]]
    if directories and not any(p["state"] == "serving" for p in processes):
        return {
            "state": "refused",
            "reason": _states(processes) or "no cockroach process uses the directory; nothing to reload",
        }
    ended = {int(r["subject"].partition(":")[0]): r for r in reversed(rows)}
    if bad := [r["reason"] for r in ended.values() if r["outcome"] == "failed"]:
        return {"state": "refused", "reason": bad[0]}
    heard = [p for p in processes if p["state"] not in BARRED]  # one that starts loads what is on disk by itself
    late = [p for p in heard if ended.get(p["pid"], {}).get("outcome") not in VERIFIED or p.get("owed")]
    if late or not heard:
        return _waiting(rows, "node", [who for p in late for who in p.get("owed", ())])
    barred = _states(p for p in processes if p["state"] in BARRED and p.get("owed"))
    return {"state": "refused", "reason": barred} if barred else {"state": "proven", "reason": _loaded(directories)}


def _loaded(directories: list[Row]) -> str:
    """What is verified after a reload, and the files whose use no handshake shows."""
    unseen = dict.fromkeys(f"{f['name']}.crt" for d in directories for f in d["files"] if f["proof"] == "sent")
    return f"served; cannot be verified for {', '.join(unseen)}: reload sent" if unseen else "served"


def _states(processes: Iterable[Row]) -> str:
    return ", ".join(f"pid {p['pid']} is {p['state']}" for p in processes)


def _waiting(rows: list[Row], file: str = "", owed: Iterable[str] = ()) -> Row:
    """What was reached by the newest attempt, and who owes the rest."""
    reached = next((s for r in rows if (s := REACHED.get((r["kind"], r["outcome"])))), None)
    if reached is None:
        return PENDING
    who = list(dict.fromkeys(owed))
    how = f"{_how(file)} by {', '.join(who)}" if who else "verified"
    return {"state": "pending", "reason": reached + how * reached.endswith(" "), "owed": who}


def _how(file: str) -> str:
    name = parse(file)
    return HOW.get(name.kind.proof, "loaded") if isinstance(name, Name) else "verified"
