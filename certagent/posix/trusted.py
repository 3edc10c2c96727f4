"""Whether a path can be followed: nobody but root and the agent's user could have put something else there.

As OpenSSH's StrictModes: each component of the way, links included, belongs to one of them, and no other user may write
it. What passes cannot be exchanged between this look and the opening, so the path is opened by its name afterwards.
"""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from certagent.posix.owner import name_of

MOST_LINKS = 40
GROUP, OTHERS = stat.S_IWGRP, stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One directory, link or file on the way of a path."""

    path: str
    uid: int
    gid: int
    mode: int  # with the type, as in st_mode
    fixed: bool = False  # on a file system that is mounted read-only


def distrust(path: str, others: Iterable[int] = ()) -> str:
    """Which component another user could have changed, in a sentence with the remedy; "": none. Raises OSError.

    `others`: uids that are trusted in addition to root's and the agent's. The path need not be absolute.
    """
    return problem_of(components(path), frozenset({0, os.geteuid(), *others}))


def problem_of(way: Iterable[Component], trusted: frozenset[int]) -> str:
    """Given the components of a path and who is trusted, return what is wrong with the first bad one; "": nothing.

    A sticky directory protects what is in it by the owners of that. Root's own group (gid 0) is root. What is mounted
    read-only cannot be written whatever its mode says, as in the volumes of Kubernetes.
    """
    for one in way:
        shown = shlex.quote(one.path)
        if one.uid not in trusted:
            return f"{one.path} belongs to {name_of(one.uid)}, who could change it; chown root {shown}"
        writers = one.mode & (OTHERS | (GROUP if one.gid else 0))
        sheltered = one.fixed or stat.S_ISLNK(one.mode) or (stat.S_ISDIR(one.mode) and one.mode & stat.S_ISVTX)
        if writers and not sheltered:
            who = "everybody" if writers & OTHERS else "its group"
            return f"{who} may write {one.path}; chmod go-w {shown}"
    return ""


def components(path: str) -> tuple[Component, ...]:
    """Every component of a path from / to its end, links followed by hand. Raises OSError."""
    return tuple(_way(os.path.abspath(path)))


def _way(path: str) -> Iterator[Component]:
    at, left, links = "/", path.split("/"), 0
    yield _component(at)
    while left:
        name = left.pop(0)
        if name in {"", ".", ".."}:
            at = os.path.dirname(at) if name == ".." else at
            continue
        found = _component(os.path.join(at, name))
        yield found
        if not stat.S_ISLNK(found.mode):
            at = found.path
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(f"too many links on the way of {path}")
        target = os.readlink(found.path)
        at, left = ("/" if target.startswith("/") else at), [*target.split("/"), *left]


def _component(path: str) -> Component:
    info = os.lstat(path)
    fixed = not stat.S_ISLNK(info.st_mode) and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return Component(path=path, uid=info.st_uid, gid=info.st_gid, mode=info.st_mode, fixed=fixed)
