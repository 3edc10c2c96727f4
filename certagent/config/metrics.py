"""`[metrics]`, and the digest that metrics show of a configuration."""

import ipaddress
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from certagent.config.reader import Table, absolute, takes, text

PORTS = 1 << 16
SHOWN = 12  # hex digits of a digest
OF_ONE_HOST = frozenset({"names", "probe", "canary"})  # settings that differ between hosts which are configured alike


@dataclass(frozen=True, slots=True)
class Metrics:
    """`[metrics]`."""

    textfile: str = ""  # the directory of node_exporter's textfile collector; "": none is written
    listen: str = ""  # where `certagent metrics --listen` answers; "": the command line says it


def metrics(table: Table) -> Metrics:
    """`[metrics]`."""
    found = Metrics(table.get("textfile", absolute, ""), table.get("listen", listen, ""))
    table.done()
    return found


@takes({"type": "string", "pattern": ":[0-9]+$"})
def listen(value: Any) -> str:
    """HOST:PORT of a loopback address. Raises ValueError."""
    address(text(value))
    return str(value)


def address(value: str) -> tuple[str, int]:
    """Given HOST:PORT, return both. Raises ValueError where that is not a loopback address: metrics leave no host."""
    host, _, port = value.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0
    try:
        loopback = ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback or not 0 < number < PORTS:
        raise ValueError('write a loopback address and a port, such as "127.0.0.1:9464" or "[::1]:9464"')
    return host.strip("[]"), number


def digest(document: dict[str, Any]) -> str:
    """A digest of a parsed configuration: the same on every host that is configured alike.

    Comments, the order of the settings, and what differs between the hosts of a cluster do not count.
    """
    words = json.dumps(_shared(document), sort_keys=True, default=str)
    return sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:SHOWN]


def _shared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shared(inner) for key, inner in value.items() if key not in OF_ONE_HOST}
    return [_shared(inner) for inner in value] if isinstance(value, list) else value
