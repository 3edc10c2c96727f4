"""Finish or undo an interrupted swap, depending on whether key and certificate match."""

import os
from collections.abc import Iterable

from certagent.certs_dir.swap.area import INTENT, OLD, STAGED, Area, finish, matched, read, remove, write
from certagent.certs_dir.swap.pending import tidy


def recover(area: Area) -> str | None:
    """Make every live pair match where that is possible; return what was done, None for nothing."""
    with area.sub(STAGED) as staged:
        _remove(staged, [n for n in area.listed(STAGED) if n.startswith(".")])
        done = [what for stem in stems(os.listdir(area.live)) if (what := _heal(area, staged, stem))]
        _remove(staged, keys_alone(area.listed(STAGED)))
    tidy(area)
    return told(done, interrupted=_ended(area))


def stems(names: Iterable[str]) -> list[str]:
    """Given the names in a certs-dir, return those of its pairs."""
    pairs = [n for n in names if n.endswith((".crt", ".key"))]
    return sorted({n.removesuffix(".crt").removesuffix(".key") for n in pairs} - {"ca"})


def keys_alone(names: Iterable[str]) -> list[str]:
    """Given the names that are staged, return the keys without a certificate: a staging that was cut off."""
    present = set(names)
    return sorted(n for n in present if n.endswith(".key") and f"{n.removesuffix('.key')}.crt" not in present)


def told(done: list[str], *, interrupted: bool) -> str | None:
    """Given what was done to each pair and whether a swap was interrupted, return the sentence; None for nothing."""
    as_it_stood = ["an interrupted swap needed no repair: every pair matches"] if interrupted else []
    return "; ".join(done or as_it_stood) or None


def _remove(directory: int, names: Iterable[str]) -> None:
    for name in names:
        remove(directory, name)


def _ended(area: Area) -> bool:
    """Remove the intent of a swap; return whether there was one."""
    interrupted = INTENT in os.listdir(area.area)
    if interrupted:
        remove(area.area, INTENT)
        os.fsync(area.area)
    remove(area.area, f".{INTENT}.new")
    return interrupted


def _heal(area: Area, staged: int, stem: str) -> str | None:
    """Given a stem whose live pair does not match, go forward with the staged certificate, else back."""
    cert, key = read(area.live, f"{stem}.crt"), read(area.live, f"{stem}.key")
    if key is None or matched(cert, key):
        return None
    if matched(read(staged, f"{stem}.crt"), key):
        finish(staged, f"{stem}.crt", 0o644, (None, None))
        os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
        os.fsync(area.live)
        return f"{stem} was rolled forward: the staged certificate matches the live key"
    return _back(area, staged, stem, cert)


def _back(area: Area, staged: int, stem: str, cert: bytes | None) -> str | None:
    for number in reversed(area.numbers(f"{OLD}/{stem}")):
        with area.sub(f"{OLD}/{stem}/{number}") as old:
            old_cert, old_key = read(old, "crt"), read(old, "key")
        if old_key is not None and old_cert == cert and matched(old_cert, old_key):
            write(staged, f"{stem}.key", old_key)
            os.rename(f"{stem}.key", f"{stem}.key", src_dir_fd=staged, dst_dir_fd=area.live)
            os.fsync(area.live)
            return f"{stem} was rolled back to generation {number}"
    return None
