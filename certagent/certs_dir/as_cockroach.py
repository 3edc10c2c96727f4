"""Read a certs-dir as cockroach does: `stat`, not `lstat`, links followed, with the rights of the user it runs as.

Only `certagent check` uses it, and changes nothing; the agent never follows a link out of the directory. A link may
lead to anything: each name is examined before it is opened, opened without blocking, examined again, and read up to a
limit. The kernel resolves the paths and links of a process's directory in the root of that process. Where we are root,
a child that has become the user opens each of them and hands the descriptor over. Rejected: chroot into that root,
which only root can do, and which an exception would leave the program in.
"""

import errno
import json
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import Literal

from certagent import x509
from certagent.certs_dir import system_roots
from certagent.certs_dir.budget import LIMITS, sentence
from certagent.certs_dir.reading import file_fact, read_fd
from certagent.certs_dir.scanner import Entry, Scan, directory_fact, examined, unreadable
from certagent.certs_dir.verify import store_of, trust
from certagent.core import names
from certagent.core.facts import CertFile, Directory, FileKind, KeyFile, Pair
from certagent.core.names import Name
from certagent.posix.as_user import apart, becomes_other, forked
from certagent.posix.closing import close
from certagent.posix.errors import IrregularFileError
from certagent.posix.openat import IN_ROOT, open_within

LIMIT = 4 << 20  # of one file; the bundle of every CA the browsers know is 0.2 MiB
OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
LOOK = os.O_PATH | os.O_CLOEXEC
LONGEST = 1 << 16  # bytes of a question: a path has 4 KiB at most
AGAIN = 8  # times that a path whose directories are being renamed is resolved again


@dataclass(frozen=True, slots=True)
class Runner:
    """The user that cockroach runs as; `groups` None: those of the system's database."""

    uid: int
    gid: int
    groups: tuple[int, ...] | None = None

    @property
    def user(self) -> tuple[int, int]:
        """Its uid and gid."""
        return self.uid, self.gid


class Place:
    """Where paths are resolved: our own root, or that of a process; and with whose rights."""

    def __init__(self, runner: Runner, root: str = "") -> None:
        """`root` is a directory such as /proc/PID/root, "" for our own. Raises OSError."""
        self._root = os.open(root, LOOK | os.O_DIRECTORY) if root else -1
        self._opener: socket.socket | None = None
        if becomes_other(runner.user):
            self._opener, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._child = forked(runner.user, partial(self._serve, theirs), runner.groups)

    def close(self) -> None:
        """Close the root, and end the child."""
        if self._root >= 0:
            close(self._root)
        if self._opener is not None:
            self._opener.close()
            os.waitpid(self._child, 0)

    def open(self, path: str, flags: int) -> int:
        """Open an absolute path, links followed. Raises OSError."""
        if self._opener is None:
            return self._opened(path, flags)
        self._opener.send(json.dumps([path, flags]).encode())
        code, fds, _flags, _address = socket.recv_fds(self._opener, LONGEST, 1)
        if not fds:
            number = int(code or errno.EIO)
            raise OSError(number, os.strerror(number))
        return fds[0]

    def _serve(self, asked: socket.socket) -> None:
        """In the child: open what is asked for, until the parent is gone."""
        if self._opener is not None:
            self._opener.close()
        while question := asked.recv(LONGEST):
            try:
                fd = self._opened(*json.loads(question))
            except OSError as error:
                asked.send(str(error.errno or errno.EIO).encode())
                continue
            socket.send_fds(asked, [b"0"], [fd])
            close(fd)

    def _opened(self, path: str, flags: int) -> int:
        if self._root < 0:
            return os.open(path, flags)
        for _ in range(AGAIN):
            try:
                return open_within(self._root, path, flags, IN_ROOT)
            except BlockingIOError:
                continue
        raise OSError(errno.EAGAIN, "its directories are being renamed")

    def stat(self, path: str) -> os.stat_result:
        """The file at the end of the path; nothing is opened. Raises OSError."""
        fd = self.open(path, LOOK)
        try:
            return os.fstat(fd)
        finally:
            close(fd)

    def read(self, path: str) -> bytes:
        """The bytes of a regular file that is not too large. Raises OSError, IrregularFileError."""
        if not stat.S_ISREG(self.stat(path).st_mode):
            raise IrregularFileError(errno.EINVAL, "not a regular file")
        return read_fd(self.open(path, OPEN), LIMIT)


