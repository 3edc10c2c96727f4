"""The configuration as a JSON Schema, for editors: from the readers, by which the configuration itself is read.

Only `certagent schema config` imports this. What holds between settings, such as two that belong together, is no part
of it: `certagent config check` says that.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from certagent.config import remote
from certagent.config.expand import NOBODY, policy_of, settings_of
from certagent.config.metrics import metrics
from certagent.config.reader import SHAPES, UNITS, Asked, OneOf, Shape, Table, mode
from certagent.config.schema import authority, ocsp, process, rotation
from certagent.config.wanted import want_of
from certagent.core.names import NODE

if TYPE_CHECKING:
    from collections.abc import Callable

BELOW = ("metrics", "certs_dir", "file", "process", "ocsp", "rotation")
DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that editors' TOML plugins know


def schema() -> Shape:
    """The schema of the whole configuration."""
    agent = Table("agent", {}, [])
    settings = settings_of(agent)
    exported, directory, file, *tables = (Table(name, {}, []) for name in BELOW)
    metrics(exported)
    policy_of(directory, "", settings, {})
    want_of(file, NODE, (), None, NOBODY, {}, split=False)
    readers: tuple[Callable[[Table], object], ...] = (process, ocsp, rotation)
    for read, table in zip(readers, tables, strict=True):
        read(table)
    below = {table.path: _table(table) for table in tables}
    below["file"] = {"type": "object", "additionalProperties": _table(file)}
    authorities = {"oneOf": [_authority(kind) for kind in ("local", "none", *remote.kinds())]}
    return {
        "$schema": DRAFT,
        "title": "certagent's configuration",
        "type": "object",
        "required": ["certs_dir"],
        "additionalProperties": False,
        "properties": {
            "agent": _table(agent),
            "metrics": _table(exported),
            "authority": {"type": "object", "additionalProperties": authorities},
            "certs_dir": {"type": "array", "minItems": 1, "items": _table(directory, below)},
        },
    }


def _authority(kind: str) -> Shape:
    table = Table("authority.NAME", {"type": kind}, [])
    authority(table, "NAME")
    secrets = {k for k, s in remote.ca_type(kind).settings.items() if s.secret} if kind in remote.kinds() else set()
    made = _table(table, {"type": {"const": kind}})
    for key in secrets:
        made["properties"][key]["description"] = "where the secret is, not the secret itself"
    return made


def _table(table: Table, below: dict[str, Shape] | None = None) -> Shape:
    """A table, by the keys that were asked for. `below`: what the readers do not say."""
    found = {key: (below or {}).get(key) or _setting(asked) for key, asked in table.settings.items()}
    required = sorted(key for key, asked in table.settings.items() if asked.required)
    made: Shape = {"type": "object", "additionalProperties": False, "properties": found}
    return made | ({"required": required} if required else {})


def _setting(asked: Asked) -> Shape:
    if isinstance(asked.read, OneOf):
        shape: Shape = {"enum": list(asked.read.allowed)}
    elif asked.read is None:
        shape = {"type": "object"}
    else:
        shape = dict(SHAPES[asked.read])
    default = _default(asked, shape)
    return shape if default is None else shape | {"default": default}


def _default(asked: Asked, shape: Shape) -> Any:
    """The default as a file would have it; None where it is nothing, or follows from something else."""
    value = asked.default
    if asked.required or value in ("", (), [], {}):
        return None
    if asked.read is mode:
        return f"{value:04o}"
    if isinstance(value, timedelta) or (isinstance(value, float) and shape.get("type") == "string"):
        return _duration(value.total_seconds() if isinstance(value, timedelta) else value)
    if isinstance(value, tuple):
        return list(value) if all(isinstance(v, str) for v in value) else None
    return value if isinstance(value, bool | int | str) else None


def _duration(seconds: float) -> str | None:
    """A duration in the largest unit that says it exactly; None for none."""
    whole = [(n, unit) for unit, n in UNITS.items() if seconds and seconds % n == 0]
    return f"{int(seconds / max(whole)[0])}{max(whole)[1]}" if whole else None
