"""acme2certifier: an ACME server with renewal information (RFC 9773) and profiles, over plain http on loopback.

It validates http-01 at port 80 of the address that an IP identifier names: `address` is one of 127/8 of its own.
Leaves last a day; the suggested window begins at 85 % of that. Install: tests/servers/acme2certifier/install.
"""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from certagent import x509
from tests.servers.process import SERVERS, Running, free_address, free_port, listens, missing

INSTALL = "tests/servers/acme2certifier/install"
SERVE = Path(__file__).parent / "acme2certifier" / "serve.py"
EXTENSIONS = """[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = critical, clientAuth, serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
"""
CONFIG = """[DEFAULT]
debug: True
[Nonce]
nonce_check_disable: False
[DBhandler]
handler_module: acme2certifier.dbhandlers.wsgi_handler
dbfile: {directory}/acme.db
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {directory}/ca.key
issuing_ca_cert: {directory}/ca.pem
issuing_ca_crl: {directory}/crl.pem
cert_save_path: {directory}/certs
cert_validity_days: 1
ca_cert_chain_list: []
openssl_conf: {directory}/ext.cnf
[Challenge]
challenge_validation_disable: False
[Order]
tnauthlist_support: False
profiles: {{"short": "http://x/short", "long": "http://x/long"}}
[Renewalinfo]
renewal_force: False
renewalthreshold_pctg: {threshold}
retry_after_timeout: 120
"""
CRL = """[ca]
default_ca = d
[d]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 1
"""


def python() -> str:
    """The interpreter of its virtual environment."""
    found = SERVERS / "acme2certifier" / "bin" / "python"
    return str(found) if found.exists() else missing("acme2certifier", INSTALL)


class Acme2certifier:
    """One ACME server on loopback, for the `with` block."""

    def __init__(self, directory: Path, threshold: int = 85) -> None:
        """`threshold`: where the suggested window begins, in per cent of the lifetime."""
        interpreter = python()
        self.directory = directory
        (directory / "certs").mkdir(parents=True)
        self.port = free_port()
        self.directory_url = f"http://127.0.0.1:{self.port}/directory"
        self.address = free_address()
        self.ca, key = x509.make_ca("acme2certifier test CA", timedelta(days=30), datetime.now(UTC), "rsa-2048")
        self.configure(threshold)
        texts = {"ext.cnf": EXTENSIONS, "crl.cnf": CRL, "index.txt": "", "crlnumber": "01\n"}
        for name, data in {"ca.pem": self.ca, "ca.key": key, **{n: t.encode() for n, t in texts.items()}}.items():
            (directory / name).write_bytes(data)
        crl = [
            "openssl",
            "ca",
            "-config",
            "crl.cnf",
            "-gencrl",
            "-keyfile",
            "ca.key",
            "-cert",
            "ca.pem",
            "-out",
            "crl.pem",
        ]
        subprocess.run(crl, cwd=directory, check=True, capture_output=True)
        self.running = Running(
            [interpreter, str(SERVE), str(self.port)],
            directory / "acme2certifier.log",
            lambda: listens(self.port),
            environ={"ACME_SRV_CONFIGFILE": str(directory / "acme_srv.cfg")},
            cwd=directory,
        )

    def configure(self, threshold: int) -> None:
        """Write its configuration, which it reads for each request."""
        (self.directory / "acme_srv.cfg").write_text(CONFIG.format(directory=self.directory, threshold=threshold))

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()
