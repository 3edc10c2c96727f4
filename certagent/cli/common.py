"""Shared by several verbs: the -c option, reading the configuration, asking the agent, and the reply.

A verb asks, reads and acts. Its result is a Reply: a value that a pure function creates and that is printed in one
place. A verb that cannot continue raises Stopped with its reply.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from certagent.cli.showing import painted
from certagent.core.spelling import printable

if TYPE_CHECKING:
    from certagent.agent.service import Service
    from certagent.config import Config

DEFAULT_CONFIG = "/etc/certagent/config.toml"
DEFAULT_SOCKET = "/run/certagent/control.sock"
DEFAULT_STATE = "/var/lib/certagent"
PREFIX = "certagent: "
USAGE = 64
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
UNKNOWN = 3
UNITS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 7 * 86400.0  # seconds that a command waits


class Reply(NamedTuple):
    """What a verb has to say: the exit code, the text for people, the document for --json, what goes to stderr.

    Without a document --json changes nothing; without a text nothing is printed.
    """

    code: int = 0
    text: str | None = None
    document: object = None
    error: str = ""


class Stopped(Exception):  # noqa: N818 - the end of a verb, by its own reply
    """A verb cannot go on, and `reply` is all that it has to say: `why`, and the remedy where one is known."""

    def __init__(self, reply: Reply, why: str = "", remedy: str = "") -> None:
        """Use `stopped` where there is a remedy."""
        super().__init__(reply.error)
        self.reply = reply
        self.why, self.remedy = why or reply.error.removeprefix(PREFIX), remedy


def complaint(reason: object, code: int) -> Reply:
    """Given why a verb did not do it, return the reply that says so on stderr."""
    return Reply(code, error=f"{PREFIX}{reason}")


def stopped(why: str, remedy: str, code: int) -> Stopped:
    """Given why a verb cannot go on and what to do, return the exception that says both, and keeps them apart."""
    return Stopped(complaint(f"{why}; {remedy}", code), why, remedy)


def said(reply: Reply, *, as_json: bool) -> str | None:
    """Given a reply and whether --json was asked for, return what stdout gets of it; None: nothing."""
    return json.dumps(reply.document, indent=2) if as_json and reply.document is not None else reply.text


def show(reply: Reply, *, as_json: bool) -> int:
    """Print a reply; return its exit code."""
    if reply.error:
        print(harmless(reply.error), file=sys.stderr)
    if (words := said(reply, as_json=as_json)) is not None:
        print(harmless(words) if as_json else painted(harmless(words), sys.stdout, os.environ))
    return reply.code


def harmless(text: str) -> str:
    """A text for a terminal: of its control characters only line breaks and tabs have an effect there."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def config_option(parser: argparse.ArgumentParser) -> None:
    """-c FILE, else CERTAGENT_CONFIG, else /etc/certagent/config.toml."""
    about = f"the configuration file (default: {default_config()})"
    parser.add_argument("-c", "--config", default=argparse.SUPPRESS, metavar="FILE", help=about)


def default_config() -> str:
    """Where the configuration is, unless -c says otherwise; -c stands before the verb or behind it."""
    return os.environ.get("CERTAGENT_CONFIG") or DEFAULT_CONFIG


