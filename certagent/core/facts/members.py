"""The other nodes of the cluster, what each was seen to do, and what people said about those that cannot be seen."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one member answered to one TLS handshake on its SQL and RPC port, in which it was offered one pair.

    `outcome`: "accepted" (the handshake and one read after it succeeded with the pair), "refused" (the member
    ended it with an alert), "silent" (no connection, no TLS, no alert, or no answer in time: nothing is known).
    """

    address: str  # host:port, as listed
    at: datetime
    stem: str  # of the pair that was offered: client.node, or node where there is none
    offered: str  # the fingerprint of the leaf that was offered
    outcome: Literal["accepted", "refused", "silent"]
    reason: str = ""  # the member's own alert where it refused; else why nothing is known
    served: str = ""  # the fingerprint of the leaf that it serves; "" where it showed none
    served_since: datetime | None = None  # since when every look has shown that leaf; None: since this one
    anchors: tuple[str, ...] = ()  # the spki of every CA, live or staged here, to which the served chain leads
    ca_ends: int = 0  # of its metric security_certificate_expiration_ca, seconds since 1970; 0: not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Who else belongs to the cluster, as far as this host knows, and the newest look for each pair that was offered.

    `listed` never contains this host itself. Looks at its own ports are among the looks, by their addresses.
    """

    source: Literal["peers", "peers_file", "join", ""] = ""  # "": nothing says who they are
    listed: tuple[str, ...] = ()  # host:port of each, IPv6 hosts in brackets
    own: str = ""  # the address by which the others list this host; "": not known
    here: int = 1  # nodes of this directory on this host: a directory may have several servers
    problem: str | None = None  # why the list cannot be read, or is not complete
    live: int | None = None  # liveness_livenodes of the own process, this node included; None: not read
    live_at: datetime | None = None  # when it was read
    looks: tuple[Look, ...] = ()

    @property
    def unlisted(self) -> int:
        """How many live nodes the list lacks; 0 where their number was not read."""
        return max(0, (self.live or 0) - len(self.listed) - self.here)


Kind = Literal["clients-trust", "clients-present", "force", "pause", "abort"]
STOPS: frozenset[Kind] = frozenset({"pause", "abort"})  # words that keep a rotation from going on


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a person said about the rotation to one root: recorded in the ledger, ended with the rotation.

    "clients-trust": every client outside the fleet has the new root in its bundle. "clients-present": none presents a
    chain to a former root any more. "force": the member `peer` is not waited for. "pause": no phase goes on.
    "abort": the pairs go back to the former root.
    """

    kind: Kind
    bundle: str  # the stem of the bundle: under split CA each has a rotation of its own
    root: str  # the spki of the new root
    at: datetime
    peer: str = ""  # of "force": the member's address, as listed
    by: str = ""  # who said it: uid and pid
