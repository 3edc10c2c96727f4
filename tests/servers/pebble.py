"""Pebble, Let's Encrypt's ACME server for tests, and the DNS server of its package.

It is strict, refuses a share of good nonces, and makes new roots at every start. `roots` are what its chains end at;
`ca` is what its own endpoint shows. Install: tests/servers/pebble/packages.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import urllib3

from tests.servers.process import Running, free_port, listens, program
from tests.servers.tls import server_pair

INSTALL = "apt-get install pebble"
REJECTED = 25  # per cent of the nonces


class Names:
    """pebble-challtestsrv: every name is 127.0.0.1; records are set through `post`."""

    def __init__(self, directory: Path) -> None:
        """Its log is below `directory`."""
        self.port, self._management = free_port(), free_port()
        command = [program("pebble-challtestsrv", INSTALL), "-http01", "", "-https01", "", "-tlsalpn01", ""]
        command += ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.port}"]
        command += ["-management", f"127.0.0.1:{self._management}"]
        self.running = Running(command, directory / "challtestsrv.log", lambda: listens(self._management))

    def post(self, verb: str, **document: str) -> None:
        """set-txt, clear-txt, set-servfail, clear-servfail, add-caa, ..."""
        urllib3.request("POST", f"http://127.0.0.1:{self._management}/{verb}", body=json.dumps(document))


class Pebble:
    """One ACME server on loopback, for the `with` block."""

    def __init__(
        self,
        directory: Path,
        *,
        dns: int = 0,
        eab: tuple[str, str] | None = None,
        validity: int = 3600,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`dns`: the port of a DNS server of ours; 0: Names. `eab`: the key id and key that accounts must show."""
        directory.mkdir(parents=True, exist_ok=True)
        pair = server_pair(directory)
        self.ca = pair.ca
        self.port, self._management = free_port(), free_port()
        self.http_port, self.tls_port = free_port(), free_port()
        self.directory_url = f"https://localhost:{self.port}/dir"
        self.names = None if dns else Names(directory)
        document: dict[str, Any] = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(pair.cert),
            "privateKey": str(pair.key),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": eab is not None,
            "externalAccountMACKeys": dict([eab]) if eab else {},
            "certificateValidityPeriod": validity,
            "domainBlocklist": ["blocked.test"],
        }
        config = directory / "pebble.json"
        config.write_text(json.dumps({"pebble": document}))
        port = dns or (self.names.port if self.names else 0)
        command = [program("pebble", INSTALL), "-strict", "-config", str(config), "-dnsserver", f"127.0.0.1:{port}"]
        told = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(REJECTED), **(environ or {})}
        self.running = Running(command, directory / "pebble.log", self._answers, environ=told)
        self._stack = ExitStack()

    def _answers(self) -> bool:
        return listens(self.port) and listens(self._management)

    def __enter__(self) -> Self:
        if self.names:
            self._stack.enter_context(self.names.running)
        self._stack.enter_context(self.running)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def root(self, number: int = 0) -> bytes:
        """The root of the default chain, and those of the alternatives, as PEM."""
        url = f"https://localhost:{self._management}/roots/{number}"
        return urllib3.PoolManager(ca_certs=str(self.ca)).request("GET", url).data
