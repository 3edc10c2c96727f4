"""Stage, intent, fsync, rename, recover; modes and owners. All by directory fd, never following a link.

Measured before it was written: without fsync every strategy tore pairs on xfs; two renames without a journal leave a mismatched pair at rest after one
kill in fifteen; exchanging directories fails in bind mounts and on mount points. So: stage in a persistent sub-directory, judge what was read back, commit by
renaming an intent into place, rename the key, then the certificate. Recovery believes the keys and certificates it finds, never the intent's text.
Nothing temporary is made in the certs-dir itself: a name that vanishes under cockroach's loader makes it report that there are no certificates.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

from certagent.core import names
from certagent.host import x509
from certagent.host.errors import HostError
from certagent.host.owner import acting_as

AREA, STAGED, OLD, REFUSED, INTENT, LOCK = ".certagent", "staged", "old", "refused", "intent", "lock"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LIMIT = 1 << 20
Row = tuple[str, bytes, bytes | None, float]


def digest(data: bytes | None) -> str:
    """SHA-256, "" for nothing."""
    return "" if data is None else sha256(data).hexdigest()


def matched(cert: bytes | None, key: bytes | None) -> bool:
    """Whether a key belongs to the first certificate."""
    if cert is None or key is None:
        return False
    try:
        return x509.parse_certificates(cert)[0].spki == x509.parse_key(key)[0]
    except x509.X509Error:
        return False


def read(directory: int, name: str) -> bytes | None:
    """The bytes of a regular file, at most one mebibyte; None where there is none."""
    try:
        fd = os.open(name, READ, dir_fd=directory)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(LIMIT) if stat.S_ISREG(os.fstat(fd).st_mode) else None


def write(directory: int, name: str, data: bytes) -> None:
    """Make a file anew, 0600 from birth, and bring it to the disk; then its name, by rename."""
    temporary = f".{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    fd = os.open(temporary, CREATE, 0o600, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def remove(directory: int, name: str) -> None:
    """Remove a file that may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


class Area:
    """The open directories of one operation: the certs-dir and its staging area."""

    def __init__(self, live: int, area: int) -> None:
        """Fds that the caller closes."""
        self.live = live
        self.area = area

    @contextmanager
    def sub(self, path: str) -> Iterator[int]:
        """A sub-directory of the area, 0700, made where it is missing."""
        for depth in range(1, path.count("/") + 2):
            part = "/".join(path.split("/")[:depth])
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=self.area)
        fd = os.open(path, DIRECTORY | os.O_NOFOLLOW, dir_fd=self.area)
        try:
            yield fd
        finally:
            os.close(fd)

    def listed(self, path: str) -> list[str]:
        """The names in a sub-directory, sorted; none where it is missing."""
        try:
            fd = os.open(path, DIRECTORY | os.O_NOFOLLOW, dir_fd=self.area)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)


