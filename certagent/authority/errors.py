"""The exception of the authorities; its kind says who can act on it."""

from datetime import datetime
from typing import Literal, get_args

from certagent.authority.contact import Contact

Kind = Literal["refused", "credentials", "rate-limited", "unreachable", "tls", "malformed", "interrupted", "failed"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class AuthorityError(Exception):
    """A certificate could not be obtained; the message says why and names the remedy.

    `kind` says who can act: "refused" (the CA's policy: asking again changes nothing), "credentials" (what the CA was
    shown is not good), "rate-limited", "unreachable", "tls" (the CA's endpoint is not the one that is trusted),
    "malformed" (an answer that is none), "interrupted" (the agent stopped, the CA said nothing), "failed" (anything
    else; the CA is not well). `retry_at` is its Retry-After. `contact`: how far a request to an endpoint came.
    """

    def __init__(
        self, message: str, *, kind: Kind = "failed", retry_at: datetime | None = None, contact: Contact = "none"
    ) -> None:
        """The message must not contain any part of a credential."""
        super().__init__(message)
        self.kind: Kind = kind
        self.retry_at = retry_at
        self.contact: Contact = contact

    @property
    def refused(self) -> bool:
        """Asking again changes nothing."""
        return self.kind == "refused"
