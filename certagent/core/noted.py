"""The snapshot after something was recorded that changes no file and no process: a part of predict.py."""

from dataclasses import replace
from datetime import datetime

from certagent.core.actions import (
    Adopt,
    AskWindow,
    AssumeLoaded,
    EndWords,
    Expose,
    Quarantine,
    RecordProof,
    RecordScope,
    RejectCommand,
)
from certagent.core.facts import Adopted, Attempt, History, Loaded, Snapshot
from certagent.core.requests import fulfilled
from certagent.core.rotating import left_after

Note = Expose | RecordScope | Adopt | AssumeLoaded | RecordProof | AskWindow | RejectCommand | EndWords | Quarantine


def noted(snapshot: Snapshot, action: Note, now: datetime) -> Snapshot:  # noqa: PLR0911 - one arm per action
    """Given a snapshot and what is to be recorded, return the snapshot after that."""
    match action:
        case Expose():
            return replace(snapshot, exposures=action.exposure.among(snapshot.exposures))
        case RecordScope():
            return replace(snapshot, scopes={**snapshot.scopes, action.stem: action.uris})
        case Adopt():
            adopted = Adopted(action.stem, action.fingerprint, action.want, now)
            return replace(snapshot, adopted=(*snapshot.adopted, adopted))
        case AssumeLoaded():
            known = Attempt("reload", action.process, now, "presumed", material=action.material)
            return tried(_loaded(snapshot, action.material), known)
        case RecordProof():
            known = Attempt("reload", action.process, now, "ok", material=action.material)
            return tried(_loaded(snapshot, action.material), known)
        case AskWindow():
            why, about = "predicted: the CA names no other window", action.fingerprint
            return tried(snapshot, Attempt("window", action.stem, now, "refused", why, fingerprint=about))
        case RejectCommand():
            why, about = action.reason, action.command
            return tried(snapshot, Attempt("command", action.stem, now, "refused", why, command=about))
        case EndWords():
            return replace(snapshot, words=left_after(snapshot.words, action))
        case Quarantine():
            return replace(snapshot, quarantined=snapshot.quarantined | {action.fingerprint})


def tried(snapshot: Snapshot, attempt: Attempt) -> Snapshot:
    """The attempt is on record; an operator's command that it carries out is done."""
    waiting = tuple(r for r in snapshot.requests if not fulfilled(r, (attempt,)))
    return replace(snapshot, attempts=History((*snapshot.attempts, attempt)), requests=waiting)


def _loaded(snapshot: Snapshot, material: str) -> Snapshot:
    """The files on disk are saved as those that a process has loaded."""
    kept = tuple(found for found in snapshot.loaded if found.material != material)
    pairs = tuple(replace(p, key=None) for p in snapshot.live.loaded)
    return replace(snapshot, loaded=(*kept, Loaded(material, pairs)))
