"""What stands in the staging area and is not certagent's: it is named in a finding, and otherwise left alone."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from certagent.certs_dir.reading import printable
from certagent.certs_dir.swap.area import INTENT, LOCK, OLD, PENDING, REFUSED, STAGED, TAKING, Area

Entry = os.DirEntry[str]
FILES = {"": (INTENT, LOCK), STAGED: (".crt", ".key"), PENDING: (".csr", ".key"), REFUSED: (".crt", ".reason")}
DIRECTORIES = frozenset({STAGED, OLD, PENDING, REFUSED, TAKING})


def odd_entries(area: Area, generations: Iterable[str]) -> tuple[str, ...]:
    """Their paths below the area, given the generations as `STEM/NUMBER`."""
    found = [f"{OLD}/{place}" for place in generations if not place.rpartition("/")[2].isdecimal()]
    found += _strange(area, "", lambda e: _ours(e) or (e.name in DIRECTORIES and e.is_dir(follow_symlinks=False)))
    found += _strange(area, OLD, lambda e: e.is_dir(follow_symlinks=False))
    for place in (STAGED, PENDING, REFUSED):
        found += _strange(area, place, lambda e, place=place: _file(e, FILES[place]))  # type: ignore[misc]
    return tuple(sorted(printable(path) for path in found))


def _strange(area: Area, place: str, ours: Callable[[Entry], bool]) -> list[str]:
    """The entries of one directory that are not ours."""
    with suppress(OSError), area.found(place) as fd:
        if fd is not None:
            with os.scandir(fd) as entries:
                return [f"{place}/{e.name}".lstrip("/") for e in entries if not ours(e)]
    return []


def _ours(entry: Entry) -> bool:
    return entry.name.removeprefix(".").removesuffix(".new") in FILES[""] and entry.is_file(follow_symlinks=False)


def _file(entry: Entry, endings: tuple[str, ...]) -> bool:
    """A file with one of our endings; one that is being written has a dot before its name."""
    plain = entry.name.removesuffix(".new") if entry.name.startswith(".") else entry.name
    return plain.endswith(endings) and entry.is_file(follow_symlinks=False)
