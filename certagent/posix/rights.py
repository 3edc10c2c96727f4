"""Why this process may not use a path: the first part of the way that stops it, by owner and mode, and the command."""

import grp
import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from shlex import quote

from certagent.posix.owner import name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """A right that is lacking: one clause, and the command that grants it."""

    clause: str
    command: str

    def __str__(self) -> str:
        return f"{self.clause}; {self.command}"


def lacking(path: str, *, write: bool = False) -> Lack | None:
    """Given a path, return what this process may not do on its way or with it.

    None: it may, or the path is not there, or something else than owners and modes prevents it.
    """
    me = name_of(os.geteuid())
    try:
        if part := barrier(os.path.dirname(os.path.abspath(path))):
            return Lack(clause=f"{me} may not enter {part} ({shown(part)})", command=f"chmod o+x {quote(part)}")
        verb = next((verb for verb, right in _rights(path, write=write) if not may(path, right)), None)
        return Lack(clause=f"{me} may not {verb} {path} ({shown(path)})", command=_granting(path, me)) if verb else None
    except OSError:
        return None


def barrier(path: str) -> str | None:
    """The first directory of a path, itself included, that this process may not enter. Raises OSError."""
    parts = (*reversed(PurePosixPath(path).parents), PurePosixPath(path))
    return next((str(p) for p in parts if not may(p, os.X_OK) and os.path.lexists(p)), None)


def nearest(path: str) -> str:
    """The path itself, or the nearest directory above it that this process sees."""
    while not os.path.lexists(path) and path != "/":
        path = os.path.dirname(path)
    return path


def may(path: str | PurePosixPath, right: int) -> bool:
    """Whether this process has a right (os.R_OK, os.W_OK, os.X_OK) on a path."""
    return os.access(path, right, effective_ids=True)


def shown(path: str | PurePosixPath) -> str:
    """The owner and the mode of a path, in words. Raises OSError."""
    info = os.stat(path)
    return f"owner {name_of(info.st_uid)}, mode {stat.S_IMODE(info.st_mode):04o}"


def _rights(path: str, *, write: bool) -> list[tuple[str, int]]:
    directory = [("enter", os.X_OK)] if stat.S_ISDIR(os.stat(path).st_mode) else []
    return [*directory, ("read", os.R_OK), *([("write", os.W_OK)] if write else [])]


def _granting(path: str, me: str) -> str:
    """A directory is given to the agent's user; a file that another user owns may be read by its group."""
    info, named = os.stat(path), quote(path)
    if info.st_uid == os.geteuid():
        return f"chmod u+rw{'x' if stat.S_ISDIR(info.st_mode) else ''} {named}"
    if stat.S_ISDIR(info.st_mode):
        return f"chown {me} {named}"
    return f"chgrp {_group()} {named} && chmod g+r {named}"


def _group() -> str:
    """The name of this process's group, its number where it has none."""
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())
