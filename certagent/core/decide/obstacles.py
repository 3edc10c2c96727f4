"""What keeps a pair from being installed once it is there: flags of its files, or a swap that failed and was undone.

It is said as soon as it is seen, not only when a renewal is due, and nothing is renamed meanwhile.
"""

from dataclasses import dataclass

from certagent.core.catalogue import INSTALL_BLOCKED
from certagent.core.decide.part import Part, saying
from certagent.core.facts import Attempt, File, Pair, Staged
from certagent.core.findings import Finding, Severity
from certagent.core.obstacles import Fixed, remedy, told
from certagent.core.policy import Want
from certagent.core.view import View

ALARM_AFTER = 3  # failed swaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A file, or the directory, that no rename can replace."""

    file: str
    sentence: str
    remedy: str = ""  # "": the finding about that file says what to do


def part(view: View) -> Part:
    """The findings about the pairs that an authority renews here."""
    wants = [w for w in view.policy.wants if w.issued_in(view.snapshot.directory) and not w.name.is_bundle]
    return saying(found for want in wants for found in _findings(view, want))


def obstacle(view: View, want: Want, staged: Staged | None) -> Obstacle | None:
    """Given what is configured, and what is to be installed once it is there, return what is in its way."""
    directory, live = view.snapshot.directory, view.pair(want.name.stem)
    if directory.fixed:
        return _of(directory.path, directory.path, directory.fixed)
    for file in _replaced(want, live, staged) if live else ():
        if found := _in(directory.path, file):
            return found
    return None


def _replaced(want: Want, live: Pair, staged: Staged | None) -> tuple[File, ...]:
    """The live files that the installation replaces: a key that is used again stays."""
    same = want.reuse_key if staged is None else staged.pair.digests[1] == live.digests[1]
    keys = (live.key.file,) if live.key and not same else ()
    return (*((live.cert.file,) if live.cert else ()), *keys)


def _in(path: str, file: File) -> Obstacle | None:
    if file.kind == "directory":
        return Obstacle(file=file.name, sentence=f"{file.name} is a directory, so it cannot be replaced")
    return _of(file.name, f"{path}/{file.name}", file.fixed) if file.fixed else None


def _of(file: str, path: str, fixed: Fixed) -> Obstacle:
    return Obstacle(file=file, sentence=told(file, fixed), remedy=remedy(path, fixed))


def _findings(view: View, want: Want) -> tuple[Finding, ...]:
    stem = want.name.stem
    staged = next((s for s in view.snapshot.staged if s.pair.name.stem == stem), None)
    found = obstacle(view, want, staged)
    if found is None:
        return _failed(view, stem)
    message = f"{found.sentence}: " + ("a new certificate waits for that" if staged else "no renewal can be installed")
    severity: Severity = "critical" if staged else "warning"
    return (INSTALL_BLOCKED.found(found.file, message, severity, found.remedy),) if found.remedy else ()


def _failed(view: View, stem: str) -> tuple[Finding, ...]:
    """The newest swap, if it failed and nothing was installed since, by whomever."""
    failed, live = view.history.failed_swap(stem), view.pair(stem)
    if failed is None or _came_since(live, failed):
        return ()
    tries = view.history.failed_swaps(stem, failed.fingerprint)
    severity: Severity = "critical" if len(tries) >= ALARM_AFTER else "warning"
    return (INSTALL_BLOCKED.found(f"{stem}.crt", failed.reason, severity),)


def _came_since(live: Pair | None, failed: Attempt) -> bool:
    leaf, file = (live.leaf, live.cert.file) if live and live.cert else (None, None)
    return (leaf is not None and leaf.fingerprint == failed.fingerprint) or (
        file is not None and file.changed > failed.at
    )
