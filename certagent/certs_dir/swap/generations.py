"""Earlier pairs, kept for a rollback: `old/STEM/NUMBER` with `crt` and `key`.

A generation is copied below another name and becomes one by the rename of its directory: a full disk leaves no empty
one. The oldest are removed only after a swap has succeeded, so that none that failed costs a way back.
"""

import os
from collections.abc import Iterable
from contextlib import suppress

from certagent.certs_dir.swap.area import OLD, TAKING, Area
from certagent.certs_dir.swap.files import digest, read, read_key, readable, readable_key, write
from certagent.certs_dir.swap.stored import Kept, Stored
from certagent.core.facts import File
from certagent.core.roles import BUNDLES
from certagent.keys import Key, key_file, matched


def take(area: Area, stem: str) -> None:
    """Copy the live pair into a new generation, unless the newest one is the same."""
    cert, key = readable(area.live, f"{stem}.crt"), readable_key(area.live, f"{stem}.key")
    whole = worth_keeping(stem, cert, key)
    if whole is None:
        return
    newest = max(area.numbers(f"{OLD}/{stem}"), default=0)
    if newest and _same(read_one(area, stem, newest), *whole):
        return  # of a swap that failed
    _copy(area, *whole)
    with area.sub(f"{OLD}/{stem}") as place:
        os.rename(TAKING, str(newest + 1), src_dir_fd=area.area, dst_dir_fd=place)
        os.fsync(place)


def worth_keeping(stem: str, cert: bytes | None, key: Key | None) -> tuple[bytes, Key | None] | None:
    """Given live files (None: not there), return what a generation of them has; None where they are no whole pair.

    A bundle has no key, whatever file is named like one.
    """
    if cert is None:
        return None
    if stem in BUNDLES:
        return cert, None
    return (cert, key) if matched(cert, key) else None


def _copy(area: Area, cert: bytes, key: Key | None) -> None:
    """Write what is to be a generation, below a name that is none."""
    area.drop(TAKING)
    with area.sub(TAKING) as new:
        if key is not None:
            write(new, "key", key)
        write(new, "crt", cert)


def prune(area: Area, stem: str, keep: int) -> None:
    """Forget the oldest ones, after a swap; what cannot be removed now is removed after the next one."""
    with suppress(OSError):
        numbers = area.numbers(f"{OLD}/{stem}")
        for number in numbers[: max(0, len(numbers) - keep)]:
            area.drop(f"{OLD}/{stem}/{number}")


def marks(area: Area) -> tuple[str, ...]:
    """A mark that changes when a generation is added or removed; cheap."""
    return tuple(f"{stem}/{n}" for stem in area.listed(OLD) for n in area.listed(f"{OLD}/{stem}"))


def kept(area: Area) -> tuple[Kept, ...]:
    """Every generation that can be read."""
    numbered = [(s, n) for s in area.listed(OLD) for n in area.numbers(f"{OLD}/{s}")]
    return tuple(listed(row) for stem, number in numbered if (row := read_one(area, stem, number)) is not None)


def listed(row: Stored) -> Kept:
    """Given a generation, return it without the descriptor of its key."""
    key = None if row.key is None else key_file(file_of(f"{row.stem}.key", len(row.key), row.at), row.key)
    return Kept(stem=row.stem, cert=row.cert, key=key, at=row.at, number=row.number)


def file_of(name: str, size: int, at: float) -> File:
    """A file of the staging area as a fact."""
    when = int(at * 1e9)
    return File(name, "file", 0o600, 0, 0, size, 0, 0, when, when)


def read_one(area: Area, stem: str, number: int) -> Stored | None:
    """One generation; None where there is none, or nobody can read it."""
    with suppress(OSError), area.found(f"{OLD}/{stem}/{number}") as fd:
        return None if fd is None else stored(fd, "", stem, number)
    return None


def staged(directory: int) -> tuple[Stored, ...]:
    """What is staged in an open directory, by the names of its certificates. Raises OSError."""
    rows = [stored(directory, f"{stem}.", stem) for stem in staged_stems(os.listdir(directory))]
    return tuple(row for row in rows if row is not None)


def staged_stems(names: Iterable[str]) -> list[str]:
    """Given the names in the directory of what is staged, return the stems of its whole certificates, in order."""
    return sorted(n.removesuffix(".crt") for n in names if n.endswith(".crt") and n[0] != ".")


def stored(directory: int, prefix: str, stem: str, number: int = 0) -> Stored | None:
    """Certificate and key of one stem, read back from the disk; None without a certificate."""
    cert, key = read(directory, f"{prefix}crt"), read_key(directory, f"{prefix}key")
    if cert is None:
        return None
    at = os.stat(f"{prefix}crt", dir_fd=directory, follow_symlinks=False).st_mtime
    return Stored(stem=stem, cert=cert, key=key, at=at, number=number)


def _same(kept: Stored | None, cert: bytes, key: Key | None) -> bool:
    return kept is not None and kept.cert == cert and digest(kept.key) == digest(key)
