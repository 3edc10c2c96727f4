"""A host of a fleet whose server is PostgreSQL; it dials nobody itself, so a dialer beside it does."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.servers.process import Running
from tests.streams.host import HTTP, SQL, Channel, Member
from tests.system.postgres import CONF, binaries


class PostgresMember(Member):
    """Its database is made when the host is."""

    kind = "sql"
    pause = 0.2  # each connection is a process of the server

    def __init__(self, base: Path, name: str, user: str, address: str, enter: list[str]) -> None:
        super().__init__(base, name, user, address, enter)
        self.bin, self.data, self.server = (
            binaries(),
            self.host.base / "data",
            Server([], self.host.base / "pg.log", str),
        )
        first = base / "n1" / "initdb"
        if not first.exists():
            made = [f"{self.bin}/initdb", "-D", str(first), "-A", "trust", "-N", "--no-instructions", "-U", "root"]
            subprocess.run([*self.drop, *made], check=True, capture_output=True, cwd="/")
        subprocess.run(["cp", "-a", first, self.data], check=True)
        settings = CONF.format(port=SQL, base=self.host.base, certs=self.certs)
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(settings + f"listen_addresses = '{address}'\nmax_connections = 200\n")
        (self.data / "pg_hba.conf").write_text("hostssl all all all trust clientcert=verify-ca\n")
        subprocess.run(["chown", "-R", f"{user}:", self.data], check=True)
        self.process = f"[certs_dir.process]\nnames = ['postgres']\npid_file = '{self.data}/postmaster.pid'"
        self.process += f"\nprobe = ['{address}:{SQL}/sql', '{address}:{HTTP}/http']"

    def start_server(self) -> None:
        command = [*self.drop, f"{self.bin}/postgres", "-D", str(self.data)]
        self.server = Server(command, self.host.base / "pg.log", self.answers, cwd=Path("/"))
        self.server.__enter__()
        words = [self.user, str(self.certs), "client.node", str(self.server.log), f"{self.address}:{HTTP}"]
        words.append(self.quirks["STANDIN_LIVE_NODES"])
        beside = [*self.enter, sys.executable, "-m", "tests.streams.dialer", *words]
        self.channel = Channel(beside, self.host.base / "dialer.log")

    def answers(self) -> bool:
        """It writes the line with its state last."""
        file = self.data / "postmaster.pid"
        return file.exists() and "ready" in file.read_text()

    def stop_server(self) -> None:
        super().stop_server()
        self.server.stop()


class Server(Running):
    ends_by = signal.SIGINT  # its fast shutdown: SIGTERM waits for every client
