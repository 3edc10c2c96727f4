"""Knot DNS, authoritative for `test`, with RFC 2136 updates of TXT records by one TSIG key.

n1.test and n2.test are 127.0.0.1; `_acme-challenge.n2.test` is a CNAME to `n2.delegated.test`.
Install: tests/servers/knot/packages.
"""

import os
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Self

from tests.servers.process import Running, free_port, listens, program

INSTALL = "apt-get install knot knot-dnsutils"
ZONE = """$ORIGIN test.
$TTL 5
@    SOA ns hostmaster 1 60 60 600 5
     NS  ns
ns   A   127.0.0.1
n1   A   127.0.0.1
n2   A   127.0.0.1
_acme-challenge.n2 CNAME n2.delegated
"""
CONFIG = """
server:
    rundir: "{directory}/run"
    listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: info
database:
    storage: "{directory}/db"
key:
  - id: acmekey
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: updates
    address: 127.0.0.1
    key: acmekey
    action: update
    update-type: TXT
template:
  - id: default
    storage: "{directory}"
    file: "%s.zone"
zone:
  - domain: test
    acl: [updates]
"""


class Knot:
    """One DNS server on loopback, for the `with` block."""

    def __init__(self, directory: Path) -> None:
        """Everything it writes is below `directory`."""
        for part in ("run", "db"):
            (directory / part).mkdir(parents=True)
        self.port = free_port()
        self.secret = b64encode(os.urandom(32)).decode()
        (directory / "test.zone").write_text(ZONE)
        config = directory / "knot.conf"
        config.write_text(CONFIG.format(directory=directory, port=self.port, secret=self.secret))
        command = [program("knotd", INSTALL), "-c", str(config)]
        self.running = Running(command, directory / "knot.log", self._answers)

    def _answers(self) -> bool:
        return listens(self.port) and self.ask("n1.test", "A") == ["127.0.0.1"]

    def ask(self, name: str, kind: str) -> list[str]:
        """What it answers now, one line a record."""
        command = [program("kdig", INSTALL), "+short", "@127.0.0.1", "-p", str(self.port), name, kind]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()
