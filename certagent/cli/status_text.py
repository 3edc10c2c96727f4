"""The status for people: one row for each file, below it what it is; problems by cause; the next step."""

from datetime import datetime
from typing import Any

from certagent.cli.showing import findings_of, table, width, wrapped
from certagent.core.catalogue import CERT_EMPTY, CERT_IRREGULAR, CERT_UNPARSABLE, CERT_UNREAD
from certagent.core.spans import span

Row = dict[str, Any]
NO_DAEMON = "no agent is running; this host was read just now"
HEAD = ("file", "certificate", "expires", "renews", "verified")
WORDS = {"sent": "reload sent", "tls": "TLS only", "none-needed": "-"}
NOTES = {
    "sent": "reload sent: no handshake shows whether cockroach uses the file",
    "tls": "TLS only: the server took the certificate, the log-in is not verified",
}
KEY = 12  # characters of a key's digest
SHORTEST = {"ok": 0, "info": 1, "warning": 2, "critical": 3}


def text(document: Row, columns: int = 0) -> str:
    """The whole document, in so many columns (0: those of the terminal)."""
    columns, now = columns or width(), _time(document["now"])
    common = _common(document["certs_dirs"])
    lines = wrapped(f"{document.get('host') or 'certagent'}: {document['severity']}, {_who(document, now)}", columns)
    lines += findings_of(common, columns)
    for directory in document["certs_dirs"]:
        lines += ["", *wrapped(f"{directory['path']}: {directory['severity']}", columns)]
        unusable = {f["file"] for f in directory["findings"] if f["code"] in UNUSABLE}
        lines += _files(directory["files"], now, columns, unusable)
        lines += [line for each in _owed(directory) for line in wrapped(each, columns)]
        lines += [line for p in directory["processes"] for line in wrapped(_process(p), columns)]
        if document["daemon"] and not directory["processes"] and directory["processes_at"]:
            lines += wrapped(_looked(directory["processes_at"], now), columns)
        lines += findings_of([f for f in directory["findings"] if f not in common], columns)
        notes = [f"  authority {a['name']}: {a['note']}" for a in directory["authorities"] if a["note"]]
        lines += [line for each in notes for line in wrapped(each, columns)]
        lines += [
            line for r in directory.get("rotations", ()) for each in rotating(r) for line in wrapped(each, columns)
        ]
        if step := directory["next"]:
            lines += wrapped(f"  next: {_what(step)} {_when(step['at'], now)}: {step['reason']}", columns)
    return "\n".join(lines)


def short(document: Row) -> str:
    """One line: the worst, its codes, the earliest expiry and the next step."""
    now = _time(document["now"])
    found = [f for d in document["certs_dirs"] for f in d["findings"] if f["severity"] in {"warning", "critical"}]
    worst = sorted(found, key=lambda f: -SHORTEST[f["severity"]])
    parts = [f"{document.get('host') or 'certagent'}: {document['severity']}"]
    parts += [" ".join(dict.fromkeys(f["code"] for f in worst))] if worst else []
    ends = [(f["chain_ends"], f["name"]) for d in document["certs_dirs"] for f in d["files"] if f["chain_ends"]]
    parts += [f"{min(ends)[1]} expires {_seen(_time(min(ends)[0]), now)}"] if ends else []
    steps = [d["next"] for d in document["certs_dirs"] if d["next"]]
    soonest = min(steps, key=lambda s: str(s["at"]), default=None)
    parts += [f"next: {_what(soonest)} {_seen(_time(soonest['at']), now)}"] if soonest else []
    return "; ".join(parts)


def rotating(rotation: Row) -> list[str]:
    """A change of the CA: its phase, what it waits for, and what a person types."""
    who = "a person" if rotation["waits_for"] == "person" else "machines"
    about = f"  rotation of {rotation['bundle']} to {rotation['subject']}: {rotation['phase']}"
    lines = [f"{about}; waits for {who}: {rotation['reason']}"]
    return lines + ([f"    {rotation['next']}"] if rotation["next"] else [])


def _who(document: Row, now: datetime) -> str:
    daemon = document["daemon"]
    if not daemon:
        return NO_DAEMON
    return f"agent pid {daemon['pid']}, up {span(now - _time(daemon['started']))}, certagent {daemon['version']}"


def _common(directories: list[Row]) -> list[Row]:
    """What holds for the whole host is said once: findings about no file that every directory has."""
    if len(directories) < 2:  # noqa: PLR2004 - of one directory everything is said there
        return []
    first, *others = (d["findings"] for d in directories)
    return [f for f in first if not f["file"] and all(f in other for other in others)]


