"""Whether a path can be followed: nobody but root and the agent's user could have put something else there.

As OpenSSH's StrictModes: each component of the way, links included, belongs to one of them, and no other user may write
it. What passes cannot be exchanged between this look and the opening, so the path is opened by its name afterwards.
"""

import os
import shlex
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from certagent.posix.closing import close
from certagent.posix.openat import Component, End, walked
from certagent.posix.owner import name_of

GROUP, OTHERS = stat.S_IWGRP, stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A component that another user could change: the clause, the command that ends it, and whose it is."""

    clause: str
    command: str
    uid: int  # its owner

    def __str__(self) -> str:
        return f"{self.clause}; {self.command}"


def distrust(path: str, others: Iterable[int] = ()) -> str:
    """Which component another user could have changed, in a sentence with the remedy; "": none. Raises OSError.

    `others`: uids that are trusted in addition to root's and the agent's. The path need not be absolute.
    """
    end = followed(path)
    close(end.fd)
    return str(flaw(end.way, frozenset({0, os.geteuid(), *others})) or "")


def flaw(way: Iterable[Component], trusted: frozenset[int]) -> Flaw | None:
    """Given the components of a path and who is trusted, return what is wrong with the first bad one; None: nothing.

    A sticky directory protects what is in it by the owners of that. Root's own group (gid 0) is root. What is mounted
    read-only cannot be written whatever its mode says, as in the volumes of Kubernetes.
    """
    return next((found for one in way if (found := _flaw(one, trusted, sticky=True))), None)


def shared(way: tuple[Component, ...]) -> Flaw | None:
    """Given the way to a directory that is to be changed, return who else than root may change it, or what leads there.

    That the directory itself is sticky is no protection: others may put something into it.
    """
    root = frozenset({0})
    return flaw(way, root) or _flaw(way[-1], root, sticky=False)


def _flaw(one: Component, trusted: frozenset[int], *, sticky: bool) -> Flaw | None:
    shown = shlex.quote(one.path)
    if one.uid not in trusted:
        clause = f"{one.path} belongs to {name_of(one.uid)}, who could change it"
        return Flaw(clause=clause, command=f"chown root {shown}", uid=one.uid)
    writers = one.mode & (OTHERS | (GROUP if one.gid or one.listed else 0))
    protected = sticky and stat.S_ISDIR(one.mode) and one.mode & stat.S_ISVTX
    if not writers or one.fixed or stat.S_ISLNK(one.mode) or protected:
        return None
    if one.listed:
        clause = f"an access control list of {one.path} lets others write it"
        return Flaw(clause=clause, command=f"setfacl -b {shown}", uid=one.uid)
    who = "everybody" if writers & OTHERS else "its group"
    return Flaw(clause=f"{who} may write {one.path}", command=f"chmod go-w {shown}", uid=one.uid)


def followed(path: str) -> End:
    """The end of a path and the way to it, each component by the fd of the one before. Raises OSError."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        return walked(root, os.path.abspath(path), in_root=True)
    finally:
        close(root)
