"""Certomancer: a declared PKI over HTTP. A root, an intermediate with a delegated responder, a CRL, two leaves.

Certificates come as DER. The root answers by OCSP for the intermediate; `node-revoked` is revoked in both ways.
"""

import base64
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3

from certagent import x509
from tests.servers.process import SERVERS, Running, free_port, listens, missing

INSTALL = "tests/servers/certomancer/install"
KEYS = ("root", "inter", "node", "ocsp", "ocsp-root")
CONFIG = """
external-url-prefix: "http://127.0.0.1:{port}"
keysets:
  ks:
    path-prefix: keys
    keys: {{{keys}}}
pki-architectures:
  crdb:
    keyset: ks
    entity-defaults: {{organization-name: Cockroach}}
    entities:
      root: {{common-name: Root CA}}
      inter: {{common-name: Intermediate CA}}
      node: {{common-name: node}}
      node2: {{common-name: node}}
      ocsp: {{common-name: OCSP}}
      ocsp-root: {{common-name: OCSP of the root}}
    certs:
      root:
        subject: root
        issuer: root
        subject-key: root
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2040-01-01T00:00:00+0000"}}
        profiles: [{{id: simple-ca, params: {{max-path-len: 1, crl-repo: root, ocsp-service: root}}}}]
      inter:
        issuer: root
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2039-01-01T00:00:00+0000"}}
        profiles: [{{id: simple-ca, params: {{max-path-len: 0, crl-repo: inter, ocsp-service: inter}}}}]
      ocsp:
        issuer: inter
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2039-01-01T00:00:00+0000"}}
        profiles: [ocsp-responder]
      ocsp-root:
        issuer: root
        validity: {{valid-from: "2020-01-01T00:00:00+0000", valid-to: "2039-01-01T00:00:00+0000"}}
        profiles: [ocsp-responder]
      node:
        issuer: inter
        validity: {{valid-from: "2025-01-01T00:00:00+0000", valid-to: "2038-01-01T00:00:00+0000"}}
        profiles: [digsig-commitment]
      node-revoked:
        subject: node2
        subject-key: node
        issuer: inter
        validity: {{valid-from: "2025-01-01T00:00:00+0000", valid-to: "2038-01-01T00:00:00+0000"}}
        profiles: [digsig-commitment]
        revocation: {{revoked-since: "2026-06-01T00:00:00+0000", reason: key_compromise}}
    services:
      crl-repo:
        root: {{for-issuer: root, signing-key: root, simulated-update-schedule: "P90D"}}
        inter: {{for-issuer: inter, signing-key: inter, simulated-update-schedule: "P1D"}}
      ocsp:
        root: {{for-issuer: root, responder-cert: ocsp-root, signing-key: ocsp-root}}
        inter: {{for-issuer: inter, responder-cert: ocsp, signing-key: ocsp}}
      cert-repo:
        root: {{for-issuer: root}}
        inter: {{for-issuer: inter, publish-issued-certs: true}}
"""


class Certomancer:
    """One server; runs in the `with` block."""

    def __init__(self, directory: Path) -> None:
        program = SERVERS / "certomancer" / "bin" / "certomancer"
        if not program.exists():
            missing("Certomancer", INSTALL)
        (directory / "keys").mkdir(parents=True)
        for name in KEYS:
            (directory / "keys" / f"{name}.pem").write_bytes(x509.generate_key("ecdsa-p256"))
        self.port = free_port()
        keys = ", ".join(f"{name}: {{path: {name}.pem}}" for name in KEYS)
        config = directory / "certomancer.yml"
        config.write_text(CONFIG.format(port=self.port, keys=keys))
        command = [str(program), "--config", str(config), "animate", "--port", str(self.port)]
        self.running = Running(command, directory / "certomancer.log", lambda: listens(self.port), cwd=directory)

    def certificate(self, path: str) -> bytes:
        """`root/ca`, `inter/ca` or `inter/issued/node`, as PEM."""
        with urllib3.PoolManager(retries=False, timeout=20) as pool:
            answer = pool.request("GET", f"http://127.0.0.1:{self.port}/crdb/certs/{path}.crt")
        assert answer.status == 200
        body = base64.encodebytes(answer.data)
        return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.stop()
