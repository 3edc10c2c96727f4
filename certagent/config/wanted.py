"""One wanted file: which authorities issue it, and what it should be."""

from typing import Any

from certagent.config.reader import LIST, Table, absolute, duration, flag, meant, mode, one_of, takes, text, texts
from certagent.config.schema import KEYS, AuthorityConfig, owner, renew_at, san, uris
from certagent.core.names import Name
from certagent.core.policy import Owner, RenewAt, Want


def asked(table: Table, key: str, authorities: dict[str, AuthorityConfig], default: tuple[str, ...]) -> tuple[str, ...]:
    """Names of configured authorities, without those of type `none`."""
    found = table.get(key, texts, default)
    for name in found:
        if name not in authorities:
            table.error(key, f"there is no [authority.{name}]{meant(name, authorities)}")
    return tuple(n for n in found if n in authorities and authorities[n].type != "none")


def want_of(
    table: Table,
    name: Name,
    source: tuple[str, ...],
    sans: tuple[str, ...] | None,
    who: Owner,
    authorities: dict[str, AuthorityConfig],
    *,
    split: bool,
) -> Want:
    """What is wanted of a file: its own table, then what its role asks for."""
    use = name.kind.asked(name.subject, split=split)
    key_owner = table.get("key_owner", owner, None)
    found = Want(
        name,
        asked(table, "authority", authorities, source),
        table.get("names", names_of, sans if use.server else ()),
        table.get("principal", text, use.principal),
        use.server,
        use.client,
        table.get("lifetime", duration, None),
        table.get("key", one_of(*KEYS), name.kind.key),
        table.get("key_mode", mode, (key_owner or who).key_mode),
        key_owner,
        table.get("reuse_key", flag, False),
        table.get("drop_names", flag, False),
        table.get("renew_at", renew_at, RenewAt()),
        table.get("warn", duration, None),
        table.get("critical", duration, None),
        table.get("minimum", duration, None),
        key_configured="key" in table.values,
        uris=_uris(table, name),
        roots=_roots(table, name),
    )
    if found.warn and found.critical and found.warn < found.critical:
        table.error("warn", "must not be shorter than critical")
    table.done()
    return found


def _uris(table: Table, name: Name) -> tuple[str, ...] | None:
    found: tuple[str, ...] | None = table.get("uris", uris, None)
    if found is not None and name.is_bundle:
        table.error("uris", "a trust bundle has none")
    return found


def _roots(table: Table, name: Name) -> str:
    found: str = table.get("roots", absolute, "")
    if found and not name.kind.system_roots:
        table.error("roots", "only `ui` may have `roots`: all other files are verified by a bundle of the directory")
    return found


@takes(LIST)
def names_of(value: Any) -> tuple[str, ...] | None:
    """DNS names and addresses; None is the default, the names of the live certificate."""
    return san(value)
