"""The files of one certs-dir: staging, the swap, generations.

Only one thread uses it at a time: a job may stage one pair while the deciding thread installs another one, whose
recovery would take the half-staged files for remains of a crash.
"""

import json
import os
from contextlib import suppress

from certagent.certs_dir.swap import recovery
from certagent.certs_dir.swap.area import (
    AREA,
    GUARDS,
    INTENT,
    LOCK,
    OLD,
    PENDING,
    REFUSED,
    STAGED,
    Area,
    Ids,
    digest,
    exists,
    finish,
    matched,
    opened,
    read,
    remove,
    write,
)
from certagent.certs_dir.swap.stored import Stored
from certagent.core.roles import BUNDLES
from certagent.posix import locks
from certagent.posix.errors import HostError

CERT_MODE = 0o644


class Store:
    """One certs-dir; nothing is opened before the first operation. `keep`: how many generations of each pair."""

    def __init__(self, path: str, keep: int = 5) -> None:
        """Touches nothing."""
        self.path = path
        self.keep = keep
        self._guard = GUARDS[path]

    def stage(self, stem: str, cert: bytes, key: bytes | None) -> None:
        """Leave a pair staged. The certificate comes last, so that a staged one always has its key.

        `key` None: a bundle, or the live key stays.
        """
        with self._guard, opened(self.path) as area, area.sub(STAGED) as staged:
            remove(staged, f"{stem}.crt")
            remove(staged, f"{stem}.key")
            if key is not None:
                write(staged, f"{stem}.key", key)
            write(staged, f"{stem}.crt", cert)

    def staged(self) -> tuple[Stored, ...]:
        """Everything staged, read back from the disk."""
        if not exists(self.path):
            return ()
        with self._guard, opened(self.path, make=False) as area:
            stems = [n.removesuffix(".crt") for n in area.listed(STAGED) if n.endswith(".crt") and n[0] != "."]
            if not stems:
                return ()
            with area.sub(STAGED) as fd:
                rows = [_stored(fd, f"{stem}.", stem) for stem in stems]
        return tuple(row for row in rows if row is not None)

    def discard(self, stem: str, reason: str) -> None:
        """Reject a staged pair: the key is removed, the certificate is kept with the reason."""
        with self._guard, opened(self.path) as area, area.sub(STAGED) as staged:
            cert = read(staged, f"{stem}.crt")
            remove(staged, f"{stem}.crt")
            remove(staged, f"{stem}.key")
            if cert is None:
                return
            with suppress(OSError), area.sub(REFUSED) as refused:  # a full disk: it is rejected without being kept
                write(refused, f"{stem}.crt", cert)
                write(refused, f"{stem}.reason", reason.encode("utf-8", "backslashreplace"))

    def install(self, stem: str, digests: tuple[str, str], key_mode: int, owner: Ids) -> None:
        """Install a staged pair. Raises HostError unless the staged bytes are the ones that were checked."""
        with self._guard, opened(self.path) as area, area.sub(STAGED) as staged:
            recovery.recover(area)
            cert, key = read(staged, f"{stem}.crt"), read(staged, f"{stem}.key")
            judged = None if stem in BUNDLES else key if key is not None else read(area.live, f"{stem}.key")
            if (digest(cert), digest(judged)) != digests:
                raise HostError(f"cannot install {stem}: the staged files changed after the pre-install checks")
            _keep(area, stem, self.keep)
            _swap(area, staged, stem, key_mode if key is not None else None, owner)

    def generation_marks(self) -> tuple[str, ...]:
        """A mark that changes when a generation is added or removed; cheap."""
        if not exists(self.path, OLD):
            return ()
        with opened(self.path, make=False) as area:
            return tuple(f"{stem}/{n}" for stem in area.listed(OLD) for n in area.listed(f"{OLD}/{stem}"))

    def generations(self) -> tuple[Stored, ...]:
        """Every generation kept."""
        if not exists(self.path, OLD):
            return ()
        found = []
        with opened(self.path, make=False) as area:
            numbered = [(s, n) for s in area.listed(OLD) for n in area.numbers(f"{OLD}/{s}")]
            for stem, number in numbered:
                with area.sub(f"{OLD}/{stem}/{number}") as fd:
                    found.append(_stored(fd, "", stem, number))
        return tuple(row for row in found if row is not None)

    def rollback(self, stem: str, number: int, key_mode: int, owner: Ids) -> None:
        """Install a generation again, in the same way as any pair."""
        kept = next((g for g in self.generations() if (g.stem, g.number) == (stem, number)), None)
        if kept is None:
            raise HostError(f"cannot roll {stem} back: there is no generation {number}")
        with self._guard, opened(self.path) as area, area.sub(STAGED) as staged:
            recovery.recover(area)
            self.stage(stem, kept.cert, kept.key)
            _keep(area, stem, self.keep)
            _swap(area, staged, stem, key_mode if kept.key is not None else None, owner)

    def recover(self) -> str | None:
        """Finish or undo what was interrupted; return what was done. Raises HostError."""
        if not exists(self.path):
            return None
        with self._guard, opened(self.path, make=False) as area:
            return recovery.recover(area)

    def lock(self) -> int:
        """Hold this directory until the fd is closed. HostError names the holder.

        A Kubernetes volume is externally managed: the directory itself is locked, nothing is written into it.
        """
        if os.path.islink(os.path.join(self.path, "..data")):
            return locks.lock_directory(self.path)
        with opened(self.path) as area:
            return locks.lock(LOCK, self.path, area.area)

    def remove_all(self, stems: tuple[str, ...]) -> None:
        """Remove the staging area and, of these stems, the live keys."""
        with self._guard, opened(self.path) as area:
            for stem in stems:
                remove(area.live, f"{stem}.key")
            for path in (STAGED, PENDING, REFUSED, *_generations(area), OLD):
                area.drop(path)
            for name in os.listdir(area.area):
                remove(area.area, name)
            os.rmdir(AREA, dir_fd=area.live)
            os.fsync(area.live)


