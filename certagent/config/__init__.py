"""TOML -> Config: everything is checked here, all errors are reported together, and nothing is checked again later.

Rejected: msgspec and pydantic. One stops at the first error, the other costs more memory than the whole loop.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from certagent.config.cross_check import normalise
from certagent.config.expand import Config, build
from certagent.config.lines import lines_of, not_toml, not_utf8
from certagent.config.reader import ConfigError
from certagent.config.schema import AuthorityConfig, LocalConfig
from certagent.posix.rights import Lack, lacking

__all__ = ["AuthorityConfig", "Config", "ConfigError", "LocalConfig", "build", "load"]

MACHINE = "/etc/machine-id"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def load(path: str, resolved: Callable[[str], str] = normalise) -> Config:
    """Given a file, return its configuration. Raises ConfigError with every error, each with its key path.

    `resolved`: where a path leads. By default no link is looked through: what it names may lie on a mount that hangs.
    """
    data = _read(path)
    lines = lines_of(data.decode("utf-8-sig", "replace"))
    document = document_of(path, data)

    def explained(errors: list[str]) -> list[str]:
        from certagent.config.belonging import with_homes

        return with_homes(errors, document)

    found = build(path, document, socket.gethostname(), resolved, lines, explained)
    return replace(found, policies=tuple(replace(p, machine=_machine()) for p in found.policies))


def _read(path: str) -> bytes:
    """Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        lack = lacking(path) if isinstance(error, PermissionError) else None
        raise ConfigError((_unreadable(path, error, lack),)) from error


def _unreadable(path: str, error: OSError, lack: Lack | None) -> str:
    """Given why a file cannot be read, and what its rights lack for that, return what is said of it."""
    why, command = (f": {lack.clause}", f"{lack.command}, or ") if lack else ("", "")
    remedy = f"{_written(error)}{command}name another file with -c or CERTAGENT_CONFIG"
    return f"{path}: cannot be read: {error.strerror}{why}; {remedy}"


def _written(error: OSError) -> str:
    return "write it (certagent init prints one for this host), or " if error.errno == errno.ENOENT else ""


def document_of(path: str, data: bytes) -> dict[str, Any]:
    """Given a file's path and bytes, return its TOML. Raises ConfigError."""
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # with or without a byte order mark
    except (ValueError, RecursionError) as error:
        utf16 = "it is UTF-16 (it starts with a byte order mark); save it as UTF-8"
        if isinstance(error, UnicodeDecodeError) and data[:2] not in UTF_16:
            raise ConfigError((not_utf8(path, error),)) from error
        problem = utf16 if data[:2] in UTF_16 else str(error)
        raise ConfigError((not_toml(path, problem, data.decode("utf-8-sig", "replace")),)) from error


def _machine() -> str:
    """The machine-id (machine-id(5)), "" where there is none, as in many containers."""
    with suppress(OSError), open(MACHINE, "rb") as file:
        return file.read(64).decode("ascii", "replace").strip()
    return ""
