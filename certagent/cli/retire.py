"""`certagent retire DIR`: end the management of a certs-dir (a decommissioned host)."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from certagent.cli.common import USAGE, config_option, read_config

if TYPE_CHECKING:
    from certagent.core.policy import Policy

AREA = ".certagent"


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "retire", help="end the management of a certs-dir; --remove-keys removes its keys too"
    )
    parser.add_argument("certs_dir", help="the directory")
    parser.add_argument("--remove-keys", action="store_true", help="remove the live keys as well")
    config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove the staging area, and the keys where asked; refused while a daemon holds the directory."""
    from certagent.host.errors import HostError
    from certagent.host.files import Store

    config = read_config(arguments.config)
    if config is None:
        return USAGE
    path = os.path.abspath(arguments.certs_dir)
    policy = next((p for p in config.policies if p.path == path), None)
    if policy is None and not os.path.isdir(os.path.join(path, AREA)):
        why = f"it has no {AREA}, and {arguments.config} does not name it"
        print(f"certagent: {path} is not managed: {why}", file=sys.stderr)
        return USAGE
    store = Store(path, policy.keep if policy else 1)
    try:
        store.lock()
        store.remove_all((_configured(policy) if policy else _lying(path)) if arguments.remove_keys else ())
    except (HostError, OSError) as error:
        print(f"certagent: {error}", file=sys.stderr)
        return 1
    left = f"; remove its [[certs_dir]] from {arguments.config}" if policy else ""
    print(f"{path}: retired{left}")
    return 0


def _configured(policy: "Policy") -> tuple[str, ...]:
    return tuple(w.name.stem for w in policy.wants)


def _lying(path: str) -> tuple[str, ...]:
    """The pairs of a directory that the configuration does not name any more: every key that cockroach would load."""
    from certagent.core.names import Name, parse

    stems = [n.removesuffix(".key") for n in os.listdir(path) if n.endswith(".key")]
    return tuple(s for s in stems if isinstance(name := parse(s), Name) and not name.is_bundle)
