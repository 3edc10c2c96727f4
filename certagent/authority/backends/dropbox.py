"""A CA run by people: the request lies in an outbox, a person brings the certificate to an inbox.

No worker: it talks to nobody. What lies in the inbox is a stranger's all the same, so it is read without following
links, bounded, and only regular files; an answer is known by its key, never by its file's name. The request stays until
it is answered: one that vanished is put back with the next look. Rejected: a name that must be kept (people rename
files), and a format that must be kept (PEM, DER and PKCS#7 all come back from CAs).
"""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from certagent import x509
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Pending, Request, Roots

if TYPE_CHECKING:  # it brings an HTTPS client, which the daemon does without
    from certagent.authority.context import Context

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
ENTRIES, LARGEST, TOTAL = 1000, 1 << 20, 16 << 20
NAMED, REMEMBERED = 3, 20
OUTBOX_BARRED, INBOX_BARRED = 0o022, 0o002


@dataclass(frozen=True, slots=True)
class Found:
    """One certificate that lies in the inbox."""

    file: str
    fingerprint: str
    spki: str
    pem: bytes


def ask(request: Request, context: "Context") -> Answer:
    """Look into the inbox; leave the request in the outbox where it is not answered. Raises AuthorityError."""
    try:
        with _opened(request.options["inbox"], 0o750, INBOX_BARRED) as inbox:
            found, ignored = _contents(inbox)
            if request.operation == "roots":
                return _roots(request, found)
            if request.operation != "issue":
                raise AuthorityError("cannot ask a person when to renew", kind="refused")
            with _opened(request.options["outbox"], 0o755, OUTBOX_BARRED) as outbox:
                return _exchange(request, context, (inbox, outbox), found, ignored)
    except OSError as error:
        place = error.filename or request.options["outbox"]
        raise AuthorityError(f"cannot use the drop-box: {place}: {error.strerror}") from error


def prepare(options: dict[str, Any]) -> None:
    """Make the two directories where they are missing and that can be done: an inbox that is there can be watched."""
    for place, mode in (("inbox", 0o750), ("outbox", 0o755)):
        with suppress(OSError, AuthorityError), _opened(options[place], mode, 0):
            pass


def check(options: dict[str, Any]) -> None:
    """Whether the two directories are there, or can be made, and nobody else may write them. Raises AuthorityError."""
    try:
        with _opened(options["inbox"], 0o750, INBOX_BARRED), _opened(options["outbox"], 0o755, OUTBOX_BARRED) as outbox:
            if not os.access(".", os.W_OK, dir_fd=outbox, effective_ids=True):
                raise AuthorityError(f"cannot write to {options['outbox']}: give it to the agent's user")
    except OSError as error:
        raise AuthorityError(f"cannot use the drop-box: {error.filename}: {error.strerror}") from error


def inbox_changed(options: dict[str, Any]) -> datetime | None:
    """When something last came into the inbox, by the kernel's own clock; None where there is none. Never raises."""
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
            fix = f"chmod {'o-w' if barred == INBOX_BARRED else 'go-w'} {path}"
            raise AuthorityError(f"cannot use {path}: others may replace what lies in it; {fix}", kind="credentials")
        yield fd
    finally:
        os.close(fd)


def _contents(inbox: int) -> tuple[list[Found], list[str]]:
    """Every certificate that lies there, and what was ignored and why."""
    from certagent.x509.bags import any_certificates

    found, ignored, taken = [], [], 0
    names = sorted(os.listdir(inbox))
    for name in names[:ENTRIES]:
        try:
            data = _read(inbox, name)
            taken += len(data)
            if taken > TOTAL:
                ignored.append("the rest (too much lies there)")
                break
            pem = any_certificates(data)
            found += [Found(name, leaf.fingerprint, leaf.spki, own) for leaf, own in x509.split_certificates(pem)]
        except (OSError, ValueError, x509.X509Error) as error:
            ignored.append(f"{_printable(name)} ({getattr(error, 'strerror', None) or error})")
    if len(names) > ENTRIES:
        ignored.append(f"{len(names) - ENTRIES} more files")
    return found, ignored


def _read(inbox: int, name: str) -> bytes:
    """A regular file of at most one mebibyte. Raises OSError, ValueError."""
    fd = os.open(name, READ, dir_fd=inbox)
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("it is not a regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("it is too large")
    return data


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:60]


