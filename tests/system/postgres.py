"""PostgreSQL as a server that nobody here wrote: TLS, client certificates, SIGHUP. apt-get install postgresql."""

import glob
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from certagent.demo.launch import connect
from tests.servers.process import free_port, missing
from tests.waiting import wait_until

INSTALL = "apt-get install -y postgresql"
USER = "postgres"
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


class Postgres:
    """One server on loopback; reads its pair from the certs-dir. Ends with the `with` block."""

    def __init__(self, base: Path, certs: Path) -> None:
        self.base, self.certs, self.bin, self.port = base, certs, binaries(), free_port()
        self.data = base / "data"
        self.pid_file = self.data / "postmaster.pid"
        base.mkdir(exist_ok=True)
        self._as_owner("chown", USER, str(base), root=True)
        self._as_owner(f"{self.bin}/initdb", "-D", str(self.data), "-A", "trust", "-N", "--no-instructions")
        settings = CONF.format(port=self.port, base=base, certs=certs)
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(settings)
        (self.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n")
        self.process: subprocess.Popen[bytes] | None = None

    def _as_owner(self, *words: str, root: bool = False) -> None:
        become = [] if root else ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
        subprocess.run([*become, *words], check=True, capture_output=True, cwd="/")

    def __enter__(self) -> Self:
        words = [
            "setpriv",
            f"--reuid={USER}",
            f"--regid={USER}",
            "--init-groups",
            f"{self.bin}/postgres",
            "-D",
            str(self.data),
        ]
        with open(self.base / "log", "wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/")
        wait_until(self.served, "PostgreSQL serves TLS")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def served(self) -> str:
        """The fingerprint on its port, "" while it does not answer."""
        from hashlib import sha256

        try:
            with connect(self.port, "sql") as tls:
                return sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
        except OSError:
            return ""

    def log(self) -> str:
        return (self.base / "log").read_text(errors="replace")
