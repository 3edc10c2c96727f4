"""The authorities of a configuration as the agent's jobs ask them: embedded, by files, or through a worker.

A worker gets a CSR, the credentials and the saved state of its backend; the agent reads the first two for each request
and keeps the third. No worker gets a managed key: if a CA requires proof of possession, the agent signs a token
(`live_proof` of the type's description) and passes only that. `credential = "leaf"` is the one exception: it must be
configured, and `status` shows it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from certagent.authority.backends import dropbox
from certagent.authority.client.cache import AuthorityCache, hangs
from certagent.authority.client.interface import CertificateAuthority, Order
from certagent.authority.client.local import Embedded
from certagent.authority.client.remote import GRACE, WORKER, Remote
from certagent.config import Config, LocalConfig
from certagent.config.remote import RemoteConfig
from certagent.core.catalogue import WORKER_UNCONFINED
from certagent.core.findings import Finding, Severity
from certagent.posix.errors import HostError
from certagent.sandbox import shown
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import AuthorityState

__all__ = [
    "AuthorityCache",
    "CertificateAuthority",
    "Order",
    "Remote",
    "authorities_of",
    "hangs",
    "inboxes",
    "prepare",
    "unconfined",
]


def unconfined(workers: Workers, certs_dirs: Iterable[str] = ()) -> tuple[Finding, ...]:
    """What a worker cannot give up on this kernel, by one that tries; and certs-dirs where every worker may read."""
    found = [(path, place) for path in certs_dirs if (place := shown(path))]
    exposed = "; ".join(f"{path} is below {place}, which a worker may read" for path, place in found)
    if exposed and not workers.user:
        return (
            WORKER_UNCONFINED.found(
                "", exposed, remedy="move the certs directory, for example to /var/lib/cockroach/certs"
            ),
        )
    try:
        missing = json.loads(workers.ask(WORKER, ["probe"], b"", GRACE))
    except (HostError, ValueError) as error:
        return (WORKER_UNCONFINED.found("", f"cannot test a worker: {error}"),)
    if not missing:
        return ()
    severity: Severity = "warning" if any(m["severe"] for m in missing) else "info"
    return (WORKER_UNCONFINED.found("", "; ".join(m["what"] for m in missing), severity),)


def inboxes(config: Config) -> list[str]:
    """Where people bring certificates."""
    return [str(o["inbox"]) for o in _dropboxes(config)]


def prepare(config: Config) -> None:
    """Make what is missing there: a directory that is not there cannot be watched. It may wait for another machine."""
    for options in _dropboxes(config):
        dropbox.prepare(options)


def _dropboxes(config: Config) -> list[dict[str, Any]]:
    found = (a.options for a in config.authorities.values())
    return [o.options for o in found if isinstance(o, RemoteConfig) and o.ca_type.asked == "files"]


def authorities_of(
    config: Config, workers: Workers, book: AuthorityState, *, of_agent: bool = True
) -> Mapping[str, CertificateAuthority]:
    """Every authority of a configuration that can be asked; `of_agent`: by the agent itself, not for a command."""
    found: dict[str, CertificateAuthority] = {}
    for name, authority in config.authorities.items():
        if isinstance(authority.options, LocalConfig):
            found[name] = Embedded(name, authority.options, book)
        elif isinstance(authority.options, RemoteConfig):
            found[name] = Remote(name, authority.options, workers, book, of_agent=of_agent)
    return found
