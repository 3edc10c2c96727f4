"""`python -m tests.settings` writes the tables of settings in docs/configuration.md anew, for a change that is meant.

What a setting takes and its default are those of the JSON Schema of the configuration, which follows the code; what it
is for is the comment beside it in config.example.toml. tests/test_documented.py holds the page to both.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from certagent.config.remote import kinds
from tests.parsing import ROOT
from tests.public.pinning import run

PAGE, EXAMPLE = ROOT / "docs" / "configuration.md", ROOT / "config.example.toml"
BEGIN, END = "<!-- tables of settings: python -m tests.settings -->", "<!-- end of the tables -->"
TABLE = re.compile(r"^(?:# )?\[+([a-z_.]+)\]+$")
SETTING = re.compile(r"^(?:#\s+)?([a-z0-9_]+) = .*?\s# (.*)$")
SOURCE = "where the secret is: a path, `credential:NAME`, `env:NAME`"
Schema = Mapping[str, Any]


def comments() -> dict[tuple[str, str], str]:
    """What the example says of each setting, by its table."""
    found, table = {}, ""
    for line in EXAMPLE.read_text().splitlines():
        if header := TABLE.match(line):
            table = header[1]
        elif setting := SETTING.match(line):
            found.setdefault((table, setting[1]), setting[2])
    return found


def takes(setting: Schema) -> str:
    """What a setting takes, in words."""
    if "enum" in setting:
        return ", ".join(f"`{json.dumps(value)}`" for value in setting["enum"])
    if "const" in setting:
        return f"`{json.dumps(setting['const'])}`"
    if setting.get("description", "").startswith("where the secret is"):
        return SOURCE
    pattern = str(setting.get("pattern", ""))
    if "smhd" in pattern and "/" in pattern:
        return "a fraction, or a duration"
    words = {"boolean": "`true`, `false`", "integer": "a number", "array": "a list", "object": "a table"}
    one = (
        "a duration"
        if "smhd" in pattern
        else "a path"
        if pattern == "^/"
        else "a URL"
        if "https?" in pattern
        else "a text"
    )
    kind = setting.get("type", "string")
    if isinstance(kind, list):
        item = "a fingerprint" if "A-Fa-f" in pattern else one
        return f"{item}, or a list"
    return words.get(kind, one)


def rows(schema: Schema, keys: list[str], said: dict[tuple[str, str], str], *tables: str) -> Iterator[str]:
    """One table of the page. `tables`: where the example may say something of its settings."""
    yield "| setting | takes | default | |"
    yield "|---|---|---|---|"
    for key in keys:
        setting = schema["properties"][key]
        default = f"`{json.dumps(setting['default'])}`" if "default" in setting else ""
        default = "required" if key in schema.get("required", ()) else default
        about = next((said[t, key] for t in tables if (t, key) in said), "")
        yield f"| `{key}` | {takes(setting)} | {default} | {about.replace('|', chr(92) + '|')} |"


def plain(schema: Schema) -> list[str]:
    """The settings of a table that are no tables themselves."""
    below = ("object", None)
    return [k for k, s in schema["properties"].items() if s.get("type", "enum" in s or None) not in below]


def tables() -> str:
    """The whole part of the page."""
    schema, said = json.loads(run("schema", "config")[1]), comments()
    top, authorities = schema["properties"], schema["properties"]["authority"]["additionalProperties"]["oneOf"]
    by_type = {a["properties"]["type"]["const"]: a for a in authorities}
    remote = [by_type[kind] for kind in kinds()]
    common = [k for k in remote[0]["properties"] if all(k in a["properties"] for a in remote) and k != "type"]
    directory = top["certs_dir"]["items"]
    file = directory["properties"]["file"]["additionalProperties"]
    parts = [("[agent]", rows(top["agent"], plain(top["agent"]), said, "agent"))]
    parts += [("[metrics]", rows(top["metrics"], plain(top["metrics"]), said, "metrics"))]
    parts += [("[[certs_dir]]", rows(directory, plain(directory), said, "certs_dir"))]
    parts += [("[certs_dir.file.NAME]", rows(file, plain(file), said, "certs_dir.file.node", "certs_dir.file.ui"))]
    for name in ("process", "ocsp", "rotation"):
        table = directory["properties"][name]
        parts.append((f"[certs_dir.{name}]", rows(table, plain(table), said, f"certs_dir.{name}")))
    local = by_type["local"]
    parts += [('[authority.NAME] with type = "local"', rows(local, _own(local, []), said, "authority.house"))]
    parts += [("[authority.NAME] of every remote type", rows(remote[0], common, said, "authority.step"))]
    for kind in kinds():
        table = by_type[kind]
        parts.append(
            (f'[authority.NAME] with type = "{kind}"', rows(table, _own(table, common), said, f"authority.{kind}"))
        )
    return "\n\n".join(f"### `{title}`\n\n" + "\n".join(lines) for title, lines in parts)


def _own(table: Schema, common: list[str]) -> list[str]:
    return [key for key in table["properties"] if key not in (*common, "type")]


def page() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
