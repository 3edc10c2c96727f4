"""Carry out one action in one certs-dir.

An attempt is recorded in the ledger before it is made; without that record nothing is issued, installed or
signalled. A repair of a mode is the exception: it is counted in memory, so that a full disk never stops it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from certagent.agent.bundling import Bundling
from certagent.agent.jobs.pool import Jobs
from certagent.agent.jobs.work import Work
from certagent.agent.memory import Message
from certagent.authority.errors import AuthorityError
from certagent.certs_dir.loaded import loaded_files
from certagent.certs_dir.swap import Store, restrict
from certagent.core import actions
from certagent.core.facts import Adopted, Attempt, InFlight, Repair
from certagent.events import Log
from certagent.posix.errors import HostError
from certagent.posix.room import told
from certagent.state.exposures import Exposures
from certagent.state.ledger import Ledger
from certagent.state.loaded import LoadedFiles
from certagent.state.scopes import Scopes
from certagent.state.words import Words

Waiting = (
    actions.Issue
    | actions.Reload
    | actions.Probe
    | actions.LookAt
    | actions.Scan
    | actions.AskWindow
    | actions.AskRevocation
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """What one certs-dir is changed by, under one policy."""

    path: str
    ledger: Ledger
    log: Log
    store: Store
    jobs: Jobs
    work: Work
    exposures: Exposures
    scopes: Scopes
    repaired: Callable[[Repair], str | None]  # what the log says of it, None: nothing now
    loaded: LoadedFiles
    console: Callable[[], int]  # the port of the own DB Console; 0: not known
    words: Words

    def asked(self, question: actions.Scan | actions.Probe | actions.AskRevocation) -> Message:
        """Ask processes or responders, in the caller's thread, and return what they answered."""
        match question:
            case actions.Scan():
                return self.work.scan(urgent=question.urgent)
            case actions.Probe():
                return self.work.probe(question)
            case actions.AskRevocation():
                return self.work.revocation(question)

    def act(self, action: actions.Action, now: datetime) -> None:
        """Carry out one action; a failure is logged and recorded, never raised."""
        try:
            self._act(action, now)
        except (HostError, AuthorityError, OSError) as error:
            self._say("action.failed", actions.subject_of(action), told(error, self.path))

    def _act(self, action: actions.Action, now: datetime) -> None:  # noqa: C901, PLR0912 - one arm per action
        match action:
            case actions.Recover():
                self._say("swap.recovered", "", self.store.recover() or "nothing was left to do")
            case actions.Restrict():
                self._restrict(action, now)
            case actions.Expose():
                self.exposures.add(action.exposure)
            case actions.RecordScope():
                self.scopes.add(action.stem, action.uris, now)
            case actions.Install():
                self._install(action, now)
            case actions.RejectStaged():
                self._record(Attempt("install", action.stem, now, "refused", action.reason, retry_at=action.again_at))
                self.store.discard(action.stem, action.reason)
                self._say("pair.refused", action.stem, action.reason)
            case actions.Adopt():
                self.ledger.adopt(self.path, Adopted(action.stem, action.fingerprint, action.want), now)
                self._say("pair.adopted", action.stem, action.reason)
            case actions.AssumeLoaded():
                loaded = Attempt("reload", action.process, now, "presumed", action.reason, material=action.material)
                self._record(loaded)
                self._remember(action.material, now)
            case actions.RecordProof():
                self._record(Attempt("reload", action.process, now, "ok", action.reason, material=action.material))
                self._remember(action.material, now)
                self._say("reload.proven", "", action.reason)
            case actions.Prune():
                bundling = Bundling(path=self.path, ledger=self.ledger, store=self.store, by="this agent")
                bundling.leave(action.want, action.removed, now)
            case actions.Rollback():
                self._rollback(action, now)
            case actions.RejectCommand():
                self._record(Attempt("command", action.stem, now, "refused", action.reason, command=action.command))
                self._say("command.declined", action.stem, f"{action.command}: {action.reason}")
            case actions.EndWords():
                self._end_words(action, now)
            case actions.Quarantine():
                self._quarantine(action, now)
            case _:  # mypy checks that nothing else is left
                self._submit(action, now)

    def _submit(self, action: Waiting, now: datetime) -> None:
        """Begin what may wait for another system, in a thread of its own."""
        match action:
            case actions.Issue():
                self.jobs.submit(InFlight("issue", action.subject, now), lambda: self.work.issue(action))
            case actions.Reload():
                self.jobs.submit(InFlight("reload", action.subject, now), lambda: self.work.reload(action))
            case actions.Probe():
                self.jobs.submit(InFlight("probe", action.subject, now), lambda: self.asked(action))
            case actions.LookAt():
                console = self.console()
                self.jobs.submit(InFlight("look", action.subject, now), lambda: self.work.look(action, console))
            case actions.Scan():
                self.jobs.submit(InFlight("scan", "", now), lambda: self.asked(action))
            case actions.AskWindow():
                self.jobs.submit(InFlight("window", action.stem, now), lambda: self.work.window(action))
            case actions.AskRevocation():
                self.jobs.submit(InFlight("revocation", "", now), lambda: self.asked(action))

    def _say(self, event: str, file: str, reason: str) -> None:
        self.log.emit(event, certs_dir=self.path, file=file, reason=reason)

    def _record(self, attempt: Attempt) -> int:
        """Record an attempt before it is made; durably, or where the disk is full in memory until it is not."""
        return self.ledger.attempt(self.path, attempt)

    def _remember(self, material: str, now: datetime) -> None:
        """Save the files that a process has loaded, if they are still on disk."""
        files = loaded_files(self.path, material)
        if files is not None:
            self.loaded.remember(material, files, now)

    def _restrict(self, action: actions.Restrict, now: datetime) -> None:
        problem = ""
        try:
            restrict(self.path, action.file, action.mode)
        except (HostError, OSError) as error:
            problem = str(error)
        told = self.repaired(Repair(action.file, now, not problem, problem, action.since))
        event = "mode.repair-failed" if problem else "mode.repaired"
        if told is not None:
            self._say(event, action.file, (problem or f"{action.reason}, now {action.mode:04o}") + told)

    def _end_words(self, action: actions.EndWords, now: datetime) -> None:
        ended = Attempt("command", action.bundle, now, "ok", action.reason, command="rotation ended")
        self.words.end(action.bundle, action.root, ended)

    def _quarantine(self, action: actions.Quarantine, now: datetime) -> None:
        self.ledger.quarantine(self.path, action.fingerprint, now)
        self._say("pair.revoked", action.stem, action.reason)

    def _install(self, action: actions.Install, now: datetime) -> None:
        row = self._record(Attempt("install", action.stem, now, fingerprint=action.fingerprint))
        try:
            self.store.install(action.stem, action.digests, action.key_mode, _owner(action))
        except (HostError, OSError) as error:
            self.ledger.finish(row, "failed", told(error, self.path), action.fingerprint)
            raise
        done = f"installed certificate {action.fingerprint[:12]}"
        self.ledger.finish(row, "ok", done, action.fingerprint)
        self._say("pair.installed", action.stem, done)

    def _rollback(self, action: actions.Rollback, now: datetime) -> None:
        row = self._record(Attempt("rollback", action.stem, now, reason=action.reason, fingerprint=action.fingerprint))
        if action.bad:
            self.ledger.quarantine(self.path, action.bad, now)
        try:
            self.store.rollback(action.stem, action.generation, action.key_mode, _owner(action))
        except (HostError, OSError) as error:
            self.ledger.finish(row, "failed", told(error, self.path))
            raise
        self.ledger.finish(row, "ok", action.reason)
        self._say("pair.rolled-back", action.stem, action.reason)


def _owner(action: actions.Install | actions.Rollback) -> tuple[int | None, int | None]:
    """Only root can give a file away; anyone else's files are its own."""
    return (action.uid, action.gid) if os.geteuid() == 0 else (None, None)
