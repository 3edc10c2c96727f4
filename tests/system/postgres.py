"""PostgreSQL as a server that nobody here wrote: TLS, client certificates, SIGHUP. apt-get install postgresql."""

import glob
import signal
import subprocess
from hashlib import sha256
from pathlib import Path

from certagent.demo.launch import connect
from tests.servers.process import Running, free_port, missing

INSTALL = "apt-get install -y postgresql"
USER = "postgres"
BECOME = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{base}'
ssl = on
ssl_cert_file = '{certs}/node.crt'
ssl_key_file = '{certs}/node.key'
ssl_ca_file = '{certs}/ca.crt'
fsync = off
"""


def binaries() -> str:
    """Where the server's programs are. Without them: a skip with the command to run, in CI a failure."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        missing("PostgreSQL", INSTALL)
    return found[-1]


class Postgres(Running):
    """One server on loopback; reads its pair from the certs-dir."""

    ends_by = signal.SIGINT  # its fast shutdown: SIGTERM waits for every client

    def __init__(self, base: Path, certs: Path) -> None:
        self.port, self.bin, data = free_port(), binaries(), base / "data"
        self.pid_file = data / "postmaster.pid"
        base.mkdir(exist_ok=True)
        made = [f"{self.bin}/initdb", "-D", str(data), "-A", "trust", "-N", "--no-instructions"]
        for words in (["chown", USER, str(base)], [*BECOME, *made]):
            subprocess.run(words, check=True, capture_output=True, cwd="/")
        settings = CONF.format(port=self.port, base=base, certs=certs)
        with open(data / "postgresql.conf", "a") as file:
            file.write(settings)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n")
        command = [*BECOME, f"{self.bin}/postgres", "-D", str(data)]
        super().__init__(command, base / "log", self.served, cwd=Path("/"))

    def served(self) -> str:
        """The fingerprint on its port, "" while it does not answer."""
        try:
            with connect(self.port, "sql") as tls:
                return sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
        except OSError:
            return ""

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")
