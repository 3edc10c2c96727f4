"""Scan one directory repeatedly; a file that did not change is neither opened nor verified again."""

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from operator import eq
from typing import TypeVar

from certagent.certs_dir.access import Denied, denied
from certagent.certs_dir.budget import LIMITS, Limits, ordered, sentence
from certagent.certs_dir.mounts import mount_below
from certagent.certs_dir.reading import LIMIT, file_fact, inside_fact, printable, read_cert, read_key
from certagent.certs_dir.verdicts import Verdicts
from certagent.core import names
from certagent.core.facts import CertFile, Directory, File, KeyFile, ObserveOnly, Pair, Pairs, Why
from certagent.core.names import Name
from certagent.posix.closing import close
from certagent.posix.directory import open_directory
from certagent.posix.flags import fixed

AREA = ".certagent"
F = TypeVar("F", CertFile, KeyFile)
Entry = tuple[str, os.stat_result]
ENDINGS = (".crt", ".key")
OTHERS = 0o077
Mark = tuple[str, int, int, int, int, int, int, int, int]
Marked = tuple[Entry, Mark]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found."""

    directory: Directory
    pairs: tuple[Pair, ...] = ()
    unmanaged_files: tuple[File, ...] = ()
    loose_keys: tuple[KeyFile, ...] = ()  # of unmanaged files


def mark_of(entry: Entry) -> Mark:
    """What changes when an entry changes."""
    name, s = entry
    return (name, s.st_dev, s.st_ino, s.st_ctime_ns, s.st_mtime_ns, s.st_size, s.st_mode, s.st_uid, s.st_gid)


class Scanner:
    """Keeps the facts of unchanged files, and the verdicts on unchanged chains."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        """Everything is new to a new scanner."""
        self.first: frozenset[str] = frozenset()  # the stems that the configuration names: examined before others
        self._limits = limits
        self._beyond: frozenset[str] = frozenset()  # names that the last scan did not examine
        self._after = ""  # of very many keys: the last one whose mode was looked at
        self._certs: dict[Mark, CertFile] = {}
        self._keys: dict[Mark, KeyFile] = {}
        self.verdicts = Verdicts(limits.comparisons)
        self._last: tuple[list[Mark], Scan] | None = None

    def scan(self, path: str, now: datetime) -> Scan:
        """Scan the directory. A problem of the directory is part of the fact, never raised."""
        try:
            fd = open_directory(path)
        except OSError as error:
            return Scan(unreadable(path, error))
        try:
            return self._scan(path, fd, now)
        except OSError as error:
            return Scan(Directory(path, exists=True, problem=error.strerror))
        finally:
            close(fd)

    def scan_changed_keys(self, path: str) -> Scan:
        """The keys that changed since the last scan: modes and owners only, nothing is opened."""
        try:
            fd = open_directory(path)
        except OSError:
            return Scan(Directory(path, exists=False))
        try:
            entries = entries_of(fd, self._next_keys(listed(fd, (".key",))))
            return self._glanced(path, fd, [e for e in entries if self._may_have_changed(e)])
        except OSError:
            return Scan(Directory(path, exists=False))
        finally:
            close(fd)

    def _next_keys(self, names: list[str]) -> list[str]:
        """All keys; of more than are examined, that many in turn."""
        if len(names) <= self._limits.files:
            return names
        ahead = sorted(names, key=lambda name: (name <= self._after, name))[: self._limits.files]
        self._after = ahead[-1]
        return ahead

    def _may_have_changed(self, entry: Entry) -> bool:
        """Whether a key was not seen like this before; of one that is not examined, whether others may read it."""
        name, info = entry
        return bool(info.st_mode & OTHERS) if name in self._beyond else mark_of(entry) not in self._keys

    def _glanced(self, path: str, fd: int, entries: list[Entry]) -> Scan:
        parsed = [(names.parse(name[:-4]), file_fact(name, info)) for name, info in entries]
        pairs = tuple(Pair(n, key=KeyFile(file, "", None)) for n, file in parsed if isinstance(n, Name))
        unmanaged_files = tuple(file for n, file in parsed if not isinstance(n, Name))
        return Scan(directory_fact(path, fd), pairs, unmanaged_files)

    def _scan(self, path: str, fd: int, now: datetime) -> Scan:
        if (same := self._unchanged(fd, now)) is not None:
            return replace(same, directory=directory_fact(path, fd))
        entries, beyond = examined(fd, self.first, self._limits)
        self._beyond = frozenset(beyond)
        directory = replace(directory_fact(path, fd), too_large=sentence(beyond, self._limits))
        marks = [mark_of(e) for e in entries]
        if self._last is not None and self._last[0] == marks and self.verdicts.hold(now):
            return replace(self._last[1], directory=directory)
        files, unmanaged = _sorted(zip(entries, marks, strict=True))
        pairs = self._pairs(fd, files, now)
        loose_keys = tuple(self._key(fd, *file) for file in unmanaged if file[0][0].endswith(".key"))
        self._forget_all_but(frozenset(marks))
        directory = replace(directory, too_large="; ".join(filter(None, (directory.too_large, self.verdicts.behind))))
        scan = Scan(directory, pairs, tuple(file_fact(*entry) for entry, _ in unmanaged), loose_keys)
        linked = any(stat.S_ISLNK(info.st_mode) for _, info in entries)  # a link's target changes without its mark
        self._last = None if linked or unread(scan) else (marks, scan)
        return scan

    def _unchanged(self, fd: int, now: datetime) -> Scan | None:
        """What the last scan found, where the same files are there and every verdict still stands.

        Optimised: nothing is kept of a file that did not change. The comparison ends at the first one that did.
        """
        if self._last is None or not self.verdicts.hold(now):
            return None
        (marks, scan), found = self._last, listed(fd)
        if len(found) != len(marks):  # it is another one, or not all are examined
            return None
        self._beyond = frozenset()
        with suppress(FileNotFoundError):
            infos = ((name, os.stat(name, dir_fd=fd, follow_symlinks=False)) for name in found)
            return scan if all(map(eq, map(mark_of, infos), marks)) else None
        return None

    def _pairs(self, fd: int, files: dict[Name, dict[str, Marked]], now: datetime) -> tuple[Pair, ...]:
        """The pairs by name, each certificate with its verdict."""
        order = sorted(files, key=lambda name: (name.stem not in self.first, name.stem))
        basis = {n: self._pair(fd, n, files[n]) for n in order if n.is_bundle or n == names.CLIENT_NODE}
        pairs = (basis.get(name) or self._pair(fd, name, files[name]) for name in order)
        return Pairs(sorted(self.verdicts.of(fd, tuple(basis.values()), pairs, now), key=lambda p: p.name.stem))

    def _pair(self, fd: int, name: Name, files: dict[str, Marked]) -> Pair:
        cert, key = files.get(".crt"), files.get(".key")
        return Pair(name, self._cert(fd, *cert) if cert else None, self._key(fd, *key) if key else None)

    def _cert(self, fd: int, entry: Entry, mark: Mark) -> CertFile:
        if (known := self._certs.get(mark)) is None:
            known = read_cert(fd, entry[0], inside_fact(fd, *entry))
            _keep(self._certs, mark, known)
        return known

    def _key(self, fd: int, entry: Entry, mark: Mark) -> KeyFile:
        if (known := self._keys.get(mark)) is None:
            known = read_key(fd, entry[0], inside_fact(fd, *entry))
            _keep(self._keys, mark, known)
        return known

    def _forget_all_but(self, marks: frozenset[Mark]) -> None:
        self._certs = {mark: fact for mark, fact in self._certs.items() if mark in marks}
        self._keys = {mark: fact for mark, fact in self._keys.items() if mark in marks}


def _sorted(entries: Iterable[Marked]) -> tuple[dict[Name, dict[str, Marked]], list[Marked]]:
    """The files of each pair and bundle, by ending, and those that are part of none."""
    pairs: dict[Name, dict[str, Marked]] = {}
    unmanaged = []
    for file in entries:
        stem, ending = file[0][0][:-4], file[0][0][-4:]
        name = names.parse(stem)
        if isinstance(name, names.Unknown):
            unmanaged.append(file)
        else:
            pairs.setdefault(name, {})[ending] = file
    return pairs, unmanaged


def listed(fd: int, endings: tuple[str, ...] = ENDINGS) -> list[str]:
    """The name of every file with such an ending, sorted."""
    return sorted([name for name in os.listdir(fd) if name.endswith(endings)])


def entries_of(fd: int, names: Iterable[str]) -> list[Entry]:
    """The files of these names, in their order; one that vanishes meanwhile is not there."""
    found = []
    for name in names:
        with suppress(FileNotFoundError):
            found.append((name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
    return found


def examined(fd: int, first: frozenset[str], limits: Limits = LIMITS) -> tuple[list[Entry], list[str]]:
    """The files that are examined, sorted by name, and the names of those that are not, because there is too much.

    `first`: the stems that come before others.
    """
    files = listed(fd)
    known = files if len(files) <= limits.files else ordered(files, first)
    entries, beyond = entries_of(fd, sorted(known[: limits.files])), known[limits.files :]
    if sum(map(_size, entries)) > limits.size:
        by_name = dict(entries)
        sizes = accumulate(_size((name, by_name[name])) for name in ordered(by_name, first))
        ranked = list(zip(ordered(by_name, first), sizes, strict=True))
        beyond = [*(name for name, size in ranked if size > limits.size), *beyond]
        entries = sorted((name, by_name[name]) for name, size in ranked if size <= limits.size)
    return entries, beyond


def _size(entry: Entry) -> int:
    """The bytes that are read of a file: none of one that is too large by itself."""
    return entry[1].st_size if entry[1].st_size <= LIMIT else 0


def unread(scan: Scan) -> bool:
    """Given a scan, return whether a file could not be read, which may have been for a moment."""
    files = (*scan.loose_keys, *(file for pair in scan.pairs for file in (pair.cert, pair.key) if file))
    return any(file.problem_kind == "unreadable" for file in files)


def _keep(facts: dict[Mark, F], mark: Mark, fact: F) -> None:
    """What need not be read again while its mark is the same: no link, and nothing that could not be read."""
    if not stat.S_ISLNK(mark[6]) and fact.problem_kind != "unreadable":
        facts[mark] = fact


def unreadable(path: str, error: OSError, *, here: bool = True) -> Directory:
    """The fact of a directory that is missing, or cannot be read by the effective user; `here`: in our own root."""
    if error.errno == errno.ENOENT:
        return Directory(path, exists=False, problem=_broken(path) if here else None)
    found = denied(path, error.errno) if here else Denied()
    problem = f"{error.strerror}: {found.cause}" if found.cause else error.strerror
    known = Directory(path, exists=True, problem=problem, not_directory=error.errno == errno.ENOTDIR)
    return replace(known, advice=found.advice)


def _broken(path: str) -> str | None:
    """Where a link leads that has no end; None where there is no link."""
    with suppress(OSError):
        return f"it is a link to {os.readlink(path)}, which does not exist"
    return None


def directory_fact(path: str, fd: int) -> Directory:
    """The fact of an open directory."""
    info = os.fstat(fd)
    interrupted, mode = _is_there(fd, f"{AREA}/intent"), stat.S_IMODE(info.st_mode)
    only = _externally_managed(fd)
    found = Directory(path, True, info.st_dev, info.st_ino, info.st_uid, info.st_gid, mode, only, interrupted)
    return replace(found, fixed=fixed(fd), read_only=bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY))


def _externally_managed(fd: int) -> ObserveOnly | None:
    """Why the agent must not replace files of an open directory by a rename; None where it may."""
    if _is_link(fd, "..data"):
        return ObserveOnly(Why.KUBERNETES, "they are links through ..data, as in a Kubernetes volume")
    if (mounted := mount_below(fd)) is not None:
        return ObserveOnly(Why.MOUNT, f"{printable(mounted)} is a mount point, so a rename cannot replace it")
    return None


def _is_link(fd: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _is_there(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True
