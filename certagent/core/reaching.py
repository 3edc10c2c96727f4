"""Whether a unit reaches a path, by systemd's settings of it: for one that does not run and cannot be looked into."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from certagent.core.units import HOMES, below

SYSTEM = {"yes": ("/usr", "/boot", "/efi"), "full": ("/usr", "/boot", "/efi", "/etc"), "strict": ("/",)}
OPEN = ("/dev", "/proc", "/sys")  # which ProtectSystem=strict leaves
PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - what PrivateTmp= hides
Access = Literal["ok", "missing", "read-only", "hidden", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A path that the agent must reach, and what for. `of_directory`: it is the parent of that certs directory."""

    path: str
    why: str
    write: bool = False
    of_directory: str = ""


def by_settings(need: Need, says: Mapping[str, str]) -> Access:
    """Whether a unit with these settings reaches a path, for one that does not run and cannot be looked into."""
    if any(below(need.path, place) for place in _paths(says, "InaccessiblePaths")):
        return "hidden"
    opened = any(below(need.path, place) for place in _writable(says))
    if says.get("PrivateTmp") in {"yes", "disconnected"} and any(below(need.path, p) for p in PRIVATE) and not opened:
        return "hidden"
    home = says.get("ProtectHome", "no")
    if home != "no" and any(below(need.path, place) for place in HOMES):
        return "hidden" if home in {"yes", "tmpfs"} else "read-only" if need.write else "ok"
    kept = SYSTEM.get(says.get("ProtectSystem", "no"), ())
    shut = any(below(need.path, place) for place in kept) and not any(below(need.path, place) for place in OPEN)
    return "read-only" if need.write and shut and not opened else "ok"


def unseen(error: OSError, *, there: bool) -> Access:
    """Given why a path is not opened in the unit's view, and whether this host has it, return what that means."""
    return "missing" if isinstance(error, FileNotFoundError) and not there else "hidden"


def has_modes(need: Need, uid: int, me: int) -> bool:
    """Whether owners and modes are examined here: not of a certs directory, and only as root or as the agent's user."""
    return not need.of_directory and me in {0, uid}


def by_rights(*, may: bool, there: bool) -> Access:
    """Whether the agent's user may use a path, by owners and modes; what does not exist is not denied."""
    return "ok" if may or not there else "denied"


def _paths(says: Mapping[str, str], setting: str) -> list[str]:
    return [word.lstrip("-+") for word in says.get(setting, "").split()]


def _writable(says: Mapping[str, str]) -> list[str]:
    own = [f"/var/lib/{name}" for name in says.get("StateDirectory", "").split()]
    own += [f"/run/{name}" for name in says.get("RuntimeDirectory", "").split()]
    return [*own, *_paths(says, "ReadWritePaths")]
