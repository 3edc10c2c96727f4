"""Modes of keys. A repair waits for nothing: each second that it waits, others may read the key.

It is paced by its cost alone, which is 13 ms of processor; one that fails is tried again ever slower. Who keeps undoing
it is a matter of its own (exposure.py). Rejected: a pause after some repairs within a minute; whoever undoes them has
the key meanwhile.
"""

from collections.abc import Iterator
from datetime import timedelta

from certagent.core.actions import Restrict
from certagent.core.backoff import Backoff
from certagent.core.catalogue import KEY_MODE
from certagent.core.decide.part import NOTHING, Part, blocked, total
from certagent.core.facts import File, KeyFile, Repair, Snapshot
from certagent.core.findings import Finding
from certagent.core.policy import Owner
from certagent.core.rules import key_file, key_mode_accepted
from certagent.core.view import View

MOST, SECOND = 10, timedelta(seconds=1)  # repairs of one file in a second
AFTER_FAILURE = Backoff(SECOND, timedelta(seconds=10))


def part(view: View) -> Part:
    """Repairs, or findings where nothing may be repaired."""
    return total([_key(view, file, key) for file, key in key_files(view.snapshot)])


def key_files(snapshot: Snapshot) -> Iterator[tuple[File, KeyFile | None]]:
    """Every key of the directory; of one under an unknown name nothing is read."""
    yield from ((p.key.file, p.key) for p in snapshot.pairs if p.key is not None)
    yield from ((f, None) for f in snapshot.unmanaged_files if f.name.endswith(".key"))


def repairs_of(view: View, file: File) -> list[Repair]:
    """The known repairs of a file, none from the future, where the clock was set back."""
    if not view.snapshot.repairs:
        return []
    return [r for r in view.snapshot.repairs_of.get(file.name, ()) if r.at <= view.now]


def _key(view: View, file: File, key: KeyFile | None) -> Part:
    want = view.want(file.name.removesuffix(".key"))
    owner = want.key_owner if want and want.key_owner else view.policy.owner
    findings = tuple(key_file(file, owner, view.policy.terms, path=view.policy.path))
    if not findings:
        return NOTHING
    if not view.policy.repairs_in(view.snapshot.directory):
        return Part(findings=findings)
    fix = _repair(file, owner, want.key_mode if want else 0o600, view.snapshot.euid)
    if fix is None:
        return Part(findings=findings)
    exposed = view.snapshot.exposed(file.name, (key.spki if key else "") or "") is not None
    return _paced(view, fix, () if exposed else findings, repairs_of(view, file))


def _repair(file: File, owner: Owner, mode: int, euid: int) -> Restrict | None:
    """The repair that this agent may make: the mode of its own files, as root of any.

    An owner is never repaired. Whoever can rename a file can give any of root's the name of a key, and root would hand
    it out; `key.owner` names the command instead.
    """
    if key_mode_accepted(file, owner.gid) or euid not in {0, file.uid}:
        return None
    return Restrict(file.name, mode, f"mode {file.mode:04o} is too wide", since=file.changed)


def _paced(view: View, fix: Restrict, findings: tuple[Finding, ...], known: list[Repair]) -> Part:
    """At once, but ten times a second at most; after failures 1, 2, 4, 8 and then every 10 s."""
    failed = _failed(known)
    burst = [r for r in known if view.now - r.at < SECOND]
    if failed:
        why = f"the repair failed: {failed[-1].reason}"
        at, findings = failed[-1].at + AFTER_FAILURE.after(len(failed)), (_alarm(fix, why),)
    elif len(burst) >= MOST:
        why, at = f"the mode was repaired {MOST} times within a second", burst[-MOST].at + SECOND
    else:
        return Part((fix,), findings=findings)
    if view.now >= at:
        return Part((fix,), findings=findings)
    return Part(findings=findings) + blocked("restrict", fix.file, why, at)


def _failed(known: list[Repair]) -> list[Repair]:
    """The failures since the last repair that succeeded."""
    since = next((i for i, r in enumerate(reversed(known)) if r.ok), len(known))
    return known[len(known) - since :]


def _alarm(fix: Restrict, why: str) -> Finding:
    return KEY_MODE.found(fix.file, f"{fix.reason}; {why}", remedy="find out what changes it: auditctl -w FILE -p a")
