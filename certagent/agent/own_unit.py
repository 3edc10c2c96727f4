"""The unit that this agent runs in, by the kernel, and what its files let it write.

A running unit keeps the mounts that it was started with: a directory that its `ReadWritePaths=` names, and that was
made later, stays read-only for it. systemd itself is not asked, because the agent starts no program for that.
"""

import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from certagent.core.units import below

CGROUP = "/proc/self/cgroup"
PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
SETTING = "ReadWritePaths"


def own_unit(cgroups: str) -> str:
    """Given /proc/self/cgroup, return the service that this process belongs to; "" where it belongs to none."""
    words = (line.rpartition("/")[2] for line in cgroups.splitlines())
    return next((word for word in words if word.endswith(".service") and not word.startswith("user@")), "")


def read_only_remedy(directory: str, cgroup: str = CGROUP, places: tuple[str, ...] = PLACES) -> str:
    """What to do about a directory that the agent sees as read-only, in the unit that it runs in or outside of any."""
    unit = ""
    with suppress(OSError):
        unit = own_unit(Path(cgroup).read_text(encoding="utf-8"))
    if not unit:
        return "mount it writable"
    name = unit.removesuffix(".service")
    if any(below(directory, path) for path in writable(unit, places)):
        return f"systemctl restart {name}: its {SETTING}= names the directory, and takes effect when the unit starts"
    return f"systemctl edit {name}: [Service] {SETTING}={directory}, then systemctl restart {name}"


def writable(unit: str, places: tuple[str, ...] = PLACES) -> list[str]:
    """Given a unit, return the paths that its files and drop-ins make writable; an empty setting takes them back."""
    found: list[str] = []
    for file in _files(unit, places):
        with suppress(OSError, ValueError):
            for line in file.read_text(encoding="utf-8").splitlines():
                key, _, value = line.partition("=")
                if key.strip() == SETTING:
                    found = [*found, *(word.lstrip("-+") for word in shlex.split(value))] if value.strip() else []
    return found


def _files(unit: str, places: tuple[str, ...]) -> Iterator[Path]:
    """The file of a unit, its template's where it has none, and the drop-ins of both, by name."""
    instance, _, kind = unit.rpartition(".")
    template = f"{instance.partition('@')[0]}@.{kind}" if "@" in instance else unit
    names = dict.fromkeys((unit, template))
    there = [Path(place, name) for name in names for place in places]
    yield from [file for file in there if file.is_file()][:1]
    drop_ins = [file for name in names for place in places for file in Path(place, f"{name}.d").glob("*.conf")]
    yield from sorted(drop_ins, key=lambda file: file.name)
