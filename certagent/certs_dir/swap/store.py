"""The files of one certs-dir: staging, the swap, generations.

Only one thread uses it at a time: a job may stage one pair while the deciding thread installs another one, whose
recovery would take the half-staged files for remains of a crash.
"""

import os
from contextlib import suppress

from certagent.certs_dir.swap import generations, recovery, sweep
from certagent.certs_dir.swap.area import AREA, INTENT, LOCK, OLD, PENDING, REFUSED, STAGED, Area, exists, opened
from certagent.certs_dir.swap.commit import commit, forbid_obstacles
from certagent.certs_dir.swap.files import Ids, digest, finish, is_directory, read, read_key, remove, write
from certagent.certs_dir.swap.odd import odd_entries
from certagent.certs_dir.swap.stored import Kept, Stored
from certagent.certs_dir.swap.sweep import changing
from certagent.core.roles import BUNDLES
from certagent.keys import Key
from certagent.posix import locks
from certagent.posix.errors import HostError
from certagent.posix.responding import required

CERT_MODE = 0o644


class Store:
    """One certs-dir; nothing is opened before the first operation. `keep`: how many generations of each pair."""

    def __init__(self, path: str, keep: int = 5) -> None:
        """Touches nothing."""
        self.path = path
        self.keep = keep

    def stage(self, stem: str, cert: bytes, key: Key | None) -> None:
        """Leave a pair staged. The certificate comes last, so that a staged one always has its key.

        `key` None: a bundle, or the live key stays.
        """
        with changing(self.path) as area, area.sub(STAGED) as staged:
            remove(staged, f"{stem}.crt")
            remove(staged, f"{stem}.key")
            if key is not None:
                write(staged, f"{stem}.key", key)
            write(staged, f"{stem}.crt", cert)

    def staged(self) -> tuple[Stored, ...]:
        """Everything staged, read back from the disk."""
        if not exists(self.path, STAGED):
            return ()
        with changing(self.path, make=False) as area, area.found(STAGED) as fd:
            return () if fd is None else generations.staged(fd)

    def discard(self, stem: str, reason: str) -> None:
        """Reject a staged pair: the key is removed, the certificate is kept with the reason."""
        with changing(self.path) as area, area.sub(STAGED) as staged:
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
        with changing(self.path) as area, area.sub(STAGED) as staged:
            recovery.recover(area)
            cert, key = read(staged, f"{stem}.crt"), read_key(staged, f"{stem}.key")
            judged = None if stem in BUNDLES else key if key is not None else read_key(area.live, f"{stem}.key")
            if (digest(cert), digest(judged)) != digests:
                raise HostError(f"cannot install {stem}: the staged files changed after the pre-install checks")
            self._swap(area, staged, stem, key_mode if key is not None else None, owner)

    def _swap(self, area: Area, staged: int, stem: str, key_mode: int | None, owner: Ids) -> None:
        """Swap in what is staged. `key_mode` None: only the certificate moves, and no window exists."""
        forbid_obstacles(area, stem, with_key=key_mode is not None)
        generations.take(area, stem)
        if key_mode is not None:
            finish(staged, f"{stem}.key", key_mode, owner)
        finish(staged, f"{stem}.crt", CERT_MODE, owner)
        commit(area, stem, with_key=key_mode is not None)
        generations.prune(area, stem, self.keep)

    def generation_marks(self) -> tuple[str, ...]:
        """A mark that changes when a generation is added or removed; cheap."""
        if not exists(self.path, OLD):
            return ()
        with opened(self.path, make=False) as area:
            return generations.marks(area)

    def odd(self) -> tuple[str, ...]:
        """What stands in the staging area and is not certagent's."""
        if not exists(self.path):
            return ()
        with opened(self.path, make=False) as area:
            return odd_entries(area, generations.marks(area))

    def generations(self) -> tuple[Kept, ...]:
        """Every generation kept."""
        if not exists(self.path, OLD):
            return ()
        with opened(self.path, make=False) as area:
            return generations.kept(area)

    def kept(self, stem: str, number: int) -> Stored | None:
        """One generation; None where there is none, or it cannot be read."""
        if not exists(self.path, OLD):
            return None
        with opened(self.path, make=False) as area:
            return generations.read_one(area, stem, number)

    def rollback(self, stem: str, number: int, key_mode: int, owner: Ids) -> None:
        """Install a generation again, in the same way as any pair. Raises HostError, OSError."""
        with changing(self.path) as area, area.sub(STAGED) as staged:
            kept = generations.read_one(area, stem, number)
            if kept is None:
                raise HostError(f"cannot roll {stem} back: there is no generation {number}")
            recovery.recover(area)
            self.stage(stem, kept.cert, kept.key)
            try:
                self._swap(area, staged, stem, key_mode if kept.key is not None else None, owner)
            except (HostError, OSError):
                if INTENT not in area.listed():  # no recovery needs it, and it would pass for a new pair
                    remove(staged, f"{stem}.crt")
                raise

    def recover(self) -> str | None:
        """Finish or undo what was interrupted; return what was done. Raises HostError."""
        if not exists(self.path):
            return None
        with changing(self.path, make=False) as area:
            done = recovery.recover(area)
            sweep.sweep(area)
            return done

    def sweep(self) -> None:
        """At a start: remove what an interrupted step left, whether or not a swap has to be recovered. HostError."""
        if exists(self.path):
            with changing(self.path, make=False) as area:
                sweep.sweep(area)

    def lock(self) -> int:
        """Hold this directory until the fd is closed. HostError names the holder.

        A Kubernetes volume is externally managed: the directory itself is locked, nothing is written into it.
        """
        required(self.path)
        if os.path.islink(os.path.join(self.path, "..data")):
            return locks.lock_directory(self.path)
        with opened(self.path) as area:
            return locks.lock(LOCK, self.path, area.area)

    def remove_all(self, stems: tuple[str, ...]) -> None:
        """Remove the staging area and, of these stems, the live keys. HostError where something else is in it."""
        with changing(self.path) as area:
            _remove_keys(area, stems)
            for path in (STAGED, PENDING, REFUSED, *_generations(area), OLD):
                area.drop(path)
            for name in os.listdir(area.area):
                remove(area.area, name)
            if left := area.listed():
                raise HostError(f"cannot remove {self.path}/{AREA}: {left[0]} is not certagent's; remove it")
            os.rmdir(AREA, dir_fd=area.live)
            os.fsync(area.live)


def _remove_keys(area: Area, stems: tuple[str, ...]) -> None:
    """Remove live keys; a directory in the place of one is not ours."""
    for stem in stems:
        if not is_directory(area.live, f"{stem}.key"):
            remove(area.live, f"{stem}.key")


def _generations(area: Area) -> list[str]:
    """The directories of all generations, inner ones first."""
    pairs = [f"{OLD}/{stem}" for stem in area.listed(OLD)]
    return [*(f"{pair}/{number}" for pair in pairs for number in area.listed(pair)), *pairs]
