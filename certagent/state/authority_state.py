"""What authorities remember between requests: one JSON file each in the state directory, 0600, replaced atomically.

`shared` is the authority's (an ACME account), `own` that of one file of one certs-dir (an order that waits). Two
concurrent requests change different keys; the newest value of each is kept.
"""

import fcntl
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from certagent.posix.directory import sync_directory
from certagent.posix.errors import HostError
from certagent.posix.responding import required

LIMIT = 4 << 20
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
PAUSE = 0.05  # seconds between two tries: the kernel has no lock with a deadline
PATIENCE = 10.0  # seconds to wait for a lock that is only held while one file is written
UNDER_WAY = "cannot ask {}: another request to it is still running"
Document = dict[str, Any]


def sound(document: object) -> bool:
    """Whether what a file holds is a document of this version."""
    if not isinstance(document, dict) or document.get("version") != 1:
        return False
    return all(isinstance(document.get(part), dict) for part in ("shared", "own"))


class AuthorityState:
    """The files of all authorities; safe to use from several threads."""

    def __init__(self, directory: str, patience: float = PATIENCE, others: tuple[int, ...] = ()) -> None:
        """Touches nothing; the directory is made with the first thing to remember.

        `patience`: how many seconds to wait for another process that writes. `others`: whose files an authority
        believes besides root's and this process's: of the agent's user, for who only looks on its behalf. Never where
        something is sent: that user could have put a link to root's files there.
        """
        self.others = others
        self._directory, self._patience = directory, patience
        self._guard = threading.Lock()
        self._first: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def read(self, name: str, key: str) -> tuple[Document, Document]:
        """(shared, own) of one authority and one file. Raises HostError where there is a file that cannot be read."""
        with self._guard:
            document = self._load(name)
        return document["shared"], document["own"].get(key, {})

    def write(self, name: str, key: str, before: Document, shared: Document, own: Document) -> None:
        """Remember what a request made of them; `before`: the shared part that it was given. Raises HostError."""
        with self._locked(), self._guard:  # the wait comes first: who only reads is not held up by it
            document = self._load(name)
            kept = {k: v for k, v in document["shared"].items() if k in shared or k not in before}
            changed = {k: v for k, v in shared.items() if k not in before or before[k] != v}
            fresh = {"version": 1, "shared": kept | changed, "own": document["own"] | {key: own}}
            fresh["own"] = {k: v for k, v in fresh["own"].items() if v}
            if fresh != document:
                self._save(name, fresh)

    @contextmanager
    def first(self, name: str, seconds: float, settled: Callable[[Document], bool] = bool) -> Iterator[None]:
        """One request at a time until the shared part is `settled`: two files must not make two accounts."""
        if settled(self.read(name, "")[0]):
            yield
            return
        with self.alone(name, seconds):
            yield

    @contextmanager
    def alone(self, name: str, seconds: float) -> Iterator[None]:
        """One request at a time to that authority, whichever AuthorityState or process makes it.

        Raises HostError after so many seconds of waiting.
        """
        end, lock = time.monotonic() + seconds, self._first[name]
        if not lock.acquire(timeout=seconds):
            raise HostError(UNDER_WAY.format(name))
        try:
            with self._alone_of_all(name, end):
                yield
        finally:
            lock.release()

    @contextmanager
    def _alone_of_all(self, name: str, end: float) -> Iterator[None]:
        """A kernel lock; on a full disk there is none, and the caller goes on without it."""
        with ExitStack() as stack:
            with suppress(OSError):
                _made(self._directory)
                fd = os.open(os.path.join(self._directory, f".{name}.lock"), LOCK, 0o600)
                stack.callback(os.close, fd)
                if not _held(fd, end):
                    raise HostError(UNDER_WAY.format(name))
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Against other processes: `certagent authority test`, with or without an agent. Raises HostError."""
        path = os.path.join(self._directory, ".lock")
        with ExitStack() as stack:
            try:
                _made(self._directory)
                fd = os.open(path, LOCK, 0o600)
                stack.callback(os.close, fd)
                held = _held(fd, time.monotonic() + self._patience)
            except OSError as error:
                raise HostError(f"cannot write to {self._directory}: {error.strerror}; repair state_dir") from error
            if not held:
                why = f"another process has locked {path} for {self._patience:g} s"
                raise HostError(
                    f"cannot write to {self._directory}: {why}; find the process with `fuser {path}` and stop it"
                )
            yield

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.json")

    def _load(self, name: str) -> Document:
        empty: Document = {"version": 1, "shared": {}, "own": {}}
        try:
            required(self._directory)
            with open(self._path(name), "rb", opener=lambda path, _: os.open(path, READ)) as file:  # closes a directory
                document: Document = json.loads(file.read(LIMIT))
        except FileNotFoundError:
            return empty
        except (OSError, ValueError) as error:
            raise HostError(f"cannot read {self._path(name)}: {error}; repair it or move it away") from error
        if not sound(document):
            raise HostError(f"cannot use {self._path(name)}: it was written by another version; move it away")
        return document

    def _save(self, name: str, document: Document) -> None:
        path, data = self._path(name), json.dumps(document).encode()
        if len(data) > LIMIT:
            raise HostError(f"cannot write {path}: {len(data)} bytes are too many")
        try:
            with _removed_on_error(f"{path}.new"):
                with os.fdopen(os.open(f"{path}.new", CREATE, 0o600), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(f"{path}.new", path)
            sync_directory(self._directory)
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}; free disk space or repair state_dir") from error


def _made(directory: str) -> None:
    """Make the directory where it is missing, durably. Raises OSError."""
    required(directory)
    if not os.path.isdir(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        sync_directory(os.path.dirname(directory))


@contextmanager
def _removed_on_error(path: str) -> Iterator[None]:
    """It may hold the key of an account."""
    try:
        yield
    except OSError:
        with suppress(OSError):
            os.unlink(path)
        raise


def _held(fd: int, end: float) -> bool:
    """Wait for the lock until a monotonic deadline; return whether it was taken. Raises OSError."""
    while not _locked(fd):
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE)
    return True


def _locked(fd: int) -> bool:
    """Whether the lock could be taken. Raises OSError if locks are not supported."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SharedOnly(AuthorityState):
    """For asking without a file: an account is found, and kept where one is made; nothing else is."""

    def read(self, name: str, key: str) -> tuple[Document, Document]:
        """The shared part alone."""
        del key
        return super().read(name, "")[0], {}

    def write(self, name: str, key: str, before: Document, shared: Document, own: Document) -> None:
        """The shared part alone."""
        del key, own
        if shared != before:  # else nothing is made: who tries may not be who will own the directory
            super().write(name, "", before, shared, {})
