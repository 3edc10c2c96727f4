"""`certagent retire DIR`: end the management of a certs-dir (a decommissioned host)."""

import argparse
import sys

from certagent.cli.common import USAGE, config_option, read_config


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
    policy = next((p for p in config.policies if p.path == arguments.certs_dir.rstrip("/")), None)
    if policy is None:
        print(f"certagent: {arguments.certs_dir} is not managed by {arguments.config}", file=sys.stderr)
        return USAGE
    store = Store(policy.path, policy.keep)
    try:
        store.lock()
        store.remove_all(tuple(w.name.stem for w in policy.wants) if arguments.remove_keys else ())
    except (HostError, OSError) as error:
        print(f"certagent: {error}", file=sys.stderr)
        return 1
    print(f"{policy.path}: retired; remove its [[certs_dir]] from {arguments.config}")
    return 0