def _generations(area: Area) -> list[str]:
    """The directories of all generations, inner ones first."""
    pairs = [f"{OLD}/{stem}" for stem in area.listed(OLD)]
    return [*(f"{pair}/{number}" for pair in pairs for number in area.listed(pair)), *pairs]


def _stored(directory: int, prefix: str, stem: str, number: int = 0) -> Stored | None:
    """Certificate and key of one stem, read back from the disk; None without a certificate."""
    cert, key = read(directory, f"{prefix}crt"), read(directory, f"{prefix}key")
    if cert is None:
        return None
    return Stored(stem=stem, cert=cert, key=key, at=_time(directory, f"{prefix}crt"), number=number)


def _time(directory: int, name: str) -> float:
    return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime


def _swap(area: Area, staged: int, stem: str, key_mode: int | None, owner: Ids) -> None:
    """The commit. `key_mode` None: only the certificate moves, and no window exists."""
    if key_mode is not None:
        finish(staged, f"{stem}.key", key_mode, owner)
    finish(staged, f"{stem}.crt", CERT_MODE, owner)
    write(area.area, INTENT, json.dumps({"stem": stem}).encode())
    if key_mode is not None:
        os.rename(f"{stem}.key", f"{stem}.key", src_dir_fd=staged, dst_dir_fd=area.live)
    os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
    os.fsync(area.live)
    os.fsync(staged)
    remove(area.area, INTENT)
    os.fsync(area.area)


def _keep(area: Area, stem: str, keep: int) -> None:
    """Copy the live pair into the newest generation; forget the oldest."""
    cert, key = read(area.live, f"{stem}.crt"), read(area.live, f"{stem}.key")
    if cert is None or (stem not in BUNDLES and not matched(cert, key)):
        return
    numbers = area.numbers(f"{OLD}/{stem}")
    with area.sub(f"{OLD}/{stem}/{(numbers or [0])[-1] + 1}") as new:
        if key is not None and stem not in BUNDLES:
            write(new, "key", key)
        write(new, "crt", cert)
    for number in numbers[: max(0, len(numbers) + 1 - keep)]:
        area.drop(f"{OLD}/{stem}/{number}")
