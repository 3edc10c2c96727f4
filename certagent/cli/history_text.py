"""The history for people: what was attempted, newest first, by certs directory, in the words of an operator.

A SIGHUP whose result was verified is one line: that its result was not known at first is no event.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from certagent.cli.showing import width, wrapped
from certagent.core.actions import shown
from certagent.core.facts.history import SWAPS
from certagent.core.spans import span

Row = dict[str, Any]
GOOD = frozenset({"ok", "presumed"})
FINGERPRINT = 12  # characters that are shown
WORDS = {
    ("issue", "ok"): "issued by {about}",
    ("issue", "asked"): "requested from {about}, no answer yet",
    ("issue", "failed"): "request to {about} failed",
    ("issue", "refused"): "refused by {about}",
    ("issue", "retry"): "accepted by {about}, which issues later",
    ("install", "ok"): "installed {short}",
    ("install", "asked"): "installing {short}",
    ("install", "failed"): "could not be installed",
    ("install", "refused"): "not installed: the pre-install checks refused it",
    ("rollback", "ok"): "restored {short}",
    ("rollback", "asked"): "restoring {short}",
    ("rollback", "failed"): "could not be restored",
    ("reload", "ok"): "reloaded and verified",
    ("reload", "presumed"): "serves what is on disk already",
    ("reload", "asked"): "SIGHUP about to be sent",
    ("reload", "unproven"): "SIGHUP sent, not verified",
    ("reload", "failed"): "SIGHUP failed",
    ("window", "ok"): "the CA named a renewal window",
    ("window", "refused"): "the CA names no renewal window",
}
COMMANDS = {"refused": " cancelled", "failed": " failed"}  # what an operator asked for, and what became of it


def text(rows: list[Row], columns: int = 0) -> str:
    """The attempts, newest first, of each directory apart."""
    columns, lines = columns or width(), list[str]()
    for directory in dict.fromkeys(r["certs_dir"] for r in rows):
        mine = [r for r in rows if r["certs_dir"] == directory]
        names = max(len("file"), *(len(shown(r["subject"])) for r in mine))
        lines += ["", directory, f"  {'when':<20}  {'file':<{names}}  what"]
        for row, took in _told(mine):
            said = f"  {row['at'][:19].replace('T', ' ')}Z  {shown(row['subject']):<{names}}  {_what(row)}{took}"
            why = "" if row["outcome"] == "ok" and row["kind"] in SWAPS else row["reason"]  # it is said already
            lines += wrapped(f"{said}: {why}" if why else said, columns, 4)
    return "\n".join(lines[1:]) or "no attempts yet"


def _what(row: Row) -> str:
    about = str(row["digest"])
    if row["kind"] == "command":
        return about + COMMANDS.get(row["outcome"], "")
    words = WORDS.get((row["kind"], row["outcome"]), f"{row['kind']} {row['outcome']}")
    return words.format(about=about or "its authority", short=about[:FINGERPRINT])


def _told(rows: list[Row]) -> Iterable[tuple[Row, str]]:
    """Each attempt that is shown, and how long it took, where the attempt before it says when it began."""
    verified: set[tuple[str, str]] = set()
    for n, row in enumerate(rows):
        same = (row["subject"], row["digest"])
        if row["kind"] == "reload" and row["outcome"] in GOOD:
            verified.add(same)
        elif row["kind"] == "reload" and row["outcome"] == "unproven" and same in verified:
            continue
        yield row, _took(row, rows[n + 1 :])


def _took(row: Row, earlier: list[Row]) -> str:
    """Of an installation since the request, of a verified reload since its first signal."""
    done = (row["kind"], row["outcome"])
    if done == ("install", "ok"):
        begins = {"issue": "the request", "command": "the command"}  # of a bundle a command stages what is installed
        mine = [r for r in earlier if r["subject"] == row["subject"] and _begins(r)][:1]
        since = begins[mine[0]["kind"]] if mine else ""
    elif done == ("reload", "ok"):
        about = ("reload", row["subject"], row["digest"])
        mine, since = [r for r in earlier if (r["kind"], r["subject"], r["digest"]) == about][-1:], "the SIGHUP"
    else:
        return ""
    begun = [datetime.fromisoformat(r["at"]) for r in mine if r["outcome"] not in {"failed", "refused"}]
    return f", {span(datetime.fromisoformat(row['at']) - begun[0])} after {since}" if begun else ""


def _begins(row: Row) -> bool:
    """Whether an installation may follow from an attempt: a request, or a command that changed a bundle."""
    return row["kind"] == "issue" or (row["kind"] == "command" and row["digest"] in {"bundle add", "bundle prune"})
