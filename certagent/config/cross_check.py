"""Mistakes across tables: directories that overlap, and settings that would give a worker access to keys.

A worker has no managed key and cannot read one. A setting that names such a key, or a directory that contains one,
would silently undo that, in any spelling and through any link. Only `credential = "leaf"` shows a managed pair to a CA,
and `status` reports it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from posixpath import normpath

from certagent.config.remote import RemoteConfig
from certagent.config.schema import AuthorityConfig, LocalConfig


def normalise(path: str) -> str:
    """The one spelling of an absolute path. POSIX keeps two slashes at its head, which Linux does not tell from one."""
    return normpath(f"/{path.lstrip('/')}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the agent itself writes; "": nowhere."""

    state_dir: str
    socket: str
    textfile: str


def cross_check(
    own: Places,
    authorities: dict[str, AuthorityConfig],
    directories: list[str],
    resolved: Callable[[str], str],
) -> list[str]:
    """Given the agent's own places, the authorities, the certs-dirs and where a path leads, return every error."""

    def within(place: str, path: str) -> bool:
        return place.startswith("/") and _within(resolved(place), resolved(path))

    paths = list(dict.fromkeys(directories))
    times = Counter(map(resolved, directories))
    errors = [f"certs_dir: {path} is configured {n} times" for path, n in times.items() if n > 1]
    outside = [
        ("agent.state_dir", own.state_dir, "the state"),
        ("agent.socket", own.socket, "the socket"),
        ("metrics.textfile", own.textfile, "the textfile"),
    ]
    cas = [(f"authority.{a.name}.directory", a.options) for a in authorities.values()]
    outside += [(key, made.directory, "the CA's key") for key, made in cas if isinstance(made, LocalConfig)]
    errors += [
        f"{key}: {what} must not be in the certs directory {path}"
        for key, place, what in outside
        for path in paths
        if within(place, path)
    ]
    kept = [*((p, f"the certs directory {p}") for p in paths), (own.state_dir, f"the agent's state {own.state_dir}")]
    kept += [(made.directory, f"the embedded CA {made.directory}") for _, made in cas if isinstance(made, LocalConfig)]
    for a in authorities.values():
        if isinstance(a.options, RemoteConfig):
            errors += [f"authority.{a.name}.{e}" for e in _handed(a.options, paths, kept, within)]
    return errors


def _handed(
    made: RemoteConfig, directories: list[str], kept: list[tuple[str, str]], within: Callable[[str, str], bool]
) -> Iterator[str]:
    """Settings by which a worker would get a managed key, or could read or replace one."""
    single = {"client_key": made.client_key, **made.secrets}
    for key, place in single.items():
        for path in directories:
            if within(place, path):
                yield (
                    f"{key}: {place} is in the certs directory {path}: a managed key is not given to a worker; use a"
                    " separate credential"
                )
    for key in (k for k, setting in made.ca_type.settings.items() if setting.opens):
        value = made.options[key] or ()
        for place in [value] if isinstance(value, str) else value:
            for path, what in kept:
                if within(path, place) or (path in directories and within(place, path)):
                    yield f"{key}: {place} would give a worker access to {what}; name a narrower path"


def _within(place: str, path: str) -> bool:
    """Whether a place is the path or below it, both resolved."""
    return f"{place.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")
