"""`type = "command"`: any program that turns a certificate request into a certificate."""

import re
from typing import Any

from certagent.config.reader import LIST, absolute, takes, texts
from certagent.config.remote import CaType, RemoteConfig, Setting, Traits

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@takes(LIST)
def argv(value: Any) -> list[str]:
    """A program by its absolute path, and its arguments: no shell in between."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(v, str) and "\0" not in v for v in found):
        raise ValueError('write a list: ["/path/to/program", "argument"]')
    if not found[0].startswith("/"):
        raise ValueError("name the program by its absolute path")
    return found


@takes({"type": "object", "additionalProperties": {"type": "string"}})
def environment(value: Any) -> dict[str, str]:
    """A table of variables; names that begin with CERTAGENT_ are reserved."""
    if not isinstance(value, dict) or not all(isinstance(v, str) and "\0" not in v for v in value.values()):
        raise ValueError('write a table of strings: { AWS_REGION = "eu-central-1" }')
    for name in value:
        if not VARIABLE.fullmatch(name) or name.startswith("CERTAGENT_"):
            raise ValueError(f"{name!r} must not be set here")
    return dict(value)


@takes(LIST)
def paths(value: Any) -> list[str]:
    """Absolute paths."""
    return [absolute(v) for v in texts(value)]


def traits(made: RemoteConfig) -> Traits:
    """What the daemon must know of one."""
    return Traits(challenge=made.secrets.get("challenge", ""))


CA_TYPE = CaType(
    asked="program",
    account=False,
    traits=traits,
    settings={
        "command": Setting(argv, [], required=True, opens=True),
        "environment": Setting(environment, {}),
        "secret": Setting(str, "", secret=True),
        "challenge": Setting(str, "", secret=True),  # a challengePassword in the request itself
        "readable": Setting(paths, [], opens=True),
        "writable": Setting(paths, [], opens=True),
    },
)
