"""A CA that people operate: the request is in an outbox, a person puts the certificate into an inbox.

It needs no worker, because it uses no network. The content of the inbox is still untrusted: only regular files are
read, up to a limit, and no link is followed. An answer is recognised by its key, never by its file name. The request
stays until it is answered; if it disappears, it is written again. Rejected: a fixed file name (people rename files) and
a fixed format (CAs return PEM, DER and PKCS#7).
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

from certagent.authority.backends.dropbox_contents import (
    Contents,
    Exchange,
    contents_of,
    exchange,
    letter,
    roots,
    waiting,
)
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Pending, Request
from certagent.posix.owner import name_of

if TYPE_CHECKING:  # it brings an HTTPS client, which the daemon does without
    from certagent.authority.context import Context

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
ENTRIES, LARGEST = 1000, 1 << 20
OUTBOX_BARRED, INBOX_BARRED = 0o022, 0o002


def ask(request: Request, context: "Context") -> Answer:
    """Look into the inbox; leave the request in the outbox where it is not answered. Raises AuthorityError."""
    try:
        with _opened(request.options["inbox"], 0o750, INBOX_BARRED) as inbox:
            contents = _contents(inbox)
            if request.operation == "roots":
                return roots(request, contents.found)
            if request.operation != "issue":
                raise AuthorityError("a drop-box has no renewal information", kind="refused")
            with _opened(request.options["outbox"], 0o755, OUTBOX_BARRED) as outbox:
                return _exchange(request, context, (inbox, outbox), contents)
    except OSError as error:
        place = error.filename or request.options["outbox"]
        raise AuthorityError(f"cannot use outbox or inbox: {place}: {error.strerror}") from error


def prepare(options: dict[str, Any]) -> None:
    """Make the two directories where they are missing and that can be done: an inbox that is there can be watched."""
    for place, mode in (("inbox", 0o750), ("outbox", 0o755)):
        with suppress(OSError, AuthorityError), _opened(options[place], mode, 0):
            pass


def check(options: dict[str, Any]) -> None:
    """Check that both directories exist or can be made, and that nobody else may write them. Raises AuthorityError."""
    try:
        with _opened(options["inbox"], 0o750, INBOX_BARRED), _opened(options["outbox"], 0o755, OUTBOX_BARRED) as outbox:
            if not os.access(".", os.W_OK, dir_fd=outbox, effective_ids=True):
                raise AuthorityError(f"cannot write to {options['outbox']}: let the agent's user own it")
    except OSError as error:
        raise AuthorityError(f"cannot use outbox or inbox: {error.filename}: {error.strerror}") from error


def inbox_changed(options: dict[str, Any]) -> datetime | None:
    """When the inbox last changed, by the kernel's clock; None if it does not exist. Never raises."""
    try:
        with os.scandir(options["inbox"]) as listed:
            times = [os.stat(options["inbox"]).st_ctime]
            for entry, _ in zip(listed, range(ENTRIES), strict=False):
                with suppress(OSError):
                    times.append(entry.stat(follow_symlinks=False).st_ctime)
    except OSError:
        return None
    return datetime.fromtimestamp(max(times), UTC)


@contextmanager
def _opened(path: str, mode: int, barred: int) -> Iterator[int]:
    """A directory, made where it is missing, that others may not write. Raises AuthorityError, OSError."""
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
    fd = os.open(path, DIRECTORY)
    try:
        info = os.fstat(fd)
        if info.st_mode & barred:
            fix = f"chmod {'o-w' if barred == INBOX_BARRED else 'go-w'} {quote(path)}"
            raise AuthorityError(f"cannot use {path}: other users may replace files in it; {fix}", kind="credentials")
        yield fd
    finally:
        os.close(fd)


def _contents(inbox: int) -> Contents:
    names = sorted(os.listdir(inbox))
    return contents_of(_files(inbox, names[:ENTRIES]), len(names) - ENTRIES)


def _files(inbox: int, names: list[str]) -> Iterator[tuple[str, bytes | str]]:
    """Each file's name and bytes, read when it is asked for; or why it cannot be read."""
    for name in names:
        try:
            yield name, _read(inbox, name)
        except (OSError, ValueError) as error:
            yield name, str(getattr(error, "strerror", None) or error)


def _read(inbox: int, name: str) -> bytes:
    """A regular file of at most one mebibyte; a directory is closed again. Raises OSError, ValueError."""
    with open(name, "rb", opener=lambda file, _: os.open(file, READ, dir_fd=inbox)) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("it is not a regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("it is too large")
    return data


def _exchange(request: Request, context: "Context", places: tuple[int, int], contents: Contents) -> Answer:
    """Carry out what was decided: take the answer, or leave the request and wait."""
    _, outbox = places
    own, decided = context.state.own, exchange(request, context.state.own, contents.found, os.uname().nodename)
    for name in decided.withdrawn:
        _remove(outbox, name)
    if not decided.chain:
        since = _left(outbox, decided.name, request, context.now())
        own["file"] = decided.name
        again = context.now().timestamp() + request.options["remind"]
        return Pending(again, waiting(request, decided.name, since, contents.ignored), reminder=decided.known)
    own["answered"] = [*decided.answered]
    own.pop("file", None)
    context.once_staged(lambda: _tidy(request.options, decided))
    return Issued(decided.chain)


def _tidy(options: dict[str, Any], decided: Exchange) -> None:
    """Remove the answer and its request: until the certificate is staged, a crash would lose a person's work."""
    with suppress(OSError, AuthorityError), _opened(options["inbox"], 0o750, INBOX_BARRED) as inbox:
        for name in decided.taken:
            _remove(inbox, name)
    with suppress(OSError, AuthorityError), _opened(options["outbox"], 0o755, OUTBOX_BARRED) as outbox:
        _remove(outbox, decided.name)


def _left(outbox: int, name: str, request: Request, now: datetime) -> datetime:
    """Write the request into the outbox, once; return since when it is there. Raises OSError."""
    try:
        return datetime.fromtimestamp(os.stat(name, dir_fd=outbox, follow_symlinks=False).st_mtime, UTC)
    except FileNotFoundError:
        text = letter(request, os.uname().nodename, name_of(os.geteuid()), now)
        _write(outbox, name, text.encode() + request.csr.encode())
        return now


def _write(outbox: int, name: str, data: bytes) -> None:
    """A whole file or none. Raises OSError."""
    temporary = f".{name}.new"
    _remove(outbox, temporary)
    with os.fdopen(os.open(temporary, CREATE, 0o644, dir_fd=outbox), "wb") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever our umask: people read it
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, name, src_dir_fd=outbox, dst_dir_fd=outbox)
    os.fsync(outbox)


def _remove(directory: int, name: str) -> None:
    """Remove it if permitted; a file that stays is remembered and is not used as an answer again."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)
