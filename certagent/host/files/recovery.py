"""Finish or undo an interrupted swap, by cryptographic match alone."""

import os

from certagent.host.files.area import INTENT, OLD, STAGED, Area, finish, matched, read, remove, write
from certagent.host.files.pending import tidy


def recover(area: Area) -> str | None:
    """Make every live pair match that can be made to; return what was done, None where nothing was to do."""
    with area.sub(STAGED) as staged:
        for name in [n for n in area.listed(STAGED) if n.startswith(".")]:
            remove(staged, name)
        names = [n for n in os.listdir(area.live) if n.endswith((".crt", ".key"))]
        live = {n.removesuffix(".crt").removesuffix(".key") for n in names} - {"ca"}
        done = [what for stem in sorted(live) if (what := _heal(area, staged, stem))]
        certs = {n.removesuffix(".crt") for n in area.listed(STAGED) if n.endswith(".crt")}
        for name in [n for n in area.listed(STAGED) if n.endswith(".key") and n.removesuffix(".key") not in certs]:
            remove(staged, name)
    tidy(area)
    if INTENT in os.listdir(area.area):
        remove(area.area, INTENT)
        os.fsync(area.area)
        done = done or ["an interrupted swap was left as it stood: every pair matches"]
    remove(area.area, f".{INTENT}.new")
    return "; ".join(done) or None


def _heal(area: Area, staged: int, stem: str) -> str | None:
    """Given a stem whose live pair does not match, go forward with the staged certificate, else back."""
    cert, key = read(area.live, f"{stem}.crt"), read(area.live, f"{stem}.key")
    if key is None or matched(cert, key):
        return None
    if matched(read(staged, f"{stem}.crt"), key):
        finish(staged, f"{stem}.crt", 0o644, (None, None))
        os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
        os.fsync(area.live)
        return f"{stem} was rolled forward: the staged certificate belongs to the live key"
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