UNUSABLE = frozenset(rule.code for rule in (CERT_IRREGULAR, CERT_UNPARSABLE, CERT_EMPTY, CERT_UNREAD))  # it is there


def _files(files: list[Row], now: datetime, columns: int, unusable: set[str]) -> list[str]:
    if not files:
        return []
    head, *rows = table([HEAD, *(_file(f, now, unusable) for f in files)])
    lines = [head]
    for row, file in zip(rows, files, strict=True):
        lines += [row, *(line for each in _details(file, now) for line in wrapped(f"    {each}", columns, 2))]
    kinds = dict.fromkeys(f["proof"] for f in files if f["fingerprint"] and f["proof"] in NOTES)
    return lines + [line for kind in kinds for line in wrapped(f"  {NOTES[kind]}", columns)]


def _file(file: Row, now: datetime, unusable: set[str]) -> tuple[str, ...]:
    if not file["fingerprint"]:
        return (file["name"], "unusable" if f"{file['name']}.crt" in unusable else "missing", "", "", "")
    ends, renew = _time(file.get("chain_ends") or file["not_after"]), file["renew_at"]
    renews = _seen(_time(renew), now) if renew else "-"
    proof = WORDS.get(file["proof"]) or str(file["proof"])
    return (file["name"], file["fingerprint"][:KEY], _seen(ends, now), renews, proof)


def _details(file: Row, now: datetime) -> list[str]:
    """What the file is: every CA of a bundle by its key; of a pair issuer, names and how it came there."""
    lines = [_ca(c, now) for c in file.get("cas", ())]
    if file["fingerprint"] and not lines:
        lines = [f"by {file['issuer']}"]
        lines += [f"serial {file['serial']}"] if file.get("serial") else []
        lines += [f"names {', '.join(file['sans'])}"] if file["sans"] else []
    if file.get("chain_ends_by"):
        lines.append(f"ends with {file['chain_ends_by']}")
    if asked := file["revocation"]:
        lines.append(f"revocation: {asked['status']}, {span(now - _time(asked['at']))} ago")
    return lines + _renewal(file, now)


def _ca(ca: Row, now: datetime) -> str:
    return f"CA key {ca['key'][:KEY]}: {ca['subject']}, until {_when(ca['not_after'], now)}"


def _renewal(file: Row, now: datetime) -> list[str]:
    """How the last renewal ended, and what was taken back."""
    lines = []
    if last := file.get("last_renewal"):
        by = f" by {last['authority']}" if last["authority"] else ""
        why = f": {last['reason']}" if last["reason"] else ""
        lines.append(f"last renewal {_when(last['at'], now)}{by}: {last['outcome']}{why}")
    if back := file.get("rolled_back"):
        which = f"{back['fingerprint'][:KEY]} is quarantined; " if back["fingerprint"] else ""
        lines.append(f"rolled back {_when(back['at'], now)}: {which}{back['reason']}")
    return lines


def _owed(directory: Row) -> list[str]:
    """Who keeps which file from being verified; files of which the same is owed share a line."""
    files: dict[str, list[str]] = {}
    for file in directory["files"]:
        if who := ", ".join(file.get("owed", ())):
            files.setdefault(who, []).append(file["name"])
    return [f"  not yet verified by {who}: {', '.join(names)}" for who, names in files.items()]


def _process(process: Row) -> str:
    program = process.get("command") or "process"
    state = " ".join((process["state"], *process["listeners"]))
    return f"  {program} (pid {process['pid']}, user {process['user']}): {state}"


def _looked(at: str, now: datetime) -> str:
    """A server that has just started is not known before the next search."""
    from certagent.core.decide.probing import SCAN_EVERY

    return f"  no process used the directory {_seen(_time(at), now)}; the agent searches every {span(SCAN_EVERY)}"


def _what(step: Row) -> str:
    """A step as people call it: a reload is of a process, PID:START."""
    if step["action"] == "reload":
        return f"SIGHUP to pid {step['file'].partition(':')[0]}"
    return f"{step['action']} {step['file']}"


def _time(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)


def _seen(at: datetime, now: datetime) -> str:
    """A moment, seen from now."""
    return f"in {span(at - now)}" if at >= now else f"{span(now - at)} ago"


def _when(stamp: str, now: datetime) -> str:
    """The same, and by the calendar."""
    return f"{_seen(_time(stamp), now)} ({_time(stamp):%Y-%m-%d %H:%M}Z)"
