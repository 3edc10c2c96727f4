"""A systemd that is booted for a test, and the configuration of an agent with an embedded CA there."""

import socket

from tests.servers.process import ROOT

BOOT = ROOT / "tests" / "servers" / "systemd" / "boot"


def configured(name: str = socket.gethostname()) -> str:
    """`name`: which cockroach advertises."""
    return f"""
[agent]
rescan = "1s"
[authority.house]
type = "local"
directory = "/var/lib/certagent/ca"
create = true
[[certs_dir]]
path = "/var/lib/cockroach/certs"
owner = "cockroach"
authority = "house"
names = ["localhost", "127.0.0.1", "{name}"]
clients = ["root"]
"""
