"""Read one directory entry into bytes and facts, safely for any kind of file."""

import errno
import os
import stat

from certagent import keys, x509
from certagent.core import spelling
from certagent.core.facts import CertFile, File, FileKind, KeyFile
from certagent.core.names import stem_of
from certagent.core.roles import BUNDLES
from certagent.posix.closing import close
from certagent.posix.directory import open_directory
from certagent.posix.errors import IrregularFileError
from certagent.posix.flags import Fixed, fixed
from certagent.posix.openat import BENEATH, NO_MAGICLINKS, open_within

LIMIT = 1 << 20
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
OPEN_LINK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
INSIDE = BENEATH | NO_MAGICLINKS
KINDS: dict[int, FileKind] = {
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def read_fd(fd: int, limit: int = LIMIT) -> bytes:
    """The bytes of a regular file, up to a limit; closes the fd. Raises OSError, IrregularFileError."""
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise IrregularFileError(errno.EINVAL, "not a regular file")
        data = _read(fd, info.st_size, limit)
    finally:
        close(fd)
    if len(data) > limit:
        raise IrregularFileError(errno.EFBIG, f"larger than {limit} bytes")
    return data


def _read(fd: int, size: int, limit: int) -> bytes:
    """Up to the end, or one byte more than the limit; the file may have grown past `size`."""
    data = os.read(fd, min(size, limit) + 1)
    while len(data) <= limit and (more := os.read(fd, limit + 1 - len(data))):
        data += more
    return data


def open_file(directory: int, name: str) -> int:
    """A regular file, or a link that stays inside the directory. Raises OSError."""
    try:
        return os.open(name, OPEN_FILE, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    return open_within(directory, name, OPEN_LINK, INSIDE)


def read_file(directory: int, name: str) -> bytes:
    """Given a directory fd and a name in it, return its bytes. Raises OSError, IrregularFileError."""
    return read_fd(open_file(directory, name))


def read_live(path: str, name: str) -> bytes:
    """The bytes of one live file of a certs-dir. Raises OSError."""
    fd = open_directory(path)
    try:
        return read_file(fd, name)
    finally:
        close(fd)


def read_live_key(path: str, name: str) -> keys.Key:
    """One live key of a certs-dir. Raises OSError."""
    fd = open_directory(path)
    try:
        return keys.Key.read(open_file(fd, name))
    finally:
        close(fd)


def file_fact(name: str, info: os.stat_result, fixed: Fixed = "") -> File:
    """An lstat as a fact; `fixed`: why a rename cannot replace it."""
    return File(
        printable(name),
        KINDS.get(stat.S_IFMT(info.st_mode), "device"),
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        info.st_size,
        info.st_dev,
        info.st_ino,
        info.st_mtime_ns,
        info.st_ctime_ns,
        info.st_nlink,
        fixed,
    )


def inside_fact(directory: int, name: str, info: os.stat_result) -> File:
    """A link that leads to a regular file inside the directory counts as that file; as cockroach's stat has it."""
    if not stat.S_ISLNK(info.st_mode):
        return file_fact(name, info, fixed(directory, name))
    fact = file_fact(name, info)
    try:
        fd = open_within(directory, name, os.O_PATH, INSIDE)
    except OSError:
        return fact
    try:
        target = file_fact(name, os.fstat(fd))
    finally:
        close(fd)
    return target if target.kind == "file" else fact


def printable(name: str) -> str:
    """A file name in the one spelling; it is UTF-8, whatever the locale."""
    return name if name.isascii() and name.isprintable() else spelling.printable(_utf8(name))


def _utf8(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def read_cert(directory: int, name: str, file: File) -> CertFile:
    """The fact of a `.crt` file; a problem is part of it."""
    if file.kind != "file" or file.size > LIMIT:
        return CertFile(file, "", None, (), _irregular(file), "irregular")
    try:
        data = read_file(directory, name)
    except OSError as error:
        return CertFile(file, "", None, (), f"cannot be read: {error.strerror}", "unreadable")
    return x509.cert_file(file, data)


def read_key(directory: int, name: str, file: File) -> KeyFile:
    """The fact of a `.key` file. A CA's key is never read."""
    if file.kind != "file" or file.size > LIMIT:
        return KeyFile(file, "", None, "", _irregular(file), "irregular")
    if stem_of(name) in BUNDLES:
        return KeyFile(file, "", None)
    try:
        key = keys.Key.read(open_file(directory, name))
    except OSError as error:
        return KeyFile(file, "", None, "", f"cannot be read: {error.strerror}", "unreadable")
    return keys.key_file(file, key)


def _irregular(file: File) -> str:
    if file.kind == "file":
        return f"the file is larger than {LIMIT} bytes, so it is not read"
    where = " that leads out of the directory" if file.kind == "symlink" else ""
    return f"this is a {file.kind}{where}, not a regular file, so it is not read"
