"""OpenSSL's mock server of CMP: it answers every request with one certificate that was made beforehand.

So a request must be of that certificate's key, which is in `answer.key`. It listens on all interfaces.
"""

import secrets
from pathlib import Path

from certagent.x509 import make_csr
from tests.making import make_ca
from tests.servers.process import LOCALHOST, Running, free_port, listens, program

REFERENCE = "node"


class CmpServer(Running):
    """The server as its own process, its files below `base`."""

    def __init__(self, base: Path) -> None:
        self.port, self.secret, self.ca = free_port(), secrets.token_hex(16), base / "ca.pem"
        ca = make_ca("CMP CA of a test")
        cert, self.key = ca.pair(names=("n1.test",))
        for name, data in (("ca.pem", ca.cert), ("answer.pem", cert)):
            (base / name).write_bytes(data)
        openssl = program("openssl", "apt-get install openssl")
        command = [openssl, "cmp", "-port", str(self.port), "-srv_ref", REFERENCE, "-srv_secret", f"pass:{self.secret}"]
        command += ["-srv_trusted", "ca.pem", "-rsp_cert", "answer.pem", "-rsp_capubs", "ca.pem"]
        super().__init__(command, base / "log", lambda: listens(self.port), cwd=base)

    @property
    def address(self) -> str:
        return f"{LOCALHOST}:{self.port}"

    def csr(self) -> bytes:
        """A request that it can answer."""
        return make_csr(self.key, "node", ("n1.test",))
