"""TOML -> Config: everything is checked here, all errors are reported together, and nothing is checked again later.

Rejected: msgspec and pydantic. One stops at the first error, the other costs more memory than the whole loop.
"""

import socket
from collections.abc import Callable

from certagent.config.cross_check import normalise
from certagent.config.expand import Config, Settings, build
from certagent.config.reader import ConfigError
from certagent.config.schema import AuthorityConfig, LocalConfig

__all__ = ["AuthorityConfig", "Config", "ConfigError", "LocalConfig", "Settings", "build", "load"]


def load(path: str, resolved: Callable[[str], str] = normalise) -> Config:
    """Given a file, return its configuration. Raises ConfigError with every error, each with its key path.

    `resolved`: where a path leads. By default no link is looked through: what it names may lie on a mount that hangs.
    """
    import tomllib

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            (f"{path}: cannot be read: {error.strerror}; name another file with -c or CERTAGENT_CONFIG",)
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError((f"{path}: not valid TOML: {error}",)) from error
    return build(path, document, socket.gethostname(), resolved)
