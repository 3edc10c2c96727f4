"""What was attempted, asked, repaired, and what is known of the surroundings."""

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from certagent.core.facts.certificates import Leaf


@dataclass(frozen=True, slots=True)
class Window:
    """When a CA wants a certificate renewed (RFC 9773)."""

    start: datetime
    end: datetime
    explanation: str = ""


ABOUT = {
    "issue": "authority",
    "install": "fingerprint",
    "rollback": "fingerprint",
    "window": "fingerprint",
    "reload": "material",
    "command": "command",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recorded attempt; recorded before it was made. "asked" while its result is not known.

    "retry": the CA has the request and answers later; no failure. `reason`: why it was made; where it failed, was
    refused or waits, why it did.
    """

    kind: Literal["issue", "install", "reload", "rollback", "command", "window"]
    subject: str  # the stem of a pair; for a reload Process.identity
    at: datetime
    outcome: Literal["asked", "ok", "refused", "failed", "retry", "unproven", "presumed"] = "asked"
    reason: str = ""
    _: KW_ONLY
    authority: str = ""  # that was asked to issue
    fingerprint: str = ""  # of the certificate that was swapped in, or whose window was asked for
    material: str = ""  # digest of what a reload was to load
    command: str = ""  # of an operator, that was taken back
    window: Window | None = None  # the CA's answer
    retry_at: datetime | None = None  # Retry-After of a CA; where the pre-install checks refused, when to ask again
    answered: bool = False  # of a failure: the CA did issue a certificate, which could not be installed
    interrupted: bool = False  # the agent ended before the result was known
    unswapped: bool = False  # of a failure: that certificate passed the pre-install checks, and its swap failed
    row: int = field(default=0, compare=False)  # of the ledger: the order that no clock changes; 0: unknown

    @property
    def about_field(self) -> str:
        """The field that says what an attempt of its kind is about."""
        return ABOUT[self.kind]

    @property
    def about(self) -> str:
        """What it is about: an authority, a certificate, a material or a command."""
        return str(getattr(self, self.about_field))

    @property
    def failed(self) -> bool:
        """It ended badly: not one that runs, that waits for a CA, or that was answered."""
        return self.outcome in {"failed", "refused"}


@dataclass(frozen=True, slots=True)
class Adopted:
    """The configuration of a pair when it was first seen (adopted) or requested (issued by the agent)."""

    stem: str
    fingerprint: str
    want: str  # digest of the Want
    at: datetime | None = field(default=None, compare=False)  # since when it is known; None: it was not recorded


@dataclass(frozen=True, slots=True)
class InFlight:
    """A job that runs now, off the deciding thread."""

    kind: Literal["issue", "reload", "probe", "scan", "window", "revocation", "look"]
    subject: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Repair:
    """A key's mode that was repaired, or could not be (`ok`, `reason`); counted in memory."""

    file: str
    at: datetime
    ok: bool
    reason: str = ""
    since: datetime | None = None  # when it came to be wrong, by the kernel's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A key that others could read again and again: known until a person clears it, or the key is replaced."""

    file: str
    key: str  # digest of its public half; "" of a key that cannot be parsed
    since: datetime  # when it was first readable
    until: datetime  # when the newest repair was made that is counted
    undone: int  # how many repairs were undone
    readable: timedelta  # for how long, in all

    def among(self, known: "tuple[Exposure, ...]") -> "tuple[Exposure, ...]":
        """Those that are known, and this one in the place of what was known of the same key."""
        return (*(e for e in known if (e.file, e.key) != (self.file, self.key)), self)


@dataclass(frozen=True, slots=True)
class Authority:
    """What is known of a configured CA without asking it."""

    name: str
    kind: str
    roots: tuple[Leaf, ...] = ()  # () where they are not known yet
    problem: str | None = None
    advice: str = ""  # the remedy of the problem, where it is known
    source: str = ""  # the file with its roots, where there is one
    note: str = ""  # what an operator should know of it
    by_hand: bool = False  # people answer its requests
    windows: bool = False  # it says when it wants its certificates renewed (RFC 9773)
    inbox_changed: datetime | None = None  # when something last came that may be the answer to a request that waits
    pins: tuple[str, ...] = ()  # the fingerprints that are configured for its roots
    uncreated: bool = False  # an embedded CA that is made together with its first trust bundle
    unreadable: Literal["", "unread", "hung"] = ""  # its files: not read yet, or for longer than a disk takes

    @property
    def cross_signs(self) -> bool:
        """Whether its answers may come with a certificate that leads to another root than its own."""
        return self.kind != "local"  # the embedded CA sends the leaf alone


@dataclass(frozen=True, slots=True)
class Clock:
    """Whether the wall clock can be believed."""

    sound: bool = True
    reason: str = ""
    synchronised: bool = False  # the kernel's word: a time service keeps it
    steady: datetime | None = None  # what it would say if nobody had set it since it was last believed; None: the same


@dataclass(frozen=True, slots=True)
class Request:
    """An operator's command that waits to be carried out: `renew`, `rollback`, `reload`."""

    kind: Literal["renew", "rollback", "reload"]
    subject: str
    at: datetime
    force: bool = False
    row: int = 0  # the ledger's newest when it came
