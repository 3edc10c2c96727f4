"""`certagent recover`: finish an interrupted swap; for an ExecStartPre of cockroach.service."""

import argparse
import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from certagent.cli.common import Reply, config_option, json_option, read_config, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certagent.core.facts import Pair
    from certagent.posix.errors import HostError

CRITICAL = 2
DENIED = frozenset({errno.EACCES, errno.EPERM})


class Recovered(NamedTuple):
    """What became of one directory: what was done, or why it could not be, and the pairs that still do not match."""

    what: str
    torn: tuple[str, ...] = ()
    error: str = ""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "recover", help="finish an interrupted swap; exit 2 if no matching pair can be restored"
    )
    parser.add_argument("directory", nargs="?", help="one certs directory of the configuration; without it every one")
    about = "bring bundle and certificates to what the other nodes need, and exit 2 if the server must not start"
    parser.add_argument("--converge", action="store_true", help=about)
    parser.add_argument(
        "--wait", type=seconds, default=60.0, metavar="TIME", help="with --converge: how long at most (default 60s)"
    )
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Recover every certs-dir, or the one that is named; a running daemon does it itself."""
    if arguments.converge:
        from certagent.cli import converge

        return converge.run(arguments)
    policies = read_config(arguments.config).policies
    if arguments.directory is not None:
        path = os.path.abspath(arguments.directory)
        policies = tuple(policy for policy in policies if policy.path == path)
        if not policies:
            return Reply(CRITICAL, error=f"certagent: cannot recover {path}: it is not configured")
    return reply_of({policy.path: _recover(policy.path, policy.keep) for policy in policies})


def reply_of(done: Mapping[str, Recovered]) -> Reply:
    """Given what became of each directory, return what is said; exit 2 where no matched pair could be made."""
    told = {path: (not (found.torn or found.error), _sentence(found)) for path, found in done.items()}
    return Reply(
        0 if all(good for good, _ in told.values()) else CRITICAL,
        "\n".join(f"{path}: {what}" for path, (_, what) in told.items()),
        {"version": 1, "certs_dirs": told},
        "\n".join(f"certagent: cannot recover {path}: {found.error}" for path, found in done.items() if found.error),
    )


def _sentence(found: Recovered) -> str:
    return found.what + (f"; still mismatched: {', '.join(found.torn)}" if found.torn else "")


def undone(error: "HostError") -> str:
    """Given why nothing was done, return the sentence; a lock is not a failure, because a running agent has it."""
    held, denied = error.errno == errno.EAGAIN, error.errno in DENIED
    more = (
        "; the running agent recovers by itself" if held else "; run this command as the agent's user" if denied else ""
    )
    return f"nothing done: {error}{more}"


def torn(pairs: "Iterable[Pair]") -> tuple[str, ...]:
    """The pairs whose key and certificate are both there and do not match."""
    return tuple(p.name.stem for p in pairs if not p.name.is_bundle and p.leaf and p.key and not p.matched)


def _recover(path: str, keep: int) -> Recovered:
    from certagent.certs_dir import Scanner
    from certagent.certs_dir.swap import Store
    from certagent.posix.clock import clock
    from certagent.posix.errors import HostError
    from certagent.posix.responding import required

    store = Store(path, keep)
    try:
        required(path)
        store.lock()
        what = store.recover() or "nothing to recover"
    except HostError as error:
        what = undone(error)
        if error.errno in DENIED:
            return Recovered(what, error=os.strerror(error.errno))
    except OSError as error:
        return Recovered(str(error), error=error.strerror or str(error))
    return Recovered(what, torn(Scanner().scan(path, clock()).pairs))
