"""Modes and owners of keys. A repair waits only if another program keeps undoing it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from certagent.core.actions import Restrict
from certagent.core.catalogue import KEY_MODE
from certagent.core.decide.part import Part, blocked, total
from certagent.core.facts import File, Repair, Snapshot
from certagent.core.findings import Finding
from certagent.core.policy import Owner
from certagent.core.rules import key_file, key_mode_accepted
from certagent.core.view import View

BURST = 5  # repairs of one file before it counts as a fight
WINDOW = timedelta(minutes=1)
FIGHT_PAUSE = timedelta(seconds=10)


def part(view: View) -> Part:
    """Repairs, or findings where nothing may be repaired."""
    return total([_key(view, file) for file in _key_files(view.snapshot)])


def _key_files(snapshot: Snapshot) -> Iterator[File]:
    yield from (p.key.file for p in snapshot.pairs if p.key is not None)
    yield from (f for f in snapshot.unmanaged_files if f.name.endswith(".key"))


def _key(view: View, file: File) -> Part:
    want = view.want(file.name.removesuffix(".key"))
    owner = want.key_owner if want and want.key_owner else view.policy.owner
    findings = tuple(key_file(file, owner, view.policy.terms, path=view.policy.path))
    if not findings:
        return Part()
    if not view.policy.repairs_in(view.snapshot.directory):
        return Part(findings=findings)
    fix = _repair(file, owner, want.key_mode if want else 0o600, view.snapshot.euid)
    if fix is None:
        return Part(findings=findings)
    return _paced(fix, findings, _recent(view, file), view.now)


def _recent(view: View, file: File) -> list[Repair]:
    """The repairs of the last minute; none from the future, where the clock was set back."""
    return [r for r in view.snapshot.repairs if r.file == file.name and timedelta(0) <= view.now - r.at < WINDOW]


def _repair(file: File, owner: Owner, mode: int, euid: int) -> Restrict | None:
    """The repair that this agent may make: owners only as root, modes of its own files or as root."""
    wide = not key_mode_accepted(file, owner.gid)
    stolen = file.uid != owner.uid
    if euid != 0 and (file.uid != euid or not wide):
        return None
    reasons = ([f"the mode was {file.mode:04o}"] if wide else []) + (
        [f"the owner was uid {file.uid}"] if stolen and euid == 0 else []
    )
    chown = euid == 0 and stolen
    kept = mode if wide or chown else file.mode
    return Restrict(file.name, kept, owner.uid if chown else None, owner.gid if chown else None, ", ".join(reasons))


def _paced(fix: Restrict, findings: tuple[Finding, ...], recent: list[Repair], now: datetime) -> Part:
    failed = [r for r in recent if not r.ok]
    if len(recent) < BURST and not failed:
        return Part((fix,), findings=findings)
    last = recent[-1]
    why = (
        f"the repair failed: {failed[-1].reason}"
        if failed
        else f"the repair was undone {len(recent)} times within a minute"
    )
    alarm = KEY_MODE.found(fix.file, f"{fix.reason}; {why}", remedy="find out what changes it: auditctl -w FILE -p a")
    if now - last.at >= FIGHT_PAUSE:
        return Part((fix,), findings=(alarm,))
    return Part(findings=(alarm,)) + blocked("restrict", fix.file, why, last.at + FIGHT_PAUSE)
