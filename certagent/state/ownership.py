"""Whose state it is: what another user made is not taken over.

Who could put a CA, a ledger or an account's key where the agent keeps its own would choose what the agent issues and
what it remembers. The owner of a file is the kernel's word on who made it; the units give each agent a directory in
one that only root can write, so that nobody can make one before.
"""

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress

from certagent.posix.errors import HostError
from certagent.posix.owner import name_of
from certagent.posix.rights import lacking

Entry = tuple[str, int]  # a path, and the uid of its owner
LEDGER = "ledger.db"  # in the state directory
AUTHORITIES = "authority"  # a directory of one file for each authority


def refuse_foreign(state_dir: str) -> None:
    """HostError where another user made the state directory or what the agent keeps there; root may own the directory.

    Raises OSError where it cannot be examined.
    """
    own = os.geteuid()
    if problem := foreign_directory(state_dir, os.stat(state_dir).st_uid, own) or foreign(_entries(state_dir), own):
        raise HostError(problem)


def agent_of(state_dir: str) -> int:
    """The uid of the agent whose state directory that is: its owner, and in one of root's the owner of the ledger.

    Raises OSError.
    """
    owner = os.stat(state_dir).st_uid
    with suppress(FileNotFoundError, PermissionError):
        return owner or os.stat(os.path.join(state_dir, LEDGER), follow_symlinks=False).st_uid
    return owner


def agent_there(state_dir: str) -> int | None:
    """The same, and None where no agent has run yet or its directory cannot be examined."""
    with suppress(OSError):
        return agent_of(state_dir)
    return None


def closed(path: str, error: Exception, *, write: bool) -> str:
    """Given a state directory, or a file in it, and why this user cannot use it, return the clause with the remedy.

    It names whose agent's it is, and the command that gives it to this user.
    """
    said = error.strerror if isinstance(error, PermissionError) else str(error)
    state_dir = path if os.path.isdir(path) else os.path.dirname(path)
    me, agent = name_of(os.geteuid()), agent_there(state_dir)
    other = "the agent's user" if agent in {None, os.geteuid()} else name_of(agent or 0)
    lack = lacking(state_dir, write=write) or lacking(path, write=write)
    if lack is None:
        remedy = f"run this as {other}" if isinstance(error, PermissionError) else "repair it or move it away"
        return f"{said}; {remedy}"
    command = lack.command if lack.command.startswith("chmod") else f"chown -R {me} {shlex.quote(state_dir)}"
    return f"{said}: {lack.clause}; run this as {other}, or, where the agent runs as {me}, {command}"


def foreign_directory(path: str, uid: int, own: int) -> str | None:
    """Given a state directory, its owner and the agent's user, return why it is not used, or None."""
    if uid in {own, 0}:
        return None
    return _problem(path, uid, own)


def foreign(entries: Iterable[Entry], own: int) -> str | None:
    """Given what is in a state directory and the agent's user, return why it is not used, or None."""
    return next((_problem(path, uid, own) for path, uid in entries if uid != own), None)


def _problem(path: str, uid: int, own: int) -> str:
    remedy = f"run the agent as {name_of(uid)}, or move it out of the way: mv {shlex.quote(path)}{{,.foreign}}"
    return f"cannot use {path}: {name_of(uid)} made it, and this agent runs as {name_of(own)}; {remedy}"


def _entries(state_dir: str) -> Iterator[Entry]:
    """What the agent itself keeps there; a directory of it with all that is in it. An embedded CA judges itself."""
    for name in filter(kept_by_agent, sorted(os.listdir(state_dir))):
        path = os.path.join(state_dir, name)
        inside = [os.path.join(path, row) for row in os.listdir(path)] if name == AUTHORITIES else []
        yield from map(_owned, (*inside, path))


def _owned(path: str) -> Entry:
    return path, os.lstat(path).st_uid


def kept_by_agent(name: str) -> bool:
    """Whether a name in the state directory is one that the agent itself makes: its ledger, lock, authorities."""
    return name in {AUTHORITIES, "lock"} or name.startswith("ledger.db")