def _exchange(
    request: Request, context: "Context", places: tuple[int, int], found: list[Found], ignored: list[str]
) -> Answer:
    inbox, outbox = places
    own = context.state.own
    spki = x509.parse_request(request.csr.encode()).spki
    name = f"{_printable(os.uname().nodename)}.{request.stem}.{spki[:12]}.csr"
    if own.get("file") not in {None, name}:
        _remove(outbox, str(own["file"]))  # a request that is not wanted any more
    seen = [*own.get("answered", []), *_live(request)]
    ours = [f for f in found if f.spki == spki and f.fingerprint not in seen]
    if not ours:
        since, known = _leave(outbox, name, request, context), own.get("file") == name
        own["file"] = name
        again = context.now().timestamp() + request.options["remind"]
        return Pending(again, _waiting(request, name, since, ignored), reminder=known)
    others = b"".join(f.pem for f in found if f.spki != spki)
    chain = x509.arranged(b"".join(f.pem for f in ours) + others, spki)
    own["answered"] = [*own.get("answered", []), *(f.fingerprint for f in ours)][-REMEMBERED:]
    own.pop("file", None)
    for taken in {f.file for f in ours}:
        _remove(inbox, taken)
    _remove(outbox, name)
    return Issued(chain.decode())


def _live(request: Request) -> list[str]:
    """The live certificate is no answer, even where its key stays."""
    try:
        return [x509.parse_certificates(request.live.encode())[0].fingerprint] if request.live else []
    except x509.X509Error:
        return []


def _waiting(request: Request, name: str, since: datetime, ignored: list[str]) -> str:
    outbox, inbox = request.options["outbox"], request.options["inbox"]
    reason = f"a person brings the certificate for {outbox}/{name} (of {since:%Y-%m-%dT%H:%M:%SZ}) to {inbox}"
    if not ignored:
        return reason
    more = f" and {len(ignored) - NAMED} more" if len(ignored) > NAMED else ""
    return f"{reason}; ignored there: {', '.join(ignored[:NAMED])}{more}"


def _leave(outbox: int, name: str, request: Request, context: "Context") -> datetime:
    """The request in the outbox, once; return since when it lies there. Raises OSError."""
    try:
        return datetime.fromtimestamp(os.stat(name, dir_fd=outbox, follow_symlinks=False).st_mtime, UTC)
    except FileNotFoundError:
        pass
    temporary = f".{name}.new"
    _remove(outbox, temporary)
    with os.fdopen(os.open(temporary, CREATE, 0o644, dir_fd=outbox), "wb") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever our umask: people read it
        file.write(_letter(request, context).encode() + request.csr.encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, name, src_dir_fd=outbox, dst_dir_fd=outbox)
    os.fsync(outbox)
    return context.now()


def _letter(request: Request, context: "Context") -> str:
    """What a person needs to know, above the PEM: openssl skips it."""
    asked = x509.parse_request(request.csr.encode())
    usages = " and ".join(["a TLS server"] * request.server + ["a TLS client"] * request.client) or "no TLS use"
    eku = ", ".join(["serverAuth"] * request.server + ["clientAuth"] * request.client) or "none"
    lifetime = "as the CA has it" if request.lifetime is None else str(timedelta(seconds=request.lifetime))
    rows = {
        "for": f"{request.stem} on {os.uname().nodename}: {usages}",
        "asked by": f"certagent as user {_user()}, at {context.now():%Y-%m-%dT%H:%M:%SZ}",
        "subject": asked.subject_text or "(empty)",
        "DNS names": ", ".join(asked.dns) or "none",
        "IP addresses": ", ".join(asked.ips) or "none",
        "extended key usage": eku,
        "lifetime": lifetime,
        "key": f"{asked.key}, SHA-256 of its public half {asked.spki}",
        "replaces": _replaced(request),
        "return": f"the certificate and its intermediates to {request.options['inbox']}, under any name",
    }
    width = max(map(len, rows))
    return "".join(f"{key:<{width}}  {value}\n" for key, value in rows.items()) + "\n"


def _replaced(request: Request) -> str:
    try:
        live = x509.parse_certificates(request.live.encode())[0]
    except x509.X509Error:
        return "nothing: it is the first one"
    return f"serial {live.serial:x}, valid until {live.not_after:%Y-%m-%dT%H:%M:%SZ}"


def _user() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(os.geteuid())


def _remove(directory: int, name: str) -> None:
    """Where we may: what stays is known, and is no answer again."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


def _roots(request: Request, found: list[Found]) -> Roots:
    """Self-signed certificates of the inbox, as candidates."""
    roots = x509.roots_of(b"".join(f.pem for f in found)) if found else b""
    if not roots:
        raise AuthorityError(f"cannot find the CA's root in {request.options['inbox']}: bring it there", kind="refused")
    return Roots(roots.decode())
