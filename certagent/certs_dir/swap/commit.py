"""The two renames of a swap. Where the second one cannot be made, the first is undone immediately.

Key and live key change places in one step (RENAME_EXCHANGE), so that the undoing is the same step once more: it needs
no room on the disk, and the previous key is the same file with its mode and owner. Where a file system cannot do that,
the previous key is written again. Whatever fails after the second rename is left to the recovery.
"""

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from certagent.certs_dir.swap.area import INTENT, STAGED, Area
from certagent.certs_dir.swap.files import finish, is_directory, read_key, readable_key, remove, write
from certagent.core.obstacles import remedy, told
from certagent.keys import Key
from certagent.posix.errors import HostError, reason
from certagent.posix.exchange import exchange
from certagent.posix.flags import fixed

Undo = Callable[[], None]


def forbid_obstacles(area: Area, stem: str, *, with_key: bool) -> None:
    """Raise HostError where it can be seen beforehand that a live file cannot be replaced."""
    if word := fixed(area.live):
        raise HostError(f"cannot install {stem}: {told(area.path, word)}; {remedy(area.path, word)}")
    for file in (f"{stem}.key", f"{stem}.crt") if with_key else (f"{stem}.crt",):
        if word := fixed(area.live, file):
            raise HostError(f"cannot install {stem}: {told(file, word)}; {remedy(f'{area.path}/{file}', word)}")
        if is_directory(area.live, file):
            raise HostError(f"cannot install {stem}: {file} is a directory, so it cannot be replaced; move it away")


def commit(area: Area, stem: str, *, with_key: bool) -> None:
    """Rename what is staged over the live names. HostError: nothing has changed, unless it says so."""
    with area.sub(STAGED) as staged:
        write(area.area, INTENT, json.dumps({"stem": stem}).encode())
        undo: list[Undo] = []
        try:
            if with_key:
                undo.append(_key_over(area.live, staged, f"{stem}.key"))
            os.rename(f"{stem}.crt", f"{stem}.crt", src_dir_fd=staged, dst_dir_fd=area.live)
        except OSError as error:
            raise _undone(area, staged, stem, undo, error) from error
        os.fsync(area.live)
        remove(staged, f"{stem}.key")  # the previous one, where the two changed places
        os.fsync(staged)
    end(area)


def end(area: Area) -> None:
    """Remove the intent: the swap is over."""
    remove(area.area, INTENT)
    os.fsync(area.area)


def _undone(area: Area, staged: int, stem: str, undo: list[Undo], error: OSError) -> HostError:
    """Undo what was done; return what is to be said of it."""
    what = f"cannot replace {stem}.{'crt' if undo else 'key or ' + stem + '.crt'}: {error.strerror}"
    try:
        for step in undo:
            step()
        os.fsync(area.live)
        os.fsync(staged)
        end(area)
    except (OSError, HostError) as second:
        return HostError(f"{what}; the previous key could not be put back: {reason(second)}", error.errno)
    return HostError(f"{what}; the key and the certificate are what they were before", error.errno)


def _key_over(live: int, staged: int, file: str) -> Undo:
    """Put the staged key in the place of the live one; return what undoes that."""
    with suppress(OSError):  # there is no live key, or the file system cannot do it
        exchange(file, staged, live)
        return lambda: exchange(file, staged, live)
    try:
        info = os.stat(file, dir_fd=live, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(file, file, src_dir_fd=staged, dst_dir_fd=live)
        return lambda: os.rename(file, file, src_dir_fd=live, dst_dir_fd=staged)
    previous, new = readable_key(live, file), read_key(staged, file)
    os.rename(file, file, src_dir_fd=staged, dst_dir_fd=live)
    return lambda: _written_again(live, staged, file, (previous, info), new)


def _written_again(
    live: int, staged: int, file: str, before: tuple[Key | None, os.stat_result], new: Key | None
) -> None:
    previous, info = before
    if previous is None:
        raise HostError(f"{file} was not a file that can be read")
    write(staged, file, previous)
    finish(staged, file, stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid))
    os.rename(file, file, src_dir_fd=staged, dst_dir_fd=live)
    if new is not None:
        write(staged, file, new)
