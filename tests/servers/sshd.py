"""OpenSSH's server on loopback for one key, which may run one forced command; a host key of its own."""

import getpass
import subprocess
from pathlib import Path

from tests.servers.process import LOCALHOST, Running, free_port, listens, missing

SSHD = Path("/usr/sbin/sshd")  # it insists on its absolute path
CONFIG = """
ListenAddress {host}:{port}
HostKey {base}/host
AuthorizedKeysFile {base}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin forced-commands-only
"""


class Sshd(Running):
    """The server as its own process: `key` may run `command` there, `known_hosts` knows the server."""

    def __init__(self, base: Path, command: str) -> None:
        if not SSHD.exists():
            missing("sshd", "tests/servers/sshd/install")
        try:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # made by its unit otherwise
        except PermissionError:
            missing("/run/sshd", "sudo mkdir -m 0755 /run/sshd")
        self.base, self.port, self.key, self.known_hosts = base, free_port(), base / "key", base / "known_hosts"
        for name in ("host", "key", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / name], check=True)
        public = {name: (base / f"{name}.pub").read_text() for name in ("host", "key")}
        (base / "authorized_keys").write_text(f'command="{command}",restrict {public["key"]}')
        self.known_hosts.write_text(f"[{LOCALHOST}]:{self.port} {public['host']}")
        (base / "config").write_text(CONFIG.format(host=LOCALHOST, port=self.port, base=base))
        super().__init__([str(SSHD), "-D", "-e", "-f", str(base / "config")], base / "log", lambda: listens(self.port))

    @property
    def place(self) -> str:
        """As ssh takes it."""
        return f"ssh://{getpass.getuser()}@{LOCALHOST}:{self.port}"
