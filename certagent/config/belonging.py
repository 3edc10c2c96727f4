"""Where a setting belongs that stands in a table which does not have it: by the schema, which the readers make.

Only a mistake needs it, so only then the schema is made.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from certagent.config.described import schema
from certagent.config.reader import UNKNOWN_SETTING, Shape

UNKNOWN = re.compile(rf"(.*?)([^.\s]+): {UNKNOWN_SETTING}(; did you mean .*)?")
REQUIRED = re.compile(r"(.*?)([^.\s]+): is required")
NUMBER = re.compile(r"\[\d+\]")
CLOSE = 0.8  # how alike a name must be that may be meant in another table
AUTHORITY = "[authority.NAME] of type "
NAMED = 3  # types of authorities
Homes = dict[str, list[str]]  # of each setting: the tables that have it, as a file writes them


def with_homes(errors: list[str], document: Mapping[str, Any]) -> list[str]:
    """Given the errors of a document, return them with the table that an unknown setting belongs in.

    That it is missing there is no second error. A setting of another type of authority is said as that.
    """
    unknown = {e: found for e in errors if (found := UNKNOWN.fullmatch(e))}
    if not unknown:
        return errors
    homes = known_homes(schema())
    said = {e: _untaken(m, homes, document) or _said(m, homes) for e, m in unknown.items()}
    moved = {(m[2], home) for e, m in unknown.items() if said[e] != e for home in homes.get(m[2], ())}
    return [said.get(e, e) for e in errors if not _misplaced(e, moved)]


def _said(found: re.Match[str], homes: Homes) -> str:
    """The sentence about one unknown setting: an exact name elsewhere, else a similar one here, else one elsewhere."""
    path, key, near = found[1], found[2], found[3]
    name = key if key in homes else next(iter(difflib.get_close_matches(key, homes, 1, CLOSE)), "")
    if not name or (near and name != key):
        return found[0]
    where = " or ".join(_shown(homes[name]))
    what = f"it belongs in {where}" if name == key else f"did you mean {name!r} in {where}?"
    return f"{path}{key}: {UNKNOWN_SETTING}; {what}"


def _untaken(found: re.Match[str], homes: Homes, document: Mapping[str, Any]) -> str:
    """The sentence about a setting that only authorities of other types take; "" where it is something else."""
    path, key = found[1], found[2]
    takers = [kind for home in homes.get(key, ()) if (kind := home.removeprefix(AUTHORITY)) != home]
    if not takers or not path.startswith("authority."):
        return ""
    own = document["authority"][path.removeprefix("authority.").removesuffix(".")]["type"]
    taken = sorted(name for name, tables in homes.items() if f"{AUTHORITY}{own}" in tables and name != "type")
    what = f"its settings are {', '.join(taken)}" if taken else "it has no settings"
    return f'{path}{key}: {UNKNOWN_SETTING}; type "{own}" takes no {key}: {what}; {key} is for type {", ".join(takers)}'


def _misplaced(error: str, moved: set[tuple[str, str]]) -> bool:
    """Whether an error says that a setting is required which stands elsewhere."""
    found = REQUIRED.fullmatch(error)
    return found is not None and (found[2], _table(found[1])) in moved


def _table(path: str) -> str:
    """A table as a file writes it, by the path that errors have: `certs_dir[0].process.` -> [certs_dir.process]."""
    plain = NUMBER.sub("", path.removesuffix("."))
    return f"[[{plain}]]" if plain == "certs_dir" else f"[{plain}]"


def known_homes(whole: Shape) -> Homes:
    """Given the schema of the configuration, return where each setting is known."""
    found: Homes = {}
    for key, table in _all(whole):
        if table not in found.setdefault(key, []):
            found[key].append(table)
    return found


def _all(whole: Shape) -> Iterator[tuple[str, str]]:
    tables = whole["properties"]
    for name in ("agent", "metrics"):
        yield name, f"a table of its own: write [{name}]"
        yield from ((key, f"[{name}]") for key in tables[name]["properties"])
    directory = tables["certs_dir"]["items"]["properties"]
    yield "file", "[[certs_dir]]: write [certs_dir.file.NAME]"
    yield from ((key, "[[certs_dir]]") for key, shape in directory.items() if shape.get("type") != "object")
    yield from ((key, "[certs_dir.file.NAME]") for key in directory["file"]["additionalProperties"]["properties"])
    for name, shape in ((n, s) for n, s in directory.items() if "properties" in s):
        yield name, f"[[certs_dir]]: write [certs_dir.{name}]"
        yield from ((key, f"[certs_dir.{name}]") for key in shape["properties"])
    for shape in tables["authority"]["additionalProperties"]["oneOf"]:
        kind = shape["properties"]["type"]["const"]
        yield from ((key, f"{AUTHORITY}{kind}") for key in shape["properties"])


def _shown(tables: list[str]) -> list[str]:
    """Types of authorities share one phrase; that most have it need not be said by their names."""
    kinds = [kind for t in tables if (kind := t.removeprefix(AUTHORITY)) != t]
    others = [t for t in tables if not t.startswith(AUTHORITY)]
    of = f" of type {', '.join(kinds)}" if len(kinds) <= NAMED else ""
    return [*others, *([f"[authority.NAME]{of}"] if kinds else [])]