def load(
    path: str, now: datetime, runner: Runner, root: str = "", *, configured_roots: str = "", split: bool = False
) -> Scan:
    """Given an absolute certs-dir in a root, return what cockroach finds there. A problem is part of the fact.

    `configured_roots`: the file of roots for `ui`, "" for the system's. `split`: `client.node` is configured.
    """
    try:
        place = Place(runner, root)
    except OSError as error:
        return Scan(Directory(path, exists=True, problem=error.strerror))
    try:
        try:
            loaded = _load(place, path)
        except OSError as error:
            why = partial(unreadable, path, error, here=not root)
            return Scan(Directory(**apart(runner.user, lambda: asdict(why()), runner.groups)))
        roots = cache(lambda: _roots_in(place) if root else system_roots.load(configured_roots))
        return replace(loaded.scan, pairs=_verified(loaded, roots, now, split=split))
    finally:
        place.close()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scan, and the bytes of its certificates by stem."""

    scan: Scan
    pem: dict[str, bytes]


def _load(place: Place, path: str) -> Loaded:
    entries, directory = _listed(place, path)
    names_of = [(entry, _name_of(entry)) for entry in entries]
    known = [(entry, name) for entry, name in names_of if name is not None]
    pem: dict[str, bytes] = {}
    certs = {name: _cert(place, path, entry, pem) for entry, name in known if entry[0].endswith(".crt")}
    keys = {
        name: _key(place, path, entry, bundle=name.is_bundle) for entry, name in known if not entry[0].endswith(".crt")
    }
    pairs = [Pair(n, certs.get(n), keys.get(n)) for n in sorted({*certs, *keys}, key=lambda n: n.stem)]
    unmanaged_files = tuple(file_fact(*entry) for entry, name in names_of if name is None)
    loose = [e for e, name in names_of if name is None and e[0].endswith(".key") and not stat.S_ISDIR(e[1].st_mode)]
    loose_keys = tuple(_key(place, path, entry, bundle=False) for entry in loose)
    return Loaded(Scan(directory, tuple(pairs), unmanaged_files, loose_keys), pem)


def _listed(place: Place, path: str) -> tuple[list[Entry], Directory]:
    fd = place.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        entries, beyond = examined(fd, frozenset())
        return entries, replace(directory_fact(path, fd), too_large=sentence(beyond, LIMITS))
    finally:
        close(fd)


def _name_of(entry: Entry) -> Name | None:
    """The parsed name; None where the loader skips the entry: an unknown or refused name, or a directory."""
    parsed = names.parse(entry[0][:-4])
    return None if isinstance(parsed, names.Unknown) or stat.S_ISDIR(entry[1].st_mode) else parsed


def _cert(place: Place, path: str, entry: Entry, pem: dict[str, bytes]) -> CertFile:
    name, info = entry
    try:
        fact = file_fact(name, place.stat(f"{path}/{name}"))
        data = place.read(f"{path}/{name}")
    except OSError as error:
        problem = unread(error, _kind(place, f"{path}/{name}"))
        return CertFile(file_fact(name, info), "", None, (), problem, _unread_kind(error))
    pem[name[:-4]] = data
    return x509.cert_file(fact, data)


def _key(place: Place, path: str, entry: Entry, *, bundle: bool) -> KeyFile:
    """The key as `stat` sees it; a CA's key is never read."""
    name, info = entry
    fact = file_fact(name, info)
    try:
        fact = file_fact(name, place.stat(f"{path}/{name}"))
        if bundle:
            return KeyFile(fact, "", None)
        data = place.read(f"{path}/{name}")
    except OSError as error:
        return KeyFile(fact, "", None, "", unread(error, _kind(place, f"{path}/{name}")), _unread_kind(error))
    return x509.key_file(fact, data)


def _kind(place: Place, path: str) -> FileKind:
    """The kind of file at the end of a path; "file" where it can no longer be examined."""
    try:
        return file_fact(path, place.stat(path)).kind
    except OSError:
        return "file"


def _unread_kind(error: OSError) -> Literal["irregular", "unreadable"]:
    """Whether a name leads to something other than a regular file, or to one that this user may not read."""
    irregular = isinstance(error, IrregularFileError) or error.errno == errno.ENOENT
    return "irregular" if irregular else "unreadable"


def unread(error: OSError, kind: FileKind) -> str:
    """Given why a name cannot be read, and its kind, return the sentence; a FIFO or a device is named."""
    if error.errno == errno.ENOENT:
        return "a broken link"
    if not isinstance(error, IrregularFileError):
        return f"cannot be read: {error.strerror}"
    what = f"the file is {error.strerror}" if kind == "file" else f"this is a {kind}, not a regular file"
    return f"{what}, so it is not read"


def _roots_in(place: Place) -> system_roots.Roots:
    """The system's roots in the root of a process."""
    for path in system_roots.PLACES:
        try:
            return system_roots.Roots((path, 0, 0, 0), x509.usable(place.read(path)))
        except OSError:
            continue
    return system_roots.Roots(system_roots.UNREAD, b"")


def _verified(
    loaded: Loaded, roots: Callable[[], system_roots.Roots], now: datetime, *, split: bool
) -> tuple[Pair, ...]:
    """The pairs, each certificate with the verdict on its chain."""
    pairs, pem = loaded.scan.pairs, loaded.pem
    store = store_of(pairs, lambda file: pem[file.removesuffix(".crt")], roots=roots, split=split)
    judged = {p.name: trust(p.name, p.leaf, pem[p.name.stem], store, now) for p in pairs if p.leaf}
    return tuple(replace(p, trust=judged.get(p.name)) for p in pairs)
