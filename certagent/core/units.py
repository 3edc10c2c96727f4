"""The systemd units that are shipped: which agent runs as which user, and where its files are."""

from dataclasses import dataclass

DEFAULT_USER = "cockroach"  # of certagent.service
WRITABLE = "/var/lib/cockroach"  # ReadWritePaths= of each unit
HOMES = ("/home", "/root", "/run/user")  # what ProtectHome= hides, or makes read-only


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One agent of a host. The settings are "" where the default is right."""

    name: str  # without .service
    user: str
    config: str
    state_dir: str = ""
    socket: str = ""


def unit_of(user: str) -> Unit:
    """Given the user that an agent runs as, return its unit."""
    if user == DEFAULT_USER:
        return Unit(name="certagent", user=user, config="/etc/certagent/config.toml")
    if user == "root":
        return _apart("certagent-root", "certagent-root", user, "root")
    return _apart(f"certagent@{user}", f"certagent-{user}", user, user)


def _apart(unit: str, place: str, user: str, file: str) -> Unit:
    return Unit(
        name=unit,
        user=user,
        config=f"/etc/certagent/{file}.toml",
        state_dir=f"/var/lib/{place}",
        socket=f"/run/{place}/control.sock",
    )


def below(path: str, place: str) -> bool:
    """Whether a path is that place, or below it."""
    return f"{path.rstrip('/')}/".startswith(f"{place.rstrip('/')}/")


def parent(path: str) -> str:
    """The directory that contains a path."""
    return path.rstrip("/").rpartition("/")[0] or "/"


def drop_in(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Given certs directories that the agent changes, return the lines of the drop-in that the shipped unit needs.

    The parent is made writable, because a mount of the directory itself would not show its replacement.
    """
    parents = tuple(dict.fromkeys(parent(p) for p in paths if not below(parent(p), WRITABLE)))
    if not parents:
        return ()
    homes = any(below(p, home) for p in parents for home in HOMES)
    return ("[Service]", *(["ProtectHome=no"] if homes else []), *(f"ReadWritePaths={_escaped(p)}" for p in parents))


def _escaped(path: str) -> str:
    """A path in a unit file: quoted, `%` doubled (systemd.syntax(7))."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return text if text.isalnum() or all(c.isalnum() or c in "/._-@:+" for c in text) else f'"{text}"'


def unit_reading(config: str) -> str:
    """Given the path of a configuration, return the unit that reads it as it is shipped; "" if none does."""
    place, _, file = config.rpartition("/")
    if place != "/etc/certagent" or not file.endswith(".toml"):
        return ""
    shipped = {unit.config: unit.name for unit in (unit_of(DEFAULT_USER), unit_of("root"))}
    return shipped.get(config) or f"certagent@{file.removesuffix('.toml')}"
