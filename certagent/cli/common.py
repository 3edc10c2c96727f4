"""What several verbs share: the -c option, reading the configuration, asking the daemon, printing."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from certagent.config import Config
    from certagent.service import Service

DEFAULT_CONFIG = "/etc/certagent/config.toml"
DEFAULT_SOCKET = "/run/certagent/control.sock"
USAGE = 64
UNKNOWN = 3


def config_option(parser: argparse.ArgumentParser) -> None:
    """-c FILE, else CERTAGENT_CONFIG, else /etc/certagent/config.toml."""
    about = f"the configuration (default: {default_config()})"
    parser.add_argument("-c", "--config", default=argparse.SUPPRESS, metavar="FILE", help=about)


def default_config() -> str:
    """Where the configuration is, unless -c says otherwise; -c stands before the verb or behind it."""
    return os.environ.get("CERTAGENT_CONFIG") or DEFAULT_CONFIG


def json_option(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def read_config(path: str) -> "Config | None":
    """The configuration, or None after its errors were printed."""
    from certagent.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return None


def socket_of(path: str) -> str:
    """The control socket a configuration names, read without the cost of validating it all."""
    import tomllib

    try:
        with open(path, "rb") as file:
            agent = tomllib.load(file).get("agent", {})
    except (OSError, ValueError):  # whoever needs the rest of it will be told
        agent = {}
    return str(agent.get("socket", DEFAULT_SOCKET)) if isinstance(agent, dict) else DEFAULT_SOCKET


def ask(path: str, command: str, **arguments: Any) -> dict[str, Any] | None:
    """The daemon's answer, or None where no daemon answers."""
    from certagent.host.control_client import DaemonSilent
    from certagent.host.control_client import ask as send

    try:
        return send(socket_of(path), command, arguments)
    except DaemonSilent:
        return None


def local_service(path: str) -> "Service | None":
    """A service that has looked once, for when there is no daemon; None after an error was printed."""
    from certagent.host.errors import HostError
    from certagent.running import look

    config = read_config(path)
    if config is None:
        return None
    try:
        return look(config, path)
    except (HostError, OSError) as error:
        print(f"certagent: {error}", file=sys.stderr)
        return None


def emit(document: object) -> None:
    """Print JSON."""
    print(json.dumps(document, indent=2))


class Progress:
    """One line on a terminal that says what is being waited for; nothing where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Shows nothing yet."""
        self._stream = stream if stream.isatty() else None

    def show(self, text: str, seconds: float) -> None:
        """Replace the line."""
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{text} ({seconds:.0f} s)")
            self._stream.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
