"""micromdm's scepserver (apt: scep): a challenge password, its own RSA CA. It listens on all interfaces.

Its certificates are for clients only and lose their SANs; it signs requests of RSA keys alone.
"""

import secrets
import subprocess
from pathlib import Path

from tests.servers.process import Running, free_port, listens, program

INSTALL = "apt-get install scep, or tests/install"


class ScepServer(Running):
    """The server as its own process, its files below `base`."""

    def __init__(self, base: Path) -> None:
        self.port, self.challenge, self.ca = free_port(), secrets.token_hex(8), base / "depot" / "ca.pem"
        found = program("scepserver", INSTALL)
        program("scepclient", INSTALL)
        made = [found, "ca", "-init", "-keySize", "2048", "-depot", "depot"]
        subprocess.run(made, cwd=base, check=True, capture_output=True)
        command = [found, "-depot", "depot", "-port", str(self.port), "-challenge", self.challenge]
        super().__init__([*command, "-crtvalid", "2"], base / "log", lambda: listens(self.port), cwd=base)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/scep"
