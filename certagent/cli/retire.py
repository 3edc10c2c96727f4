"""`certagent retire DIR`: end the management of a certs-dir, for a decommissioned host."""

import argparse
import os
from typing import TYPE_CHECKING

from certagent.cli.common import USAGE, Reply, complaint, config_option, read_config

if TYPE_CHECKING:
    from certagent.core.policy import Policy

AREA = ".certagent"


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("retire", help="end the management of a certs directory: remove its staging area")
    parser.add_argument("certs_dir", help="the certs directory")
    parser.add_argument("--remove-keys", action="store_true", help="also remove the keys of its pairs")
    config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Remove the staging area, and the keys where asked; refused while a daemon holds the directory."""
    from certagent.posix.errors import HostError

    path, configured = os.path.abspath(arguments.certs_dir), arguments.config
    policy = next((p for p in read_config(configured).policies if p.path == path), None)
    if policy is None and not os.path.isdir(os.path.join(path, AREA)):
        return complaint(
            f"cannot retire {path}: it is not managed; it has no {AREA}, and {configured} does not name it", USAGE
        )
    try:
        _retire(path, policy, remove_keys=arguments.remove_keys)
    except (HostError, OSError) as error:
        return complaint(error, 1)
    left = f"; remove its [[certs_dir]] from {configured}" if policy else ""
    return Reply(text=f"{path}: retired{left}")


def _retire(path: str, policy: "Policy | None", *, remove_keys: bool) -> None:
    from certagent.certs_dir.swap import Store

    store = Store(path, policy.keep if policy else 1)
    store.lock()
    store.remove_all((_configured(policy) if policy else _lying(path)) if remove_keys else ())


def _configured(policy: "Policy") -> tuple[str, ...]:
    return tuple(w.name.stem for w in policy.wants)


def _lying(path: str) -> tuple[str, ...]:
    """The pairs of a directory that the configuration does not name any more: every key that cockroach would load."""
    from certagent.core.names import Name, parse

    stems = [n.removesuffix(".key") for n in os.listdir(path) if n.endswith(".key")]
    return tuple(s for s in stems if isinstance(name := parse(s), Name) and not name.is_bundle)