def json_option(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def seconds(said: str) -> float:
    """A length of time: "10s", "2m" as in the configuration, or a number of seconds. Raises ArgumentTypeError."""
    import re

    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", said, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f'{said!r} is not a time: write "10s", "2m", or a number of seconds')
    return min(float(found[1]) * UNITS[found[2]], LONGEST)


def stem_of(file: str) -> str:
    """The pair that a word on the command line means: node, node.crt and node.key are the same."""
    return file.removesuffix(".crt").removesuffix(".key")


def read_config(path: str, *, trusted: bool = False) -> "Config":
    """The configuration. Raises Stopped with all of its errors.

    `trusted`: it is one to act by, so nobody else may have changed it.
    """
    from certagent.config import ConfigError, load

    try:
        if trusted:
            from certagent.agent.config_file import load_trusted

            return load_trusted(path)
        return load(path)
    except ConfigError as error:
        raise Stopped(Reply(USAGE, error="\n".join(error.errors))) from error


def require_named(path: str) -> None:
    """A configuration that the command line or CERTAGENT_CONFIG names can be opened. Raises Stopped.

    Without it a mistyped -c would reach the agent of the default configuration, whatever the verb is.
    """
    if path == DEFAULT_CONFIG:
        return
    try:
        with open(path, "rb"):
            pass
    except OSError:
        read_config(path)


def socket_of(path: str) -> str:
    """The control socket a configuration names. Raises Stopped where the file does not say which it is."""
    return named(path, "socket", DEFAULT_SOCKET)


def named(path: str, setting: str, default: str, table: str = "agent") -> str:
    """A setting of `[agent]` or another table, read without the cost of validating it all. Raises Stopped.

    The default configuration may be unreadable for this user, or have a mistake: its agent is at the default socket.
    """
    import tomllib

    found: object = None
    with suppress(OSError, ValueError, RecursionError), open(path, "rb") as file:
        found = tomllib.loads(file.read().decode("utf-8-sig")).get(table, {})
    if not isinstance(found, dict) and path != DEFAULT_CONFIG:
        read_config(path)
    return str(found.get(setting, default)) if isinstance(found, dict) else default


def owner_of(path: str, socket: str) -> int | None:
    """The agent's user: who owns its state directory, or, where there is none, the directory of its socket."""
    from certagent.state.ownership import agent_of

    asked = ((named(path, "state_dir", DEFAULT_STATE), agent_of), (os.path.dirname(socket), _owner))
    for place, owner in asked:
        with suppress(OSError):
            if _responds(place):
                return owner(place)
    return None


def _owner(place: str) -> int:
    return os.stat(place).st_uid


def _responds(place: str) -> bool:
    """Whether a directory can be touched without waiting; nothing is started for one on a local file system."""
    from certagent.posix.mounts import MOUNTS

    if MOUNTS.hanging(place) is None:
        return True
    from certagent.posix.responding import responds

    return responds(place)


def ask(
    path: str,
    command: str,
    *,
    patience: float = 5.0,
    heard: Callable[[dict[str, Any]], None] | None = None,
    **arguments: Any,
) -> dict[str, Any] | None:
    """The daemon's answer, or None where no daemon runs. Raises Stopped where one gives none in time, or is hidden.

    `path`: the configuration. `patience` in seconds. `heard` gets what the agent says before its answer. Nothing is
    done in the place of a daemon that is only slow.
    """
    from certagent.control.client import DaemonHidden, DaemonSilent, DaemonSlow, StrangerError, unheard
    from certagent.control.client import ask as send

    socket = socket_of(path)
    about = arguments if heard is None else {**arguments, "stream": True}
    try:
        return send(socket, command, about, patience, owner=owner_of(path, socket), heard=heard or unheard)
    except DaemonHidden as error:
        from certagent.control.standing import hidden

        raise stopped(*hidden(socket), UNKNOWN) from error
    except DaemonSilent:
        return None
    except StrangerError as error:
        why = f"who listens at {socket} is uid {error.uid}: neither root nor the agent's user; nothing was asked"
        raise stopped(why, "see who owns the directory of the socket", UNKNOWN) from error
    except DaemonSlow as error:
        why = f"the agent at {socket} runs, but did not answer {command!r} within {patience:.0f} s"
        remedy = "what it does is in its log: journalctl -u certagent"
        raise stopped(why, remedy, UNKNOWN) from error


def silence(path: str) -> str:
    """Given a configuration whose agent does not answer, return the sentence. Raises Stopped."""
    from certagent.control.standing import silence as told
    from certagent.state.ownership import agent_there

    socket, state_dir = socket_of(path), named(path, "state_dir", DEFAULT_STATE)
    return told(socket, agent_there(state_dir) if _responds(state_dir) else None)


def local_service(path: str, *, silent: bool) -> "Service":
    """A service that has observed the host once. Raises Stopped.

    `silent`: no agent answered; another configuration than that of a running agent can be looked at, too.
    """
    from certagent.agent.start import look
    from certagent.posix.errors import HostError

    config = read_config(path)
    try:
        return look(config, path, silent=silent)
    except (HostError, OSError) as error:
        why = f"{silence(path)}, and this command cannot look itself: {error}" if silent else error
        raise Stopped(complaint(why, UNKNOWN)) from error
