"""Scan a certs-dir, safely, into facts; cached by inode, size, mtime and ctime.

Anyone who may write the directory may put a FIFO, a device, a link to /etc/shadow or an endless file there. So: lstat first, open only regular files,
by directory fd, without following, without blocking, and read one mebibyte at most. Rejected: opening first and looking afterwards (a FIFO blocks, a zero
device ends the process), and os.path functions (they follow).
"""

import errno
import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from certagent.core import names
from certagent.core.facts import CertFile, Directory, File, FileKind, KeyFile, Leaf, Pair, Trust
from certagent.core.names import Name, Role
from certagent.core.policy import bundle_of
from certagent.host import x509

LIMIT = 1 << 20
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
KINDS: dict[int, FileKind] = {
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
AREA = ".certagent"
USAGE = {Role.CLIENT: "client", Role.TENANT: "client", Role.TENANT_SIGNING: "any"}


class IrregularFileError(OSError):
    """Not a regular file, or larger than the limit: not read."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found."""

    directory: Directory
    pairs: tuple[Pair, ...] = ()
    strangers: tuple[File, ...] = ()


def read_file(directory: int, name: str, limit: int = LIMIT) -> bytes:
    """Given a directory fd and a name in it, return the bytes of a regular file. Raises OSError, IrregularFileError."""
    fd = os.open(name, OPEN_FILE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IrregularFileError(errno.EINVAL, "not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(fd)
    if len(data) > limit:
        raise IrregularFileError(errno.EFBIG, f"larger than {limit} bytes")
    return data


def read_live(path: str, name: str) -> bytes:
    """The bytes of one live file of a certs-dir. Raises OSError."""
    fd = os.open(path, OPEN_DIRECTORY)
    try:
        return read_file(fd, name)
    finally:
        os.close(fd)


def file_fact(name: str, info: os.stat_result) -> File:
    """An lstat as a fact."""
    kind = KINDS.get(stat.S_IFMT(info.st_mode), "device")
    return File(
        printable(name),
        kind,
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        info.st_size,
        info.st_dev,
        info.st_ino,
        info.st_mtime_ns,
        info.st_ctime_ns,
        info.st_nlink,
    )


def printable(name: str) -> str:
    """A file name that is safe to log: undecodable bytes and control characters escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


Mark = tuple[int, int, int, int, int]


class Scanner:
    """Scans one directory again and again; an unchanged file is not opened twice."""

    def __init__(self) -> None:
        """Everything is new to a new scanner."""
        self._seen: dict[tuple[str, Mark], CertFile | KeyFile] = {}
        self._trust: dict[tuple[str, str, str, int], str | None] = {}
        self._last: tuple[object, Scan] | None = None

    def scan(self, path: str) -> Scan:
        """Look at the directory. A problem of the directory is part of the fact, never raised."""
        try:
            fd = os.open(path, OPEN_DIRECTORY)
        except OSError as error:
            gone = error.errno in {errno.ENOENT, errno.ENOTDIR}
            return Scan(Directory(path, exists=not gone, problem=None if gone else error.strerror))
        try:
            return self._scan(path, fd)
        except OSError as error:
            return Scan(Directory(path, exists=True, problem=error.strerror))
        finally:
            os.close(fd)

    def _scan(self, path: str, fd: int) -> Scan:
        entries = []
        links = {}
        with os.scandir(fd) as found:
            for entry in found:
                try:
                    entries.append((entry.name, entry.stat(follow_symlinks=False)))
                    if entry.is_symlink():
                        links[entry.name] = os.readlink(entry.name, dir_fd=fd)
                except FileNotFoundError:
                    continue
        hour = int(datetime.now(UTC).timestamp()) // 3600
        mark = (hour, os.fstat(fd).st_ino, sorted((n, s.st_ino, s.st_ctime_ns, s.st_mtime_ns, s.st_size, s.st_mode, s.st_uid, s.st_gid) for n, s in entries))
        directory = _directory(path, fd, entries, links)
        if self._last is not None and self._last[0] == mark:
            return replace(self._last[1], directory=directory)
        pairs, strangers = self._sort(fd, entries)
        scan = Scan(directory, self._trusted(fd, pairs), tuple(strangers))
        self._last = (mark, scan)
        return scan

    def _sort(self, fd: int, entries: list[tuple[str, os.stat_result]]) -> tuple[list[Pair], list[File]]:
        certs: dict[Name, CertFile] = {}
        keys: dict[Name, KeyFile] = {}
        strangers = []
        fresh: dict[tuple[str, Mark], CertFile | KeyFile] = {}
        for name, info in sorted(entries, key=lambda e: e[0]):
            if not name.endswith((".crt", ".key")) or stat.S_ISDIR(info.st_mode) and name == AREA:
                continue
            parsed = names.parse(name[:-4])
            if isinstance(parsed, names.Unknown):
                strangers.append(file_fact(name, info))
            elif name.endswith(".crt"):
                certs[parsed] = self._cert(fd, name, info, fresh)
            else:
                keys[parsed] = self._key(fd, name, info, fresh)
        self._seen = fresh
        pairs = [Pair(n, certs.get(n), keys.get(n)) for n in sorted({*certs, *keys}, key=lambda n: n.stem)]
        return pairs, strangers

    def _cert(self, fd: int, name: str, info: os.stat_result, fresh: dict[tuple[str, Mark], CertFile | KeyFile]) -> CertFile:
        key = (name, (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
        known = self._seen.get(key)
        fact = known if isinstance(known, CertFile) else _read_cert(fd, name, file_fact(name, info))
        fresh[key] = fact
        return fact

    def _key(self, fd: int, name: str, info: os.stat_result, fresh: dict[tuple[str, Mark], CertFile | KeyFile]) -> KeyFile:
        key = (name, (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
        known = self._seen.get(key)
        fact = known if isinstance(known, KeyFile) else _read_key(fd, name, file_fact(name, info))
        fresh[key] = fact
        return fact

    def _trusted(self, fd: int, pairs: list[Pair]) -> tuple[Pair, ...]:
        """Each leaf with what its chain builds to; verified once for the same bytes and hour."""
        bundles = {p.name.stem: p for p in pairs if p.name.is_bundle and p.leaf}
        pem = {stem: read_file(fd, f"{stem}.crt") for stem in bundles}
        return tuple(p if p.name.is_bundle or p.leaf is None else replace(p, trust=self._trust_of(fd, p, p.leaf, bundles, pem)) for p in pairs)

    def _trust_of(self, fd: int, pair: Pair, leaf: Leaf, bundles: dict[str, Pair], pem: dict[str, bytes]) -> Trust:
        stem = bundle_of(pair.name, frozenset(bundles))
        bundle = bundles.get(stem)
        if bundle is None or bundle.cert is None or pair.cert is None:
            return Trust(stem, f"there is no {stem}.crt to verify it by")
        now = datetime.now(UTC)
        key = (pair.cert.digest, bundle.cert.digest, pair.name.role.value, int(now.timestamp()) // 3600)
        if key not in self._trust:
            if len(self._trust) > 4 * len(bundles) * 10_000:
                self._trust.clear()
            at = min(max(now, leaf.not_before), leaf.not_after)
            self._trust[key] = x509.verify_chain(read_file(fd, f"{pair.name.stem}.crt"), pem[stem], USAGE.get(pair.name.role, "server"), at)
        return Trust(stem, self._trust[key])


def _read_cert(fd: int, name: str, file: File) -> CertFile:
    if file.kind != "file" or file.size > LIMIT:
        return CertFile(file, "", None, (), _irregular(file), "irregular")
    try:
        data = read_file(fd, name)
    except OSError as error:
        return CertFile(file, "", None, (), f"cannot be read: {error.strerror}", "irregular")
    digest = sha256(data).hexdigest()
    try:
        first, *rest = x509.parse_certificates(data)
    except x509.X509Error as error:
        return CertFile(file, digest, None, (), str(error), "empty" if error.kind == "empty" else "unparsable")
    return CertFile(file, digest, first, tuple(rest))


def _read_key(fd: int, name: str, file: File) -> KeyFile:
    if file.kind != "file" or file.size > LIMIT:
        return KeyFile(file, "", None, "", _irregular(file), "irregular")
    if name == "ca.key":
        return KeyFile(file, "", None)
    try:
        data = read_file(fd, name)
    except OSError as error:
        return KeyFile(file, "", None, "", f"cannot be read: {error.strerror}", "irregular")
    digest = sha256(data).hexdigest()
    try:
        spki, kind = x509.parse_key(data)
    except x509.X509Error as error:
        return KeyFile(file, digest, None, "", str(error), "unparsable")
    return KeyFile(file, digest, spki, kind)


def _irregular(file: File) -> str:
    return f"larger than {LIMIT} bytes: not read" if file.kind == "file" else f"a {file.kind}, not a regular file: not read, never followed"


def _directory(path: str, fd: int, entries: list[tuple[str, os.stat_result]], links: dict[str, str]) -> Directory:
    info = os.fstat(fd)
    foreign = None
    if "..data" in links:
        foreign = "its files are links through ..data, as Kubernetes writes them"
    else:
        mounted = [n for n, s in entries if n.endswith((".crt", ".key")) and s.st_dev != info.st_dev]
        if mounted:
            foreign = f"{printable(mounted[0])} is a mount of its own"
    return Directory(path, True, info.st_dev, info.st_ino, info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), foreign, _interrupted(fd))


def _interrupted(fd: int) -> bool:
    try:
        os.stat(f"{AREA}/intent", dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True
