"""From tables to policies: apply layouts and defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

from certagent.config.cross_check import Places, cross_check, normalise
from certagent.config.lines import placed
from certagent.config.metrics import Metrics, digest, metrics
from certagent.config.reader import (
    LIST,
    ConfigError,
    RedactedValueError,
    Table,
    absolute,
    count,
    duration,
    flag,
    one_of,
    takes,
    texts,
)
from certagent.config.schema import (
    AuthorityConfig,
    LocalConfig,
    authority,
    ocsp,
    owner,
    process,
    rotation,
)
from certagent.config.wanted import asked, names_of, want_of
from certagent.core import names
from certagent.core.names import CA, CA_CLIENT, CA_UI, CLIENT_NODE, NODE, UI, Name
from certagent.core.policy import Owner, Policy, Want

NOBODY = Owner("", 0, 0)
SHARED_WORKER = Owner("nobody", 65534, 65534)
LONGEST_SOCKET = 107  # bytes of a unix socket's path (unix(7): sun_path)
NOWHERE = ""  # the path of a certs-dir that has none: an error already
NO_CLIENTS: tuple[Name, ...] = ()
Layout = Literal["standard", "split-node", "split-ca", "tenant", "client"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`[agent]`."""

    state_dir: str
    socket: str
    rescan: timedelta
    enforce: Literal["repair", "report"]
    log: Literal["auto", "journal", "json", "text"]
    socket_others: Literal["read-only", "refuse"]
    worker_user: Owner  # whom a worker becomes where the agent is root
    resident: bool  # `certagent run` should be running; else a timer runs `run --once`


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration."""

    settings: Settings
    authorities: dict[str, AuthorityConfig]
    policies: tuple[Policy, ...]
    metrics: Metrics
    digest: str  # the same on hosts that are configured alike


def build(
    path: str,
    document: dict[str, Any],
    host: str = "",
    resolved: Callable[[str], str] = normalise,
    lines: Mapping[str, int] = MappingProxyType({}),
    explained: Callable[[list[str]], list[str]] = list,
) -> Config:
    """Given a parsed document and the name of the host, return the configuration. Raises ConfigError with every error.

    By its name a host has a jitter of its own. `resolved`: where a path leads; without it no link is looked through.
    `lines`: of the keys in the file. `explained`: the errors with what only a mistake makes worth finding out.
    """
    errors: list[str] = []
    top = Table("", document, errors)
    settings = settings_of(top.sub("agent"))
    found = metrics(top.meant("metrics"))
    authorities = _authorities(top.meant("authority"))
    listed = top.get("certs_dir", _tables, [])
    if not listed and not any(e.startswith("certs_dir: ") for e in errors):
        top.error("certs_dir", "at least one [[certs_dir]] is required")
    tables = [Table(f"certs_dir[{i}]", values, errors) for i, values in enumerate(listed)]
    policies = tuple(policy_of(table, host, settings, authorities) for table in tables)
    top.done()
    directories = [p.path for p in policies if p.path != NOWHERE]
    places = Places(state_dir=settings.state_dir, socket=settings.socket, textfile=found.textfile)
    errors += cross_check(places, authorities, directories, resolved)
    if errors:
        raise ConfigError(tuple(placed(path, e, lines) for e in explained(errors)))
    return Config(settings, authorities, policies, found, digest(document))


def _authorities(tables: Table) -> dict[str, AuthorityConfig]:
    found = {}
    for name, values in tables.values.items():
        if isinstance(values, dict):
            found[name] = authority(Table(f"authority.{name}", values, tables.errors), name)
        else:
            tables.error(name, "must be a table: write one [authority.NAME] for each")
    return found


@takes({"type": "array"})
def _tables(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise RedactedValueError("write [[certs_dir]], with double brackets")
    return value


def settings_of(table: Table) -> Settings:
    """`[agent]`."""
    found = Settings(
        table.get("state_dir", absolute, "/var/lib/certagent"),
        table.get("socket", _socket, "/run/certagent/control.sock"),
        table.get("rescan", duration, timedelta(seconds=30)),
        table.get("enforce", one_of("repair", "report"), "repair"),
        table.get("log", one_of("auto", "journal", "json", "text"), "auto"),
        table.get("socket_others", one_of("read-only", "refuse"), "read-only"),
        table.get("worker_user", _worker, _own_worker()),
        table.get("resident", flag, True),
    )
    table.done()
    return found


@takes({"type": "string", "pattern": "^/", "maxLength": LONGEST_SOCKET})
def _socket(value: Any) -> str:
    found = absolute(value)
    if len(found.encode()) > LONGEST_SOCKET:
        raise ValueError(f"longer than {LONGEST_SOCKET} bytes, the kernel's limit")
    return found


def _own_worker() -> Owner:
    """The user of workers alone, where the host has it; else one that other services may share."""
    try:
        return owner("certagent-worker")
    except ValueError:
        return SHARED_WORKER


@takes({"type": "string"})
def _worker(value: Any) -> Owner:
    found = owner(value)
    if found.uid == 0:
        raise ValueError("must not be root: the worker runs without privilege")
    return found


def policy_of(table: Table, host: str, settings: Settings, authorities: dict[str, AuthorityConfig]) -> Policy:
    """One `[[certs_dir]]`."""
    path = table.require("path", absolute, NOWHERE)
    who = table.require("owner", owner, NOBODY)
    layout: Layout = table.get("layout", one_of("standard", "split-node", "split-ca", "tenant", "client"), "standard")
    policy = Policy(
        path,
        who,
        host,
        _wants(table, layout, who, authorities),
        layout,
        table.get("enforce", one_of("repair", "report"), settings.enforce),
        table.get("on_exposed", one_of("report", "renew"), "report"),
        process(table.sub("process")),
        table.get("generations", count, 5),
        ocsp=ocsp(table.sub("ocsp"), _responders(authorities)),
        rotation=rotation(table.sub("rotation")),
    )
    table.done()
    return policy


def _responders(authorities: dict[str, AuthorityConfig]) -> tuple[str, ...]:
    """The responders and lists that the configuration has embedded CAs name."""
    local = (a.options for a in authorities.values() if isinstance(a.options, LocalConfig))
    return tuple(dict.fromkeys(url for options in local for url in options.urls if url))


def _wants(table: Table, layout: Layout, who: Owner, authorities: dict[str, AuthorityConfig]) -> tuple[Want, ...]:
    """The files of the layout, `clients`, and what `file` names: bundles first."""
    default = asked(table, "authority", authorities, ())
    clients = asked(table, "client_authority", authorities, default)
    if layout == "split-ca" and "client_authority" not in table.values:
        table.error("client_authority", 'is required by layout = "split-ca"')
    sans = table.get("names", names_of, None)
    files = table.sub("file")
    overrides = {stem: Table(f"{files.path}.{stem}", values, table.errors) for stem, values in files.values.items()}
    stems = _layout(layout) | set(table.get("clients", _clients, NO_CLIENTS))
    stems |= {n for stem, t in overrides.items() if (n := _named(t, stem)) is not None}
    of_ui = default
    if CA_UI in stems and UI.stem in overrides:
        of_ui = asked(overrides[UI.stem], "authority", authorities, default)
    wants = []
    for name in sorted(stems, key=lambda n: (not n.is_bundle, n.stem)):
        own = overrides.get(name.stem) or Table(name.stem, {}, table.errors)
        source = _source(name, default, clients, of_ui)
        wants.append(want_of(own, name, source, sans, who, authorities, split=CLIENT_NODE in stems))
    return tuple(wants)


def _source(name: Name, default: tuple[str, ...], clients: tuple[str, ...], of_ui: tuple[str, ...]) -> tuple[str, ...]:
    """Which authority issues a file by default: `ca-ui` comes from the authority of `ui`."""
    return {"authority": default, "client_authority": clients, "ui": of_ui, "none": ()}[name.kind.issuer]


@takes(LIST)
def _clients(value: Any) -> tuple[Name, ...]:
    """Users, as the pairs that they are kept in. Raises RedactedValueError for one that makes no file name."""
    found = [names.of_user(user) for user in texts(value)]
    bad = [n.reason for n in found if isinstance(n, names.Unknown)]
    bad += [f"name the user, not its file: write {user!r}" for name in texts(value) if (user := _user(name)) != name]
    bad += [f"no SQL user has capital letters: write {user.lower()!r}" for user in texts(value) if user != user.lower()]
    if bad:
        raise RedactedValueError("; ".join(bad))
    return tuple(n for n in found if isinstance(n, Name))


def _user(name: str) -> str:
    """The user that was meant where a file is named."""
    return name.removesuffix(".crt").removesuffix(".key").removeprefix("client.")


def _layout(layout: Layout) -> set[Name]:
    """The files of a layout. `tenant` is a SQL server's directory: its pairs are named by the id, in `file`.

    `client` is that of a host without a server: `clients` names what it has.
    """
    return {
        "standard": {CA, NODE},
        "split-node": {CA, NODE, CLIENT_NODE},
        "split-ca": {CA, CA_CLIENT, NODE, CLIENT_NODE},
        "tenant": {CA},
        "client": {CA},
    }[layout]


def _named(table: Table, stem: str) -> Name | None:
    parsed = names.parse(stem)
    if isinstance(parsed, Name):
        return parsed
    below = next((key for key, value in table.values.items() if isinstance(value, dict)), None)
    if below is None:
        file = next((f for f in (".crt", ".key") if stem.endswith(f)), "")
        table.error("", f"write the name without {file}" if file else parsed.reason)
    else:
        table.error("", f'quote a name that contains a dot: [certs_dir.file."{stem}.{below}"]')
    return None
