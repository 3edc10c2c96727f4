"""The CA of the fleet: `openssl ca` behind authorities of type command. One rename switches it for every host."""

import os
from datetime import timedelta
from pathlib import Path

from certagent import x509
from tests.making import Ca
from tests.moments import now
from tests.servers.process import ROOT

EXAMPLES = ROOT / "docs" / "examples"
AWAY = '[ ! -e "$CA_DIR/current/away" ] || exit 69'
CHAIN = '[ "$CERTAGENT_OPERATION" = roots ] || cat "$CA_DIR/current/chain.pem"'


class Pki:
    """What answers, in a directory that every host can read; each host has its own index."""

    def __init__(self, place: Path) -> None:
        self.place, self.count = place, 0
        place.mkdir()
        body = (EXAMPLES / "command-openssl-ca.sh").read_text()
        self.program = place / "answer.sh"
        self.program.write_text(f"#!/bin/bash\n{AWAY}\n{body}\n{CHAIN}\n")
        self.program.chmod(0o755)

    def answers(self, ca: Ca, chain: bytes = b"") -> None:
        """Have this CA sign from now on. `chain`: what follows a leaf."""
        self.count += 1
        made, link = self.place / f"ca-{self.count}", self.place / "current.new"
        made.mkdir()
        for name, data in (("ca.crt", ca.cert), ("ca.key", ca.key), ("chain.pem", chain)):
            (made / name).write_bytes(data)
        link.symlink_to(made.name)
        link.rename(self.place / "current")

    def away(self, *, gone: bool) -> None:
        """It does not answer, or does again."""
        mark = self.place / "current" / "away"
        mark.touch() if gone else mark.unlink()

    def table(self, name: str, uid: int, roots: Path | None) -> str:
        """The authority of one host, which takes what chains to `roots`, if any."""
        own = self.place / name
        if not own.exists():
            own.mkdir()
            settings = (EXAMPLES / "openssl-ca.cnf").read_text()
            (own / "openssl.cnf").write_text(settings.replace("= match", "= optional"))  # a CA may have another O
            for file in ("ca.crt", "ca.key"):
                (own / file).symlink_to(f"../current/{file}")
            (own / "current").symlink_to("../current")
            os.chown(own, uid, -1)
        lines = [f"environment = {{ CA_DIR = '{own}' }}", f"readable = ['{self.place}']", f"writable = ['{own}']"]
        return "\n".join(
            [
                "[authority.pki]",
                "type = 'command'",
                f"command = ['{self.program}']",
                *lines,
                *([f"issuing_roots = '{roots}'"] if roots else []),
            ]
        )


def signed(ca: Ca, stem: str, names: tuple[str, ...], lifetime: timedelta, chain: bytes = b"") -> tuple[bytes, bytes]:
    """A certificate with its chain, and its key. It begins a minute ago and ends in `lifetime`."""
    key, at = x509.generate_key("ecdsa-p256"), now()
    server = stem in {"node", "ui"}
    csr = x509.make_csr(key, stem.partition(".")[2] or "node", names if server else ())
    dates = {"not_before": at - timedelta(minutes=1), "not_after": at + lifetime}
    return x509.sign_csr(csr, ca.cert, ca.key, server=server, client=True, **dates) + chain, key
