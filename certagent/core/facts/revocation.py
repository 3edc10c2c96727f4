"""Whether certificates are revoked: what each responder answered, and what follows from it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Status = Literal["good", "revoked", "unknown", "unreachable"]
Verdict = Literal["good", "revoked", "unknown", "unreachable", "no-url"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one responder, or one revocation list, said of one certificate.

    "unreachable": nothing that can be used; no connection, another status than 200, not signed by who may, out of date.
    """

    source: Literal["ocsp", "crl"]
    url: str
    status: Status
    at: datetime
    reason: str = ""  # why it was revoked, or why the answer cannot be used
    latency_ms: int = 0
    this_update: datetime | None = None
    next_update: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """One certificate of a chain, and every answer about it, in the order of asking."""

    fingerprint: str
    subject: str
    answers: tuple[Answer, ...] = ()
    ocsp: tuple[str, ...] = ()  # the responders that it names

    @property
    def decisive(self) -> Answer | None:
        """The answer that counts: a revocation wherever it was read, else the first good one; None without either."""
        for wanted in ("revoked", "good"):
            for answer in self.answers:
                if answer.status == wanted:
                    return answer
        return None

    @property
    def status(self) -> Verdict:
        """What is known of it, OCSP and lists together."""
        return self.decisive.status if self.decisive else _undecided(self.answers)

    @property
    def by_ocsp(self) -> Verdict:
        """What cockroach would find: it asks no revocation list."""
        answers = tuple(a for a in self.answers if a.source == "ocsp")
        first = next((a.status for a in answers if a.status in {"revoked", "good"}), None)
        return first or _undecided(answers)


def _undecided(answers: tuple[Answer, ...]) -> Verdict:
    if not answers:
        return "no-url"
    return "unknown" if any(a.status == "unknown" for a in answers) else "unreachable"


ORDER: tuple[Verdict, ...] = ("no-url", "good", "unreachable", "unknown", "revoked")


@dataclass(frozen=True, slots=True)
class Revocation:
    """The chain of one leaf, root excluded, leaf first."""

    fingerprint: str  # of the leaf
    at: datetime
    chain: tuple[Checked, ...] = ()
    problem: str = ""  # why nothing could be asked

    @property
    def status(self) -> Verdict:
        """That of its worst certificate: one revoked intermediate revokes every leaf below it."""
        return max((c.status for c in self.chain), key=ORDER.index, default="unreachable")

    @property
    def by_ocsp(self) -> Verdict:
        """What cockroach would find for its worst certificate."""
        return max((c.by_ocsp for c in self.chain), key=ORDER.index, default="unreachable")

    @property
    def worst(self) -> Checked | None:
        """The certificate that decides the status."""
        return max(self.chain, key=lambda c: ORDER.index(c.status), default=None)

    @property
    def revoked(self) -> str | None:
        """Why no handshake with it succeeds where OCSP is on, in one sentence; None where it is not revoked."""
        for checked in self.chain:
            answer = checked.decisive
            if answer is not None and answer.status == "revoked":
                issuer = f"the issuer {checked.subject}"
                whose = "the certificate" if checked.fingerprint == self.fingerprint else issuer
                since = f" at {answer.revoked_at:%Y-%m-%dT%H:%M:%SZ}" if answer.revoked_at else ""
                why = f" ({answer.reason})" if answer.reason else ""
                return f"{whose} was revoked{since}{why}, according to {answer.url}"
        return None
