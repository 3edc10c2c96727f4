"""What stands at the path of a control socket: why nobody answers there, or why the agent cannot listen there."""

import errno
import os
import stat
from shlex import quote

from certagent.posix.owner import name_of
from certagent.posix.rights import lacking, may, nearest, shown

WRITERS = stat.S_IWGRP | stat.S_IWOTH


def silence(path: str, agent: int | None) -> str:
    """Given a socket that nobody answers at, and the agent's user (None: not known), return the sentence."""
    why = _unusual(path, agent)
    return f"no agent answers at {path}" + (f" ({why})" if why else "")


def hidden(path: str) -> tuple[str, str]:
    """Given a socket that the kernel does not let us connect to, return what is said of it, and the remedy."""
    me, folder = name_of(os.geteuid()), os.path.dirname(path)
    try:
        uid = os.stat(path).st_uid
        why = f"{me} may not connect to {path} ({shown(path)})"
    except OSError:
        lack = lacking(path)
        why = lack.clause if lack else f"{me} may not look into {folder}"
        uid = 0
    who = "root" if uid == 0 else f"root or as {name_of(uid)}"
    return f"whether an agent runs is not known: {why}", f"run this as {who}"


def unusable(path: str, error: OSError) -> str:
    """Given why the agent cannot make its socket, or remove an old one, return the clause, with the remedy."""
    folder = os.path.dirname(path)
    if error.errno == errno.EROFS:
        return f"{folder} is read-only; mount it writable (ReadWritePaths= of the unit), or set agent.socket"
    if error.errno not in {errno.EACCES, errno.EPERM}:
        return error.strerror or str(error)
    me = os.geteuid()
    try:
        if (uid := os.lstat(path).st_uid) != me:
            remedy = "stop that user's agent; if none runs, remove the socket"
            return f"another user's socket is there: it belongs to {name_of(uid)}; {remedy}"
    except OSError:
        pass  # there is none, or this process may not look
    existing = nearest(folder)
    lack = lacking(folder, write=True) or lacking(existing, write=True)
    if lack is None:
        return f"{error.strerror}; let {name_of(me)} own {folder}, or set agent.socket"
    absent = existing != folder and may(existing, os.X_OK)
    command = f"install -d -o {name_of(me)} {quote(folder)}" if absent else lack.command
    return f"{lack.clause}; {command}, or set agent.socket"


def _unusual(path: str, agent: int | None) -> str:
    """What is out of the ordinary where nobody answers; "" for a socket that is only not there."""
    folder = os.path.dirname(path)
    try:
        info = os.lstat(path)
    except NotADirectoryError:
        return f"{folder} is not a directory"
    except FileNotFoundError:
        return _without(folder, agent)
    except OSError:
        return ""
    return _left(info)


def _left(info: os.stat_result) -> str:
    """Given what is where the socket should be, and does not answer, return what it is."""
    if stat.S_ISLNK(info.st_mode):
        return "a symbolic link is there, no socket; remove it"
    if not stat.S_ISSOCK(info.st_mode):
        return "what is there is not a socket; remove it"
    return f"the socket there, which belongs to {name_of(info.st_uid)}, is one that an agent left when it died"


def _without(folder: str, agent: int | None) -> str:
    """Whether the agent could make its socket in a directory that has none."""
    try:
        info = os.stat(folder)
    except OSError:
        return ""
    return _closed_to(folder, info, agent, os.geteuid())


def _closed_to(folder: str, info: os.stat_result, agent: int | None, me: int) -> str:
    """Given a directory without a socket, and the users of the agent and of this process, return why none is made."""
    if agent in {0, info.st_uid} or info.st_uid == me or info.st_mode & WRITERS:
        return ""
    here = f"there is no socket, and {folder} belongs to {name_of(info.st_uid)}"
    if agent is None:
        return "" if me == 0 else here
    who = name_of(agent)
    return f"{here}, so {who} cannot listen there: chown {who} {quote(folder)}"