class Store:
    """The files of one certs-dir."""

    def __init__(self, path: str, keep: int = 5) -> None:
        """Nothing is opened before the first operation. `keep`: generations of each pair."""
        self.path = path
        self.keep = keep
        self._lock: int | None = None

    @contextmanager
    def _open(self, make: bool = True) -> Iterator[Area]:
        try:
            live = os.open(self.path, DIRECTORY)
        except OSError as error:
            raise HostError(f"cannot open {self.path}: {error.strerror}", error.errno) from error
        try:
            info = os.fstat(live)
            with acting_as(info.st_uid, info.st_gid):
                area = self._area(live, info.st_uid, make)
                try:
                    yield Area(live, area)
                finally:
                    os.close(area)
        finally:
            os.close(live)

    def _area(self, live: int, owner: int, make: bool) -> int:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(AREA, 0o700, dir_fd=live)
            area = os.open(AREA, DIRECTORY | os.O_NOFOLLOW, dir_fd=live)
        except OSError as error:
            raise HostError(f"cannot use {self.path}/{AREA}: {error.strerror}; it must be a directory of the owner", error.errno) from error
        info = os.fstat(area)
        if info.st_uid not in {owner, os.geteuid()}:
            os.close(area)
            raise HostError(f"cannot use {self.path}/{AREA}: owned by uid {info.st_uid}; remove it")
        if stat.S_IMODE(info.st_mode) != 0o700:
            os.fchmod(area, 0o700)
        return area

    def stage(self, stem: str, cert: bytes, key: bytes | None) -> None:
        """Leave a pair staged; the certificate comes last, so that a staged one always has its key. `key` None: a bundle, or the live key stays."""
        with self._open() as area, area.sub(STAGED) as staged:
            remove(staged, f"{stem}.crt")
            remove(staged, f"{stem}.key")
            if key is not None:
                write(staged, f"{stem}.key", key)
            write(staged, f"{stem}.crt", cert)

    def staged(self) -> tuple[Row, ...]:
        """(stem, certificate, key or None, time) of everything staged, read back from the disk."""
        if not os.path.isdir(f"{self.path}/{AREA}"):
            return ()
        with self._open(make=False) as area:
            stems = [n.removesuffix(".crt") for n in area.listed(STAGED) if n.endswith(".crt") and not n.startswith(".")]
            if not stems:
                return ()
            with area.sub(STAGED) as fd:
                rows = [(s, read(fd, f"{s}.crt"), read(fd, f"{s}.key"), os.stat(f"{s}.crt", dir_fd=fd, follow_symlinks=False).st_mtime) for s in stems]
        return tuple((s, cert, key, at) for s, cert, key, at in rows if cert is not None)

    def discard(self, stem: str, reason: str) -> None:
        """Put a staged pair aside: the key is removed, the certificate kept with the reason."""
        with self._open() as area, area.sub(STAGED) as staged, area.sub(REFUSED) as refused:
            cert = read(staged, f"{stem}.crt")
            remove(staged, f"{stem}.crt")
            remove(staged, f"{stem}.key")
            if cert is not None:
                write(refused, f"{stem}.crt", cert)
                write(refused, f"{stem}.reason", reason.encode("utf-8", "backslashreplace"))

    def install(self, stem: str, digests: tuple[str, str], key_mode: int, uid: int | None, gid: int | None) -> None:
        """Swap a staged pair in. Raises HostError unless the staged bytes are the ones that were judged."""
        with self._open() as area, area.sub(STAGED) as staged:
            self._recover(area)
            cert, key = read(staged, f"{stem}.crt"), read(staged, f"{stem}.key")
            bundle = stem in {r.value for r in names.BUNDLES}
            judged = None if bundle else key if key is not None else read(area.live, f"{stem}.key")
            if (digest(cert), digest(judged)) != digests:
                raise HostError(f"cannot install {stem}: what is staged is not what was judged")
            self._keep(area, stem)
            self._swap(area, staged, stem, key is not None, key_mode, (uid, gid))

    def _swap(self, area: Area, staged: int, stem: str, with_key: bool, key_mode: int, owner: tuple[int | None, int | None]) -> None:
        if with_key:
            self._ready(staged, f"{stem}.key", key_mode, owner)
        self._ready(staged, f"{stem}.crt", 0o644, owner)
        write(area.area, INTENT, json.dumps({"stem": stem, "key_mode": key_mode}).encode())
        if with_key:
            os.rename(f"{stem}.key", f"{stem}.key", src_dir_fd=staged, dst_dir_fd=area.live)
        os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
        os.fsync(area.live)
        os.fsync(staged)
        remove(area.area, INTENT)
        os.fsync(area.area)

    def _ready(self, staged: int, name: str, mode: int, owner: tuple[int | None, int | None]) -> None:
        """Final owner, then final mode: never readable by anyone who will not own it."""
        fd = os.open(name, READ, dir_fd=staged)
        try:
            info = os.fstat(fd)
            uid, gid = (info.st_uid if owner[0] is None else owner[0]), (info.st_gid if owner[1] is None else owner[1])
            if (uid, gid) != (info.st_uid, info.st_gid):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _keep(self, area: Area, stem: str) -> None:
        """Copy the live pair into the newest generation, unless it is there already; forget the oldest."""
        cert, key = read(area.live, f"{stem}.crt"), read(area.live, f"{stem}.key")
        if cert is None or (key is not None and not matched(cert, key)):
            return
        numbers = sorted(int(n) for n in area.listed(f"{OLD}/{stem}") if n.isdigit())
        with area.sub(f"{OLD}/{stem}/{(numbers or [0])[-1] + 1}") as new:
            if key is not None:
                write(new, "key", key)
            write(new, "crt", cert)
        for number in numbers[: max(0, len(numbers) + 1 - self.keep)]:
            self._drop(area, f"{OLD}/{stem}/{number}")

    def _drop(self, area: Area, path: str) -> None:
        for name in area.listed(path):
            remove(area.area, f"{path}/{name}")
        os.rmdir(path, dir_fd=area.area)

    def generation_marks(self) -> tuple[str, ...]:
        """What changes when a generation comes or goes; cheap."""
        if not os.path.isdir(f"{self.path}/{AREA}/{OLD}"):
            return ()
        with self._open(make=False) as area:
            return tuple(f"{stem}/{n}" for stem in area.listed(OLD) for n in area.listed(f"{OLD}/{stem}"))

    def generations(self) -> tuple[tuple[str, int, bytes, bytes | None, float], ...]:
        """(stem, number, certificate, key, time) of every generation kept."""
        found = []
        if not os.path.isdir(f"{self.path}/{AREA}/{OLD}"):
            return ()
        with self._open(make=False) as area:
            for path in [f"{s}/{n}" for s in area.listed(OLD) for n in area.listed(f"{OLD}/{s}") if n.isdigit()]:
                with area.sub(f"{OLD}/{path}") as fd:
                    cert = read(fd, "crt")
                    if cert is not None:
                        stem, _, number = path.rpartition("/")
                        found.append((stem, int(number), cert, read(fd, "key"), os.stat("crt", dir_fd=fd).st_mtime))
        return tuple(found)

    def rollback(self, stem: str, number: int, key_mode: int, uid: int | None, gid: int | None) -> None:
        """Swap a generation in again, by the same way as any pair."""
        rows = [g for g in self.generations() if g[:2] == (stem, number)]
        if not rows:
            raise HostError(f"cannot roll {stem} back: there is no generation {number}")
        self.stage(stem, rows[0][2], rows[0][3])
        with self._open() as area, area.sub(STAGED) as staged:
            self._recover(area)
            self._swap(area, staged, stem, rows[0][3] is not None, key_mode, (uid, gid))

    def recover(self) -> str | None:
        """Finish or undo what was interrupted; return what was done, None where nothing was to do. Raises HostError."""
        if not os.path.isdir(f"{self.path}/{AREA}"):
            return None
        with self._open(make=False) as area:
            return self._recover(area)

    def _recover(self, area: Area) -> str | None:
        done = []
        with area.sub(STAGED) as staged:
            for name in [n for n in area.listed(STAGED) if n.startswith(".")]:
                remove(staged, name)
            live = {n.removesuffix(".crt").removesuffix(".key") for n in os.listdir(area.live) if n.endswith((".crt", ".key"))}
            done += [what for stem in sorted(live - {"ca"}) if (what := self._heal(area, staged, stem))]
            certs = {n.removesuffix(".crt") for n in area.listed(STAGED) if n.endswith(".crt")}
            for name in [n for n in area.listed(STAGED) if n.endswith(".key") and n.removesuffix(".key") not in certs]:
                remove(staged, name)
        if INTENT in os.listdir(area.area):
            remove(area.area, INTENT)
            os.fsync(area.area)
            done.append("an interrupted swap was finished" if not done else "the intent was removed")
        remove(area.area, f".{INTENT}.new")
        return "; ".join(done) or None

    def _heal(self, area: Area, staged: int, stem: str) -> str | None:
        """Given a stem whose live pair does not match, make it match: forward with the staged certificate, else back to a generation."""
        cert, key = read(area.live, f"{stem}.crt"), read(area.live, f"{stem}.key")
        if key is None or matched(cert, key):
            return None
        if matched(read(staged, f"{stem}.crt"), key):
            self._ready(staged, f"{stem}.crt", 0o644, (None, None))
            os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
            os.fsync(area.live)
            return f"{stem} was rolled forward: the staged certificate belongs to the live key"
        for number in sorted((int(n) for n in area.listed(f"{OLD}/{stem}") if n.isdigit()), reverse=True):
            with area.sub(f"{OLD}/{stem}/{number}") as old:
                old_cert, old_key = read(old, "crt"), read(old, "key")
            if old_key is not None and matched(old_cert, old_key) and cert == old_cert:
                write(staged, f"{stem}.key", old_key)
                os.rename(f"{stem}.key", f"{stem}.key", src_dir_fd=staged, dst_dir_fd=area.live)
                os.fsync(area.live)
                return f"{stem} was rolled back to generation {number}"
        return None

    def restrict(self, file: str, mode: int, uid: int | None, gid: int | None) -> None:
        """Give one regular file of the directory a mode, and an owner where root was asked to. Raises HostError, OSError."""
        directory = os.open(self.path, DIRECTORY)
        try:
            info = os.fstat(directory)
            if uid is None:
                with acting_as(info.st_uid, info.st_gid):
                    self._restrict(directory, file, mode, None, None)
            else:
                self._restrict(directory, file, mode, uid, gid)
        finally:
            os.close(directory)

    def _restrict(self, directory: int, file: str, mode: int, uid: int | None, gid: int | None) -> None:
        fd = os.open(file, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise HostError(f"cannot restrict {file}: it is not a regular file")
            if info.st_nlink > 1 and uid is not None:
                raise HostError(f"cannot change the owner of {file}: it has {info.st_nlink} names; remove the others")
            if uid is not None and gid is not None:
                os.chown(f"/proc/self/fd/{fd}", uid, gid)
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)

    def lock(self) -> int:
        """Hold this directory until the process ends. HostError names the holder."""
        with self._open() as area:
            fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=area.area)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "another process"
            os.close(fd)
            raise HostError(f"cannot manage {self.path}: pid {holder} does; one agent manages a certs-dir", error.errno) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd
        return fd

    def remove_all(self, stems: tuple[str, ...]) -> None:
        """Remove the staging area and, of these stems, the live keys."""
        with self._open() as area:
            for stem in stems:
                remove(area.live, f"{stem}.key")
            for path in (STAGED, REFUSED, *(f"{OLD}/{s}/{n}" for s in area.listed(OLD) for n in area.listed(f"{OLD}/{s}"))):
                with suppress(FileNotFoundError):
                    self._drop(area, path)
            for stem in area.listed(OLD):
                os.rmdir(f"{OLD}/{stem}", dir_fd=area.area)
            with suppress(FileNotFoundError):
                os.rmdir(OLD, dir_fd=area.area)
            for name in os.listdir(area.area):
                remove(area.area, name)
            os.rmdir(AREA, dir_fd=area.live)
