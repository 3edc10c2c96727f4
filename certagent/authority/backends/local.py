"""The embedded CA: files in a directory of the agent, for one host or a lab. Control of this host is control of the CA.

A `ca.crt` and `ca.key` of `cockroach cert create-ca` (RSA, PKCS#1) work too.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from shlex import quote

from certagent import keys, x509
from certagent.authority.errors import AuthorityError
from certagent.core.facts import Leaf
from certagent.posix.closing import close
from certagent.posix.directory import sync_directory
from certagent.posix.errors import IrregularFileError
from certagent.posix.trusted import distrust

BACKDATE = timedelta(seconds=60)
TOO_WIDE = 0o077
LIMIT = 1 << 20
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class LocalAuthority:
    """One CA directory."""

    def __init__(
        self,
        directory: str,
        create: bool,
        lifetime: timedelta,
        ca_lifetime: timedelta,
        key: str = "ecdsa-p256",
        cert_file: str = "ca.crt",
        key_file: str = "ca.key",
        urls: tuple[str, str] = ("", ""),
        *,
        others: tuple[int, ...] = (),
    ) -> None:
        """Touches nothing. `urls`: OCSP responder and revocation list to write into leaves.

        `others`: uids that may have made it, besides root and this process's: of the agent, for who only looks.
        """
        self._directory, self._create, self._kind = directory, create, key
        self._lifetime, self._ca_lifetime, self._urls = lifetime, ca_lifetime, urls
        self._made: list[bool] = []  # one for each CA that was made here, until somebody says so
        self._others = others
        self._known: tuple[tuple[int, int], tuple[Leaf, ...]] = ((0, 0), ())
        self._cert, self._key = os.path.join(directory, cert_file), os.path.join(directory, key_file)

    def exists(self) -> bool:
        """Whether there is a CA."""
        return os.path.exists(self._cert)

    def take_created(self) -> bool:
        """Whether it was made since this was last asked: of several jobs that needed it, one is told."""
        with suppress(IndexError):
            return self._made.pop()
        return False

    def closed(self) -> str | None:
        """Why nothing can be signed although the certificate is there: its key is missing, unreadable or exposed."""
        try:
            self._guard()
            self._read_key()
        except AuthorityError as error:
            return str(error)
        return None

    def ensure(self, now: datetime) -> None:
        """Make the CA where it is missing and `create` allows it. Raises AuthorityError."""
        if self._whole():
            return
        if self._create:
            self._ensure_alone(now)
        if not self._whole():
            raise AuthorityError(f"cannot use the CA in {self._directory}: {self._lack()}")

    def _whole(self) -> bool:
        return self.exists() and os.path.exists(self._key)

    def _lack(self) -> str:
        if self.exists():
            return f"{self._key} is missing; restore it"
        if os.path.exists(self._key):
            return f"{self._cert} is missing; restore it"
        return f"there is no CA; copy {self._cert} and its key there, or set create = true"

    def _ensure_alone(self, now: datetime) -> None:
        """Several certs-dirs may ask concurrently: only under the lock an incomplete CA is visible, after a crash."""
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._own()
            with self._held():
                if os.path.exists(self._key):
                    self._finish()
                elif not self.exists():
                    self._make(now)
        except OSError as error:
            raise AuthorityError(
                f"cannot create a CA in {self._directory}: {error.strerror}; make the directory writable for the agent"
            ) from error

    @contextmanager
    def _held(self) -> Iterator[None]:
        fd = os.open(os.path.join(self._directory, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _make(self, now: datetime) -> None:
        name = f"certagent local CA {os.urandom(3).hex()} {os.uname().nodename}"[:64]  # two CAs never share a name
        cert, key = keys.create_ca(name, self._ca_lifetime, now, self._kind)
        for path, data in ((self._key, key), (self._cert, keys.Key.of(cert))):
            fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                data.write(fd)
                os.fsync(fd)
            finally:
                close(fd)
        for path in (self._key, self._cert):
            os.rename(f"{path}.new", path)
        self._settle()

    def _finish(self) -> None:
        """Complete a CA after a crash between the two renames: the certificate still has its temporary name."""
        waiting = f"{self._cert}.new"
        if self.exists() or not os.path.exists(waiting) or not keys.matched(self._read(waiting), self._read_key()):
            return
        os.rename(waiting, self._cert)
        self._settle()

    def _settle(self) -> None:
        """Both names survive a power cut, and so does the directory, which may be new."""
        self._made.append(True)
        sync_directory(self._directory)
        with suppress(OSError):  # the agent's user may not read it
            sync_directory(os.path.dirname(self._directory))

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb", opener=lambda name, _: os.open(name, READ)) as file:  # it closes a directory, too
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise AuthorityError(f"cannot read {path}: it is not a regular file")
                return file.read(LIMIT)
        except OSError as error:
            raise _closed(path, error) from error

    def _read_key(self) -> keys.Key:
        try:
            return keys.Key.read(os.open(self._key, READ))
        except IrregularFileError as error:
            raise AuthorityError(f"cannot read {self._key}: it is not a regular file") from error
        except OSError as error:
            raise _closed(self._key, error) from error

    def roots(self) -> bytes:
        """The CA's own certificates, as PEM, unless others made them or could change them. Raises AuthorityError."""
        self._own()
        return self._read(self._cert)

    def known_roots(self) -> tuple[Leaf, ...]:
        """The facts of the roots, parsed again after the file changed; () before the CA was created.

        Raises AuthorityError.
        """
        mark = self._mark()
        if mark is None:
            return ()
        if self._known[0] != mark:
            try:
                self._known = (mark, x509.parse_certificates(self.roots()))
            except x509.X509Error as error:
                raise AuthorityError(f"cannot use {self._cert}: {error}") from error
        return self._known[1]

    def _mark(self) -> tuple[int, int] | None:
        """A mark that changes with the file; None if there is none."""
        try:
            info = os.stat(self._cert)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuthorityError(f"cannot read {self._cert}: {error.strerror}") from error
        return info.st_ino, info.st_mtime_ns

    def issue(self, csr_pem: bytes, now: datetime, *, server: bool, client: bool, lifetime: timedelta | None) -> bytes:
        """Given a request, return a leaf as PEM; its notAfter is clipped to the CA's. Raises AuthorityError."""
        self._guard()
        begin, end = span(now, lifetime or self._lifetime)
        try:
            terms = keys.Terms(server=server, client=client, not_before=begin, not_after=end, urls=self._urls)
            return keys.sign_csr(csr_pem, self._read(self._cert), self._read_key(), terms)
        except (x509.X509Error, ValueError) as error:
            raise AuthorityError(f"cannot sign with {self._cert}: {error}") from error

    def _guard(self) -> None:
        """Nothing is signed with a key that others may read, or of a CA that others made. Raises AuthorityError."""
        if os.path.exists(self._key) and stat.S_IMODE(os.stat(self._key).st_mode) & TOO_WIDE:
            raise AuthorityError(f"cannot use {self._key}: other users may read it; chmod 0600 {quote(self._key)}")
        self._own()

    def _own(self) -> None:
        """A CA that others made, or could exchange, is neither used nor trusted. Raises AuthorityError."""
        for path in (self._directory, self._key, self._cert):
            if problem := distrust(path, self._others) if os.path.lexists(path) else "":
                raise AuthorityError(f"cannot use the CA in {self._directory}: {problem}, if you know who made it")


def _closed(path: str, error: OSError) -> AuthorityError:
    return AuthorityError(f"cannot read {path}: {error.strerror}; make it readable for the agent")


def span(now: datetime, life: timedelta) -> tuple[datetime, datetime]:
    """When a leaf begins and ends: it begins a little earlier, for the clocks of others."""
    return now - min(BACKDATE, life / 20), now + life
