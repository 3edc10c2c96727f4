"""Finish or undo an interrupted swap, depending on whether key and certificate match."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress

from certagent.certs_dir.swap import generations
from certagent.certs_dir.swap.area import INTENT, OLD, STAGED, Area
from certagent.certs_dir.swap.commit import end
from certagent.certs_dir.swap.files import finish, read, read_key, readable, readable_key, write
from certagent.certs_dir.swap.sweep import tidy
from certagent.keys import matched
from certagent.posix.errors import HostError, reason
from certagent.posix.exchange import exchange


def recover(area: Area) -> str | None:
    """Make every live pair match where that is possible; return what was done, None for nothing.

    A pair that cannot be read does not stop the others. HostError if the interrupted swap was of such a pair: its
    intent stays, so that the recovery is tried again.
    """
    interrupted = INTENT in area.listed()
    with area.sub(STAGED) as staged:
        done, failed = _healed(area, staged)
    if interrupted:
        _raise(failed, _swapped(area))
        end(area)
    tidy(area)
    return told(done, interrupted=interrupted)


def _healed(area: Area, staged: int) -> tuple[list[str], dict[str, Exception]]:
    """What was done to live pairs, and why others could not be examined or repaired, by their stems."""
    done, failed = [], dict[str, Exception]()
    for stem in stems(os.listdir(area.live)):
        try:
            if what := _heal(area, staged, stem):
                done.append(what)
        except (HostError, OSError) as error:
            failed[stem] = error
    return done, failed


def stems(names: Iterable[str]) -> list[str]:
    """Given the names in a certs-dir, return those of its pairs."""
    pairs = [n for n in names if n.endswith((".crt", ".key"))]
    return sorted({n.removesuffix(".crt").removesuffix(".key") for n in pairs} - {"ca"})


def told(done: list[str], *, interrupted: bool) -> str | None:
    """Given what was done to each pair and whether a swap was interrupted, return the sentence; None for nothing."""
    as_it_stood = ["an interrupted swap needed no repair: every pair matches"] if interrupted else []
    return "; ".join(done or as_it_stood) or None


def _swapped(area: Area) -> str:
    """The stem that the intent names; "" where that cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        return str(json.loads(read(area.area, INTENT) or b"")["stem"])
    return ""


def _raise(failed: dict[str, Exception], swapped: str) -> None:
    """Raise if the pair of the interrupted swap could not be examined or repaired; where it is unknown, if any was."""
    for stem in [swapped] if swapped else sorted(failed):
        if (error := failed.get(stem)) is not None:
            raise HostError(f"cannot recover {stem}: {reason(error)}", getattr(error, "errno", None)) from error


def _heal(area: Area, staged: int, stem: str) -> str | None:
    """Given a stem whose live pair does not match, go forward with the staged certificate, else back."""
    cert, key = read(area.live, f"{stem}.crt"), read_key(area.live, f"{stem}.key")
    if key is None or matched(cert, key):
        return None
    if not matched(readable(staged, f"{stem}.crt"), key):
        return _back(area, staged, stem, cert)
    try:
        finish(staged, f"{stem}.crt", 0o644, (None, None))
        os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
    except OSError:
        if back := _back(area, staged, stem, cert):
            return back
        raise
    os.fsync(area.live)
    return f"{stem} was rolled forward: the staged certificate matches the live key"


def _put_back(area: Area, staged: int, file: str) -> None:
    """Put the key live that the swap had moved out; the new one stays staged, where the file system can do that."""
    try:
        exchange(file, staged, area.live)
    except OSError:
        os.rename(file, file, src_dir_fd=staged, dst_dir_fd=area.live)


def _back(area: Area, staged: int, stem: str, cert: bytes | None) -> str | None:
    if matched(cert, readable_key(staged, f"{stem}.key")):
        _put_back(area, staged, f"{stem}.key")
        os.fsync(area.live)
        os.fsync(staged)
        return f"{stem} was rolled back: the certificate could not be replaced"
    unread: OSError | None = None
    for number in reversed(area.numbers(f"{OLD}/{stem}")):
        try:
            with area.found(f"{OLD}/{stem}/{number}") as fd:
                old = None if fd is None else generations.stored(fd, "", stem, number)
        except OSError as error:  # an older one may do; if none does, this one is tried again
            unread = error
            continue
        if old and old.key is not None and old.cert == cert and matched(old.cert, old.key):
            write(staged, f"{stem}.key", old.key)
            os.rename(f"{stem}.key", f"{stem}.key", src_dir_fd=staged, dst_dir_fd=area.live)
            os.fsync(area.live)
            return f"{stem} was rolled back to generation {number}"
    if unread is not None:
        raise unread
    return None
