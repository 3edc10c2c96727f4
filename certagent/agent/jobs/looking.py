"""One look at a member of the cluster: a pair of this host is offered to it, and what it serves is told of.

The daemon has no byte of the key, and reads no byte of what the member sent: two confined children do.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from certagent import keys, x509
from certagent.certs_dir import read_live, read_live_key
from certagent.certs_dir.swap import Store
from certagent.core.actions import LookAt
from certagent.core.addresses import parted
from certagent.core.facts import Look
from certagent.core.names import CA, CA_CLIENT
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.probe.asking import TIMEOUT
from certagent.probe.members import Seen, look

UNREAD = "its certificates cannot be read"


@dataclass(frozen=True, slots=True)
class Looking:
    """What one certs-dir looks at members with."""

    path: str
    store: Store
    timeout: float = TIMEOUT  # seconds for all of one look

    def look(self, action: LookAt, console: int = 0) -> Look | None:
        """Offer the pair; None where it is not there any more. Never raises for what the member does.

        `console`: the port of this host's own DB Console, which the member's has too. Where clients are verified by a
        bundle of their own, no handshake shows what a member verifies servers by; its metrics do.
        """
        pair = self._pair(action)
        if pair is None:
            return None
        at = clock()
        split = self._live(f"{CA_CLIENT.stem}.crt") is not None
        path = f"/proc/self/fd/{pair.fileno()}"
        seen = look(*parted(action.address), path, self.timeout, console if split else 0)
        return self._fact(action, seen, at)

    def _pair(self, action: LookAt) -> keys.Key | None:
        """The pair in one file in memory, if it is the one that is meant. Raises HostError, X509Error."""
        cert, key = self._files(action)
        if cert is None or key is None or _fingerprint(cert) != action.fingerprint:
            return None
        return keys.pair_file(cert, key)

    def _files(self, action: LookAt) -> tuple[bytes | None, keys.Key | None]:
        """A staged pair without a key of its own is for the live key."""
        if action.generation:
            kept = self.store.kept(action.offers, action.generation)
            return (kept.cert, kept.key) if kept else (None, None)
        if not action.staged:
            return self._live(f"{action.offers}.crt"), self._live_key(action.offers)
        staged = next((row for row in self.store.staged() if row.stem == action.offers), None)
        return (staged.cert, staged.key or self._live_key(action.offers)) if staged else (None, None)

    def _live(self, file: str) -> bytes | None:
        with suppress(OSError):
            return read_live(self.path, file)
        return None

    def _live_key(self, stem: str) -> keys.Key | None:
        with suppress(OSError):
            return read_live_key(self.path, f"{stem}.key")
        return None

    def _fact(self, action: LookAt, seen: Seen, at: datetime) -> Look:
        outcome, reason, anchors = seen.outcome, seen.reason, tuple[str, ...]()
        try:
            anchors = keys.led_to(seen.chain, b"\n".join(self._bundles()), at) if seen.chain else ()
        except x509.X509Error as error:
            reason = reason or f"{UNREAD}: {error.message}"
        except HostError as error:
            outcome, reason = "silent", f"{UNREAD}: {error}"
        return Look(
            address=action.address,
            at=at,
            stem=action.offers,
            offered=action.fingerprint,
            outcome=outcome,
            reason=reason,
            served=sha256(seen.chain[0]).hexdigest() if seen.chain else "",
            anchors=anchors,
            ca_ends=seen.ca_ends,
        )

    def _bundles(self) -> Iterator[bytes]:
        """Every bundle by which nodes verify each other, live and staged."""
        stems = {CA.stem, CA_CLIENT.stem}
        yield from (data for stem in stems if (data := self._live(f"{stem}.crt")))
        yield from (row.cert for row in self.store.staged() if row.stem in stems)


def _fingerprint(cert: bytes) -> str:
    try:
        return x509.parse_certificates(cert)[0].fingerprint
    except x509.X509Error:
        return ""
