"""Remove what an interrupted step left in the staging area: temporary names, and private keys that nothing needs.

What a recovery needs stays: a staged certificate, its key, and every whole generation.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from certagent.certs_dir.swap.area import GUARDS, INTENT, OLD, PENDING, REFUSED, STAGED, TAKING, Area, opened
from certagent.certs_dir.swap.files import readable, readable_key, remove
from certagent.keys import Key, matched
from certagent.posix.errors import HostError


@contextmanager
def changing(path: str, *, make: bool = True) -> Iterator[Area]:
    """The area of a certs-dir for one step, for one thread. After a failure nothing half-made is left."""
    with GUARDS[path], opened(path, make=make) as area:
        try:
            yield area
        except BaseException:
            tidy(area)
            raise


def tidy(area: Area) -> None:
    """What a step leaves that ends early. What cannot be removed now is removed by the next one."""
    _remove(area, "", [n for n in area_names(area, "") if n == f".{INTENT}.new"])
    with suppress(OSError):
        if TAKING in area_names(area, ""):
            area.drop(TAKING)
    for place, other in ((STAGED, ".crt"), (PENDING, ".csr")):
        names = area_names(area, place)
        _remove(area, place, [*temporary(names), *keys_alone(names, other)])
    _remove(area, REFUSED, temporary(area_names(area, REFUSED)))


def sweep(area: Area) -> None:
    """The same at a start, with what earlier versions left in generations, and requests that were answered long ago."""
    tidy(area)
    for stem in area_names(area, OLD):
        for number in area_names(area, f"{OLD}/{stem}"):
            with suppress(OSError):
                _complete(area, f"{OLD}/{stem}", number)
    _forget_answered(area)


def _complete(area: Area, above: str, number: str) -> None:
    """Remove a generation that was never finished. Raises OSError where it cannot be listed: then it stays."""
    names = area.listed(f"{above}/{number}")
    if "crt" in names:
        _remove(area, f"{above}/{number}", temporary(names))
        return
    _remove(area, f"{above}/{number}", ["key", *temporary(names)])
    with area.found(above) as fd:
        os.rmdir(number, dir_fd=fd)


def area_names(area: Area, place: str) -> list[str]:
    """The names in a directory of the area; none where it cannot be read."""
    with suppress(OSError):
        return area.listed(place)
    return []


def temporary(names: Iterable[str]) -> list[str]:
    """Given the names of a directory, return those of files that were not finished."""
    return [n for n in names if n.startswith(".")]


def keys_alone(names: Iterable[str], other: str = ".crt") -> list[str]:
    """Given the names of a directory, return the keys without their other file: a step that was cut off."""
    present = set(names)
    return sorted(n for n in present if n.endswith(".key") and n.removesuffix(".key") + other not in present)


def _forget_answered(area: Area) -> None:
    """Remove requests whose key is in use, or staged: a crash came between the answer and its removal."""
    with suppress(OSError, HostError), area.found(PENDING) as pending, area.found(STAGED) as staged:
        if pending is None:
            return
        for stem in key_stems(os.listdir(pending)):
            if _in_use(readable_key(pending, f"{stem}.key"), stem, (area.live, staged)):
                _remove(area, PENDING, [f"{stem}.csr", f"{stem}.key"])


def key_stems(names: Iterable[str]) -> list[str]:
    """Given the names of a directory, return the stems of its keys."""
    return [n.removesuffix(".key") for n in names if n.endswith(".key")]


def _in_use(key: Key | None, stem: str, places: Iterable[int | None]) -> bool:
    """Whether a key is that of the stem's certificate in one of these directories. Raises OSError, HostError."""
    return any(matched(readable(fd, f"{stem}.crt"), key) for fd in places if fd is not None)


def _remove(area: Area, place: str, names: Iterable[str]) -> None:
    for name in names:
        with suppress(OSError), area.found(place) as fd:
            if fd is not None:
                remove(fd, name)
