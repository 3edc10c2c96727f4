"""The state directory of one agent: made, locked and its ledger opened, now or when it responds."""

import errno
import os
import sqlite3
from contextlib import suppress
from shlex import quote

from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.locks import lock, unlock
from certagent.posix.owner import name_of
from certagent.posix.rights import lacking, may, nearest
from certagent.posix.room import told
from certagent.state.database import Database
from certagent.state.ledger import Ledger
from certagent.state.marking import mark_words
from certagent.state.ownership import LEDGER, closed, refuse_foreign
from certagent.state.patient import PatientDatabase
from certagent.state.renewing import begin_renewing


class StateDirectory:
    """Its lock, and its ledger behind a thread of its own."""

    def __init__(self, path: str) -> None:
        """Touches nothing."""
        self._path, self._lock = path, -1
        self._base = PatientDatabase(path, self._opened)
        self.ledger = Ledger(self._base, os.path.join(path, LEDGER))

    def open(self) -> None:
        """Make, lock and open it, unless it does not respond: then as soon as it does. HostError names the problem."""
        self._base.open()

    def _opened(self) -> Database:
        try:
            return self._prepared()
        except PermissionError as error:
            path = str(error.filename or self._path)
            raise HostError(f"cannot use {path}: {closed(path, error, write=True)}", error.errno) from error
        except OSError as error:
            raise HostError(f"cannot use {self._path}: {told(error, self._path)}", error.errno) from error

    def _prepared(self) -> Database:
        """Raises HostError, OSError."""
        _make(self._path)
        if self._lock < 0:
            self._lock = self._locked()
        ledger = Ledger.writing(os.path.join(self._path, LEDGER))
        with suppress(HostError):  # a full disk: open attempts still count as failed
            ledger.close_interrupted()
        with suppress(sqlite3.Error):  # the same: it is done at the next start
            mark_words(ledger.database)
            begin_renewing(ledger.database, clock())
        return ledger.database

    def _locked(self) -> int:
        """HostError names another agent that holds it, and what to do."""
        try:
            return lock(os.path.join(self._path, "lock"), self._path)
        except HostError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise HostError(f"{error}; stop one of the two, or set another agent.state_dir", error.errno) from error

    def unlock(self) -> None:
        """Let another agent have it, where a thread never ends that holds the lock."""
        if self._lock >= 0:
            unlock(self._lock)


def _make(state_dir: str) -> None:
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        me, there = name_of(os.geteuid()), nearest(state_dir)
        lack = lacking(state_dir) or lacking(there, write=True) if isinstance(error, PermissionError) else None
        command = f"install -d -m 0700 -o {me} {quote(state_dir)}" if may(there, os.X_OK) or not lack else lack.command
        why = f"{error.strerror}: {lack.clause}" if lack else error.strerror
        raise HostError(f"cannot create {state_dir}: {why}; {command}, or set agent.state_dir", error.errno) from error
    if os.statvfs(state_dir).f_flag & os.ST_RDONLY:
        remedy = "mount it writable (ReadWritePaths= of the unit), or set agent.state_dir"
        raise HostError(f"cannot write to {state_dir}: the file system is mounted read-only; {remedy}", errno.EROFS)
    refuse_foreign(state_dir)
