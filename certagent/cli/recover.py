"""`certagent recover`: finish an interrupted swap; for an ExecStartPre of cockroach.service."""

import argparse
import errno
import sys

from certagent.cli.common import USAGE, config_option, emit, json_option, read_config

CRITICAL = 2


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "recover", help="finish an interrupted swap; exit 2 where no matched pair can be made"
    )
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Recover every certs-dir; a running daemon does it itself."""
    config = read_config(arguments.config)
    if config is None:
        return USAGE
    done = {policy.path: _recover(policy.path, policy.keep) for policy in config.policies}
    emit({"version": 1, "certs_dirs": done}) if arguments.json else print(
        "\n".join(f"{path}: {what}" for path, (_, what) in done.items())
    )
    return CRITICAL if any(not ok for ok, _ in done.values()) else 0


def _recover(path: str, keep: int) -> tuple[bool, str]:
    from datetime import UTC, datetime

    from certagent.host.certs import Scanner
    from certagent.host.errors import HostError
    from certagent.host.files import Store

    store = Store(path, keep)
    try:
        store.lock()
        what = store.recover() or "nothing to recover"
    except HostError as error:
        held = error.errno == errno.EAGAIN  # a running agent has the lock
        what = f"nothing done: {error}" + ("; it recovers by itself" if held else "")
    except OSError as error:
        print(f"certagent: cannot recover {path}: {error.strerror}", file=sys.stderr)
        return False, str(error)
    torn = [
        p.name.stem
        for p in Scanner().scan(path, datetime.now(UTC)).pairs
        if not p.name.is_bundle and p.leaf and p.key and not p.matched
    ]
    return not torn, what + (f"; still mismatched: {', '.join(torn)}" if torn else "")
