"""CFSSL's signing API with TLS, every profile behind an auth key.

`Cfssl` is `cfssl serve` with an intermediate of a root of its own: profiles `default` (24 h), `node` (an hour) and
`picky` (the name `node` alone). `MultiRoot` is `multirootca`: the labels `primary`, its default, and `backup`.
Install: tests/servers/cfssl/packages.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from certagent import x509
from tests.servers.process import Running, free_port, listens, program
from tests.servers.stepca import fingerprint, intermediate
from tests.servers.tls import server_pair

INSTALL = "apt-get install -y golang-cfssl"
YEAR = timedelta(days=365)
USAGES = ["signing", "digital signature", "server auth", "client auth"]
ROOTS = """[{label}]
private = file://{directory}/{label}-key.pem
certificate = {directory}/{label}.pem
config = {directory}/config.json

"""


class Cfssl:
    """One server on loopback, for the `with` block."""

    def __init__(self, directory: Path) -> None:
        """Everything it writes is below `directory`."""
        self.directory = directory
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.pair = server_pair(directory)
        self.ca, self.auth_key = self.pair.ca, token_hex(16)
        self._write("config.json", json.dumps(self.policy()).encode())
        now = datetime.now(UTC)
        root, root_key = x509.make_ca("CFSSL root", 2 * YEAR, now)
        backup, backup_key = x509.make_ca("CFSSL backup", 2 * YEAR, now)
        primary, primary_key = intermediate(root, root_key, "CFSSL intermediate")
        self.root, self.backup = root.decode(), backup.decode()
        self.issuer_fingerprint, self.backup_fingerprint = fingerprint(primary), fingerprint(backup)
        for label, cert, key in (("primary", primary, primary_key), ("backup", backup, backup_key)):
            self._write(f"{label}.pem", cert)
            self._write(f"{label}-key.pem", key)
        self.running = Running(self.command(), directory / "cfssl.log", lambda: listens(self.port))

    def _write(self, name: str, data: bytes) -> None:
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(0o600)

    def policy(self) -> dict[str, Any]:
        """Its signing policy, as docs/authorities/cfssl.md has it."""
        default = {"expiry": "24h", "usages": USAGES, "auth_key": "hosts"}
        node = default | {"expiry": "1h", "backdate": "1m"}
        picky = default | {"name_whitelist": "^node$"}
        keys = {"hosts": {"type": "standard", "key": self.auth_key}}
        return {"signing": {"default": default, "profiles": {"node": node, "picky": picky}}, "auth_keys": keys}

    def command(self) -> list[str]:
        here = self.directory
        words = [program("cfssl", INSTALL), "serve", "-address", "127.0.0.1", "-port", str(self.port)]
        words += ["-ca", f"{here}/primary.pem", "-ca-key", f"{here}/primary-key.pem", "-config", f"{here}/config.json"]
        return [*words, "-tls-cert", str(self.pair.cert), "-tls-key", str(self.pair.key)]

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()


class MultiRoot(Cfssl):
    """`multirootca`: two CAs behind one endpoint, by label."""

    def command(self) -> list[str]:
        roots = self.directory / "roots.conf"
        roots.write_text("".join(ROOTS.format(label=x, directory=self.directory) for x in ("primary", "backup")))
        words = [program("multirootca", INSTALL), "-a", f"127.0.0.1:{self.port}", "-roots", str(roots), "-l", "primary"]
        return [*words, "-tls-cert", str(self.pair.cert), "-tls-key", str(self.pair.key)]
